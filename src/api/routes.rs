//! The table of routes: which paths there are, which methods each one has, and which scope a method needs.

use http::Method;
use matchit::Router;

use crate::{catalog::api_keys::Scope, uri::percent, word_enum::word_enum};

word_enum! {
    /// A path with its parameters.
    pub(super) enum Route {
        Links = "/v1/links",
        Link = "/v1/links/{domain}/{code}",
        LinkHistory = "/v1/links/{domain}/{code}/history",
        LinkQrCode = "/v1/links/{domain}/{code}/qr",
        LinkNextHop = "/v1/links/{domain}/{code}/next-hop",
        Bulk = "/v1/bulk",
        Export = "/v1/export",
        Audit = "/v1/audit",
        Acts = "/v1/acts",
        Act = "/v1/acts/{id}",
        ActCancel = "/v1/acts/{id}/cancel",
        ActUndo = "/v1/acts/{id}/undo",
        Changes = "/v1/changes",
        Patches = "/v1/patches",
        Rollback = "/v1/rollback",
        Suspensions = "/v1/suspensions",
        Suspension = "/v1/suspensions/{dimension}/{value}",
        Freeze = "/v1/freeze",
        Domains = "/v1/domains",
        Domain = "/v1/domains/{host}",
        Explain = "/v1/explain",
        Rejected = "/v1/rejected",
        Status = "/v1/status",
        OpenApi = "/v1/openapi.json",
        ApiKeys = "/v1/api-keys",
        ApiKey = "/v1/api-keys/{id}",
    }
}

word_enum! {
    /// The methods that do something here. `HEAD` is a `GET` without a body; `OPTIONS` is answered for every route.
    pub(super) enum Verb { Get = "GET", Post = "POST", Put = "PUT", Patch = "PATCH", Delete = "DELETE" }
}

impl Verb {
    /// The verb of a method; `None`: no route has the method.
    pub(super) fn of_method(method: &Method) -> Option<Verb> {
        if method == Method::HEAD {
            return Some(Verb::Get);
        }
        Verb::from_word(method.as_str())
    }
}

impl Route {
    /// The verbs of the route, each with the scope that it needs.
    pub(super) const fn verbs(self) -> &'static [(Verb, Scope)] {
        match self {
            Route::Links => &[(Verb::Get, Scope::Read), (Verb::Post, Scope::Write)],
            Route::Link => &[
                (Verb::Get, Scope::Read),
                (Verb::Put, Scope::Write),
                (Verb::Patch, Scope::Write),
                (Verb::Delete, Scope::Write),
            ],
            Route::Bulk | Route::Patches | Route::ActUndo | Route::ActCancel => &[(Verb::Post, Scope::Write)],
            Route::LinkNextHop => &[(Verb::Get, Scope::Write)],
            Route::Domain => &[(Verb::Get, Scope::Read), (Verb::Put, Scope::Admin), (Verb::Delete, Scope::Admin)],
            Route::Domains => &[(Verb::Get, Scope::Read)],
            Route::Explain => &[(Verb::Post, Scope::Read)],
            Route::Rollback => &[(Verb::Post, Scope::Admin)],
            Route::Suspension => &[(Verb::Put, Scope::Suspend), (Verb::Delete, Scope::Suspend)],
            Route::Freeze => &[(Verb::Put, Scope::Admin), (Verb::Delete, Scope::Admin)],
            Route::LinkHistory
            | Route::LinkQrCode
            | Route::Export
            | Route::Audit
            | Route::Acts
            | Route::Act
            | Route::Changes
            | Route::Suspensions
            | Route::Rejected
            | Route::Status
            | Route::OpenApi => &[(Verb::Get, Scope::Read)],
            Route::ApiKeys => &[(Verb::Get, Scope::Admin), (Verb::Post, Scope::Admin)],
            Route::ApiKey => &[(Verb::Delete, Scope::Admin)],
        }
    }

    /// The value of `Allow`.
    pub(super) fn allowed_methods(self) -> String {
        let mut methods: Vec<&str> = self.verbs().iter().map(|(verb, _)| verb.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.join(", ")
    }
}

/// A route with the decoded values of its parameters, in their order.
#[derive(Clone, Debug)]
pub(super) struct MatchedRoute {
    pub(super) route: Route,
    pub(super) parameters: Vec<String>,
}

/// Finds the route of a path.
pub(super) struct RouteTable(Router<Route>);

impl RouteTable {
    pub(super) fn new() -> RouteTable {
        let mut router = Router::new();
        for route in Route::ALL {
            // An error would be two routes of one path; a test of this file has every route found.
            let _ = router.insert(route.as_str(), route);
        }
        RouteTable(router)
    }

    /// The route of a path as it was sent; `None` if there is none, or if a parameter is no text.
    pub(super) fn find(&self, path: &str) -> Option<MatchedRoute> {
        let found = self.0.at(path).ok()?;
        let decode = |value: &str| String::from_utf8(percent::decode(value.as_bytes()).collect()).ok();
        let parameters = found.params.iter().map(|(_, value)| decode(value)).collect::<Option<Vec<String>>>()?;
        Some(MatchedRoute { route: *found.value, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_with_its_parameters_decoded() {
        let routes = RouteTable::new();
        for route in Route::ALL {
            assert_eq!(routes.find(route.as_str()).unwrap().route, route);
        }
        let found = routes.find("/v1/links/%2A/a%20b/history").unwrap();
        assert_eq!((found.route, found.parameters), (Route::LinkHistory, vec!["*".to_owned(), "a b".to_owned()]));
        for unknown in ["/v1/", "/v1/links/", "/v1/links/a", "/v1/links/a/b/c", "/v1/links/a/%FF", "/v1/status/"] {
            assert!(routes.find(unknown).is_none(), "{unknown}");
        }
        assert_eq!(Route::Links.allowed_methods(), "GET, POST, HEAD, OPTIONS");
    }
}
