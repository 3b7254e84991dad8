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
    links::{Link, LockedLink, domains::Domain, routes::Route},
    model::code::Code,
};

/// What a request asks for after the second look-up.
pub(super) struct SecondLookup<'d> {
    link: Option<LockedLink<'d>>,
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
        edge: &'d Edge,
        path: &[u8],
        target: &RequestedCode<'d>,
        link: Option<LockedLink<'d>>,
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

    fn with_renamed_subs(
        link: Option<LockedLink<'d>>,
        found_by: FoundBy<'d>,
        query: &[u8],
        domain: &Domain,
    ) -> SecondLookup<'d> {
        let names = &domain.sub_names;
        let query = (!names.is_empty()).then(|| ForeignQuery::with_renamed_subs(names, query));
        SecondLookup { link, found_by, query }
    }

    /// The link, if there is one.
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_deref()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        attribution::keyring::Keyring,
        client::address::TrustedProxies,
        edge::target::RequestTarget,
        links::{
            Table,
            domains::{Config, Domains},
        },
        model::link::record::Record,
    };

    const NOW_MS: u64 = 1_794_700_800_000;

    const HOST: &str = "go.example.com";

    /// A route of the host, as a line of a table of routes.
    fn route(number: u32, path: &str, code: &str) -> String {
        format!("{number} = {{ domain = \"{HOST}\", name = \"r{number}\", path = \"{path}\", code = \"{code}\" }}\n")
    }

    /// An edge of one host with the links `a`, `b`, `a-b`, and these routes.
    fn edge(routes: &str) -> Edge {
        let mut config: Config = toml::from_str(&format!("[\"{HOST}\"]")).unwrap();
        config.add_routes(&toml::from_str(routes).unwrap());
        let domains = Domains::new(&config).unwrap();
        let table = Table::with_capacity(3);
        for code in ["a", "b", "a-b"] {
            let json = serde_json::json!({
                "code": code, "domain": HOST, "url": "https://shop.example.com/", "kind": "plain", "test": true,
            });
            let record: Record = serde_json::from_value(json).unwrap();
            let valid = Link::check_and_build_from_record(&record, &Default::default(), &domains, NOW_MS, 1);
            assert!(table.try_insert_or_give_back(valid.unwrap_or_else(|errors| panic!("{errors:?}")).link).is_ok());
        }
        let keys = Keyring::generate_without_file(NOW_MS).unwrap();
        Edge::new(Arc::new(table), Arc::new(keys), Arc::new(domains), Arc::new(TrustedProxies::default()))
    }

    /// The code of the link that a target leads to, and the route that made it.
    fn find(edge: &Edge, target: &str) -> Option<(String, Option<String>)> {
        let request = Request::builder().uri(target).header("host", HOST).body(()).ok()?;
        let RequestTarget::Code(code) = RequestTarget::reject_or_classify_and_find_domain(&request, &edge.domains)
        else {
            return None;
        };
        let first = edge.find_link(code.host.domain, code.code.as_bytes());
        let found = SecondLookup::repair_or_route_unless_found(edge, request.uri().path().as_bytes(), &code, first);
        let route = found.target(&code).route.map(|route| route.name().to_owned());
        Some((String::from_utf8(found.link()?.code().to_vec()).unwrap(), route))
    }

    proptest! {
        #[test]
        fn what_reaches_a_link_without_routes_reaches_it_with_them(target in "/[ab/.&)?=%2F-]{0,12}") {
            let routes = [
                route(1, "/{x}/{y}", "{path:x}-{path:y}"),
                route(2, "/", "{query:a}"),
                route(3, "/a.b/**", "{query:a}"),
            ];
            let without = find(&edge(""), &target);
            let with = find(&edge(&routes.concat()), &target);
            if without.is_some() {
                prop_assert_eq!(without, with);
            } else if let Some((_, route)) = with {
                prop_assert!(route.is_some());
            }
        }
    }

    #[test]
    fn a_code_that_something_was_glued_to_goes_before_a_route() {
        let edge = edge(&route(1, "/{x}/{y}", "{path:x}-{path:y}"));
        let route = || Some("r1".to_owned());
        for (target, expected) in [
            ("/a", Some(("a", None))),
            ("/a/", Some(("a", None))),
            ("/a/b", Some(("a-b", route()))),
            ("/a/b/", Some(("a-b", route()))),
            ("/a/&b", Some(("a", None))),
            ("/b/a", None),
        ] {
            assert_eq!(find(&edge, target), expected.map(|(code, route)| (code.to_owned(), route)), "{target}");
        }
    }
}
