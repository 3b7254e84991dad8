//! Labels of the address: country, region, network, data centre. They come from the MMDB files by as much of the
//! address as the click keeps, so a truncated address is known less exactly. Under `strict` nothing is concluded from
//! it.

use super::{event_writer::EventWriter, field};
use crate::{
    geoip::{DatabaseKind, Databases, Network},
    model::click::{Click, Privacy},
    text::cut_at_character,
};

/// Longest name of a network, bytes. A longer name is cut.
const MAX_NETWORK_NAME_BYTES: usize = 128;

/// What the address says; empty without an address and without files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PlaceLabels<'a> {
    /// The code of ISO 3166-1 in capitals.
    pub(super) country: Option<[u8; 2]>,
    /// The code behind the hyphen in ISO 3166-2; empty if unknown or if the country is.
    pub(super) region: &'a [u8],
    pub(super) network: Option<Network<'a>>,
    pub(super) is_data_centre: Option<bool>,
}

impl<'a> PlaceLabels<'a> {
    /// The labels of a click. Country and region that the link's targets saw are taken from the click, so that an event
    /// does not name two.
    pub(super) fn of_click(click: &Click<'a>, databases: &'a Databases) -> PlaceLabels<'a> {
        let Some(address) = click.address.filter(|_| click.privacy != Privacy::Strict) else {
            return PlaceLabels::default();
        };
        let mut labels = PlaceLabels {
            network: databases.find_network(address),
            is_data_centre: databases.is_data_centre(address),
            ..PlaceLabels::default()
        };
        if databases.has(DatabaseKind::Country) {
            let (place, seen) = (databases.find_place(address), |name| click.target?.find_fact(name));
            labels.country = seen("country").and_then(|country| country.try_into().ok()).or(place.country);
            labels.region = if labels.country == place.country { place.region } else { b"" };
            // Longer than any region's code is the word `unknown`.
            if let Some(region) = seen("region").filter(|region| region.len() <= 3 && labels.country.is_some()) {
                labels.region = region;
            }
        }
        labels
    }

    /// Adds the fields of what is known.
    pub(super) fn add_fields(&self, writer: &mut impl EventWriter) {
        if let Some(country) = &self.country {
            writer.add_text_unless_empty(field::COUNTRY, country);
            // Two letters, a hyphen, and at most three characters.
            let mut region = [country[0], country[1], b'-', 0, 0, 0];
            let end = 3 + self.region.len();
            if let Some(code) = region.get_mut(3..end).filter(|code| !code.is_empty()) {
                code.copy_from_slice(self.region);
                writer.add_text_unless_empty(field::REGION, &region[..end]);
            }
        }
        if let Some(network) = self.network {
            writer.add_integer(field::ASN, u64::from(network.number));
            let name = cut_at_character(network.name.as_bytes(), MAX_NETWORK_NAME_BYTES);
            writer.add_text_unless_empty(field::NETWORK_NAME, name);
        }
        if let Some(is_data_centre) = self.is_data_centre {
            writer.add_bool(field::DATA_CENTRE, is_data_centre);
        }
    }
}
