//! Labels of the address: country, region, network, data centre. They come from the MMDB files by as much of the
//! address as the click keeps, so a truncated address is known less exactly. Under `strict` nothing is concluded from
//! it.

use crate::{
    geoip::{DatabaseKind, Databases, Network},
    model::click::{Click, Privacy},
};

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
}
