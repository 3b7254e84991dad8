//! Finds where a click comes from: the header of a trusted proxy counts, and where that says nothing the MMDB file, by
//! the client's whole address. The address itself goes nowhere from here.

use crate::{
    edge::code_request::CodeRequest,
    geoip::{DatabaseKind, Place},
};

/// Who said where a click comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceSource {
    /// A header of a trusted proxy.
    Header,
    /// `geoip.country_file`
    File,
}

/// Country and region of a click, each with who said it.
#[derive(Clone, Copy)]
pub(super) struct ClientPlace<'a> {
    /// The code of ISO 3166-1 in capitals.
    pub(super) country: Option<([u8; 2], PlaceSource)>,
    /// The code behind the hyphen in ISO 3166-2.
    pub(super) region: Option<(&'a [u8], PlaceSource)>,
}

impl<'a> ClientPlace<'a> {
    /// Finds the country, and the region if it is asked for. The file's region counts only in the country that was
    /// found, because two sources can name two countries.
    pub(super) fn find(request: &CodeRequest<'a>, asks_for_region: bool) -> ClientPlace<'a> {
        let (headers, peer) = (request.facts.headers(), request.context.peer);
        let proxies = &request.edge.trusted_proxies;
        let said_country = proxies.find_country(headers, peer);
        let said_region = match asks_for_region {
            true => Some(proxies.find_region_or_empty(headers, peer)).filter(|region| !region.is_empty()),
            false => None,
        };
        let by_header = ClientPlace {
            country: said_country.map(|country| (country, PlaceSource::Header)),
            region: said_region.map(|region| (region, PlaceSource::Header)),
        };
        let is_complete = said_country.is_some() && (said_region.is_some() || !asks_for_region);
        if is_complete || !request.edge.geoip.has(DatabaseKind::Country) {
            return by_header;
        }
        let edge = request.edge;
        let found = edge.geoip.find_place(request.client.address);
        by_header.completed_by_file(if asks_for_region { found } else { Place { region: b"", ..found } })
    }

    fn completed_by_file(self, found: Place<'a>) -> ClientPlace<'a> {
        let of_file = found.country.map(|country| (country, PlaceSource::File));
        let country = self.country.or(of_file);
        let is_same_country = country.map(|(country, _)| country) == found.country;
        let region = (!found.region.is_empty() && is_same_country).then_some((found.region, PlaceSource::File));
        ClientPlace { country, region: self.region.or(region) }
    }
}
