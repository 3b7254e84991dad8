//! The second look-up of a request: for a code that something was glued to, then for the code of another tracker's URL.
//!
//! The order makes sure that a route never takes a request from a link: whatever reached a link without the route
//! reaches that link with it.

use crate::{
    edge::{
        foreign_query::ForeignQuery,
        path_repair::RepairedPath,
        snapshot::Edge,
        target::{CodeSegment, RequestedCode},
    },
    links::{Link, domains::Domain, routes::Route},
    model::code::Code,
};

/// What a request asks for after the second look-up.
pub(super) struct SecondLookup<'d> {
    link: Option<Link>,
    found_by: FoundBy<'d>,
    /// The queries, if they are not as the client sent them.
    query: Option<ForeignQuery>,
}

/// What led to the code.
enum FoundBy<'d> {
    /// The path is the code, or nothing better was found.
    Path,
    /// A part of the path is the code of a link.
    Repair,
    /// The route made this code. No link needs to have it.
    Route(&'d Route, Code),
}

impl<'d> SecondLookup<'d> {
    /// Looks for what the request asks for. `link` is the link of the whole path, if there is one: then only the sub
    /// ids are read by the names of the domain.
    pub(super) fn repair_or_route_unless_found(
        edge: &Edge,
        path: &[u8],
        target: &RequestedCode<'d>,
        link: Option<Link>,
    ) -> SecondLookup<'d> {
        let domain = target.host.domain;
        if link.is_some() {
            return SecondLookup::with_renamed_subs(link, FoundBy::Path, target.query, domain);
        }
        if let Some(repaired) = RepairedPath::find(path)
            && let Some(link) = edge.find_link(domain, &repaired.code)
        {
            let query = repaired.into_query_before(target.query);
            let found = SecondLookup::with_renamed_subs(Some(link), FoundBy::Repair, &query, domain);
            let query = found.query.or(Some(ForeignQuery::unchanged(query)));
            return SecondLookup { query, ..found };
        }
        match domain.routes.find_match(path, target.query) {
            Some((route, found)) => SecondLookup {
                link: edge.find_link(domain, found.code.as_bytes()),
                query: Some(ForeignQuery::with_subs_of_route(&found.subs, target.query)),
                found_by: FoundBy::Route(route, found.code),
            },
            None => SecondLookup::with_renamed_subs(None, FoundBy::Path, target.query, domain),
        }
    }

    fn with_renamed_subs(link: Option<Link>, found_by: FoundBy<'d>, query: &[u8], domain: &Domain) -> SecondLookup<'d> {
        let names = &domain.sub_names;
        let query = (!names.is_empty()).then(|| ForeignQuery::with_renamed_subs(names, query));
        SecondLookup { link, found_by, query }
    }

    /// The link, if there is one.
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// What the request asks for, in place of `requested`.
    pub(super) fn target<'a>(&'a self, requested: &'a RequestedCode<'d>) -> RequestedCode<'a> {
        let code = match (&self.found_by, &self.link) {
            (FoundBy::Route(_, code), _) => code.as_bytes(),
            (FoundBy::Repair, Some(link)) => link.code(),
            _ => requested.code.as_bytes(),
        };
        RequestedCode {
            host: requested.host,
            code: CodeSegment::Raw(code),
            query: self.query.as_ref().map_or(requested.query, |query| &query.recorded),
            destination_query: self.query.as_ref().map_or(requested.destination_query, |query| &query.for_destination),
            is_head: requested.is_head,
            is_repaired: matches!(self.found_by, FoundBy::Repair),
            route: match self.found_by {
                FoundBy::Route(route, _) => Some(route),
                FoundBy::Path | FoundBy::Repair => None,
            },
        }
    }
}
