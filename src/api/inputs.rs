//! What the API is made of.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    catalog::{CatalogHandle, LinkSource},
    edge::snapshot::Edge,
    links::{destination::policy::DestinationPolicy, domains::Config},
};

/// What the API is made of.
pub struct ApiInputs {
    /// The catalog.
    pub catalog: CatalogHandle,
    /// Where the links come from.
    pub source: LinkSource,
    /// The domains of the configuration.
    pub configured_domains: Arc<Config>,
    /// The snapshot that clicks are answered from.
    pub edge: Arc<ArcSwap<Edge>>,
    /// The rules of fallback URLs.
    pub policy: DestinationPolicy,
}
