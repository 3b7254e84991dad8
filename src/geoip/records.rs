//! The fields of records, in the layouts that are in use. Which layout a file has is found out when it is loaded.

use std::fmt;

use maxminddb::{MaxMindDbError, PathElement};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use super::database::Record;

/// Where a value stands in a record: the keys and indexes that lead to it.
type FieldPath = &'static [PathElement<'static>];

/// Where an address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'d> {
    /// The country's code of ISO 3166-1 in capitals; `None` if unknown.
    pub country: Option<[u8; 2]>,
    /// The region's code in its country, as in ISO 3166-2 behind the hyphen; empty if unknown.
    pub region: &'d [u8],
}

/// A network that routes addresses as one: an autonomous system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network<'d> {
    /// The number of the autonomous system.
    pub number: u32,
    /// Who runs it; empty if unknown.
    pub name: &'d str,
}

/// A place as it is kept apart from its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptPlace {
    country: [u8; 2],
    region: [u8; MAX_REGION_LEN],
    region_len: u8,
}

impl KeptPlace {
    /// The place of a record; `None` if it names no country.
    pub(super) fn of_place(place: Place<'_>) -> Option<KeptPlace> {
        let mut region = [0; MAX_REGION_LEN];
        region.get_mut(..place.region.len())?.copy_from_slice(place.region);
        Some(KeptPlace { country: place.country?, region, region_len: place.region.len() as u8 })
    }

    /// The place.
    pub(super) fn place(&self) -> Place<'_> {
        Place { country: Some(self.country), region: &self.region[..usize::from(self.region_len)] }
    }
}

/// The longest region's code, bytes (ISO 3166-2).
const MAX_REGION_LEN: usize = 3;

/// The layout of places.
#[derive(Clone, Copy, Debug)]
pub(super) enum PlaceLayout {
    /// MaxMind's, which DB-IP has too.
    Nested,
    /// The country's code alone.
    Flat,
}

/// The layout of networks.
#[derive(Clone, Copy, Debug)]
pub(super) enum NetworkLayout {
    /// MaxMind's: a number and a name.
    Number,
    /// IPinfo's: `AS15169` as a text.
    Text,
}

const COUNTRY: FieldPath = &[PathElement::Key("country"), PathElement::Key("iso_code")];
const FLAT_COUNTRY: FieldPath = &[PathElement::Key("country_code")];
const REGION: FieldPath = &[PathElement::Key("subdivisions"), PathElement::Index(0), PathElement::Key("iso_code")];
const NUMBER: FieldPath = &[PathElement::Key("autonomous_system_number")];
const ORGANIZATION: FieldPath = &[PathElement::Key("autonomous_system_organization")];
const TEXT_NUMBER: FieldPath = &[PathElement::Key("asn")];
const TEXT_NAME: FieldPath = &[PathElement::Key("as_name")];
const HOSTING: FieldPath = &[PathElement::Key("is_hosting_provider")];

impl PlaceLayout {
    /// Every layout, in the order in which they are tried.
    pub(super) const ALL: [PlaceLayout; 2] = [PlaceLayout::Nested, PlaceLayout::Flat];

    /// The place in a record.
    ///
    /// # Errors
    /// The record is damaged, or has another layout.
    pub(super) fn read<'d>(self, record: &Record<'d>) -> Result<Place<'d>, MaxMindDbError> {
        let country = text(record, if matches!(self, PlaceLayout::Nested) { COUNTRY } else { FLAT_COUNTRY })?;
        let region = if matches!(self, PlaceLayout::Nested) { text(record, REGION)? } else { "" };
        let country = parse_country(country);
        Ok(Place { country, region: if country.is_some() { region_or_empty(region) } else { b"" } })
    }
}

impl NetworkLayout {
    /// Every layout, in the order in which they are tried.
    pub(super) const ALL: [NetworkLayout; 2] = [NetworkLayout::Number, NetworkLayout::Text];

    /// The network in a record; `None` if it names none.
    ///
    /// # Errors
    /// The record is damaged, or has another layout.
    pub(super) fn read<'d>(self, record: &Record<'d>) -> Result<Option<Network<'d>>, MaxMindDbError> {
        let (number, name) = match self {
            NetworkLayout::Number => (value::<AsNumber>(record, NUMBER)?, text(record, ORGANIZATION)?),
            NetworkLayout::Text => (parse_as_number(text(record, TEXT_NUMBER)?), text(record, TEXT_NAME)?),
        };
        Ok(number.filter(|number| number.0 != 0).map(|number| Network { number: number.0, name }))
    }
}

/// Whether a record says that its addresses are a data centre's.
///
/// # Errors
/// The record is damaged, or the field is no boolean.
pub(super) fn is_data_centre(record: &Record<'_>) -> Result<bool, MaxMindDbError> {
    Ok(value::<bool>(record, HOSTING)?.unwrap_or(false))
}

fn value<'d, T: Deserialize<'d>>(record: &Record<'d>, path: FieldPath) -> Result<Option<T>, MaxMindDbError> {
    record.decode_path(path)
}

/// A text in a record; empty if it is absent.
fn text<'d>(record: &Record<'d>, path: FieldPath) -> Result<&'d str, MaxMindDbError> {
    Ok(value::<&str>(record, path)?.unwrap_or_default())
}

/// Files write `XX` and `ZZ` for an unknown country.
fn parse_country(code: &str) -> Option<[u8; 2]> {
    let country = <[u8; 2]>::try_from(code.as_bytes()).ok()?.map(|letter| letter.to_ascii_uppercase());
    let is_known = country.iter().all(u8::is_ascii_uppercase) && country != *b"XX" && country != *b"ZZ";
    is_known.then_some(country)
}

fn region_or_empty(code: &str) -> &[u8] {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let is_region = (1..=MAX_REGION_LEN).contains(&code.len()) && code.bytes().all(is_part);
    if is_region { code.as_bytes() } else { b"" }
}

/// The number in `AS15169`.
fn parse_as_number(text: &str) -> Option<AsNumber> {
    text.strip_prefix("AS")?.parse().ok().map(AsNumber)
}

/// The number of an autonomous system. Makers write it as an integer of 16, 32 or 64 bits.
struct AsNumber(u32);

impl<'de> Deserialize<'de> for AsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AsNumber, D::Error> {
        struct AnyInteger;

        impl Visitor<'_> for AnyInteger {
            type Value = AsNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of an autonomous system, below 2^32")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<AsNumber, E> {
                let is_wrong = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                u32::try_from(number).map(AsNumber).map_err(is_wrong)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<AsNumber, E> {
                let is_wrong = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
                u32::try_from(number).map(AsNumber).map_err(is_wrong)
            }
        }

        deserializer.deserialize_any(AnyInteger)
    }
}
