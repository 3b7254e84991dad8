//! One entry of `[[routes]]` as the configuration writes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One route, as written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// The host; `*` for every host that is not configured.
    pub domain: String,
    /// The name that the events of the route's clicks have; one name a route of the host.
    pub name: String,
    /// The path: text, `{name}` for one whole segment, `**` for the rest.
    pub path: String,
    /// What stands between name and value in the pairs of `**`.
    pub pairs: Option<String>,
    /// The code: `{path:NAME}`, `{query:NAME}`, `{pair:NAME}` and characters of a code.
    pub code: String,
    /// Characters of a value that a code cannot hold, each with what stands for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub translate: BTreeMap<String, String>,
    /// The sources of `sub1` to `sub5`.
    pub sub: Vec<String>,
    /// What divides the only source of `sub` into several sub ids.
    pub split: Option<String>,
}

impl Default for RouteSettings {
    fn default() -> RouteSettings {
        RouteSettings {
            domain: "*".to_owned(),
            name: String::new(),
            path: String::new(),
            pairs: None,
            code: String::new(),
            translate: BTreeMap::new(),
            sub: Vec::new(),
            split: None,
        }
    }
}
