//! What all requests share: the catalog, the snapshot of the edge, and the places of requests.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashSet,
    rc::Rc,
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::{
    act_progress::ProgressByAct,
    http::problem::{Problem, ProblemKind},
    inputs::ApiInputs,
    readers::ReaderPool,
};
use crate::{
    catalog::{CatalogHandle, LinkSource, change::LinkName},
    edge::{explain::Explainer, snapshot::Edge},
    links::{destination::policy::DestinationPolicy, domains::Config},
};

/// Requests at once. Each may hold a chunk of rows.
const MAX_REQUESTS: usize = 64;

/// What all requests share.
pub(super) struct ApiState {
    pub(super) catalog: CatalogHandle,
    pub(super) source: LinkSource,
    /// The domains of the configuration.
    pub(super) configured_domains: Arc<Config>,
    pub(super) edge: Arc<ArcSwap<Edge>>,
    pub(super) readers: ReaderPool,
    /// The rules of fallback URLs.
    pub(super) policy: DestinationPolicy,
    /// How changes go that run.
    pub(super) progress: Rc<RefCell<ProgressByAct>>,
    /// Wakes whoever starts kept changes of many links.
    pub(super) schedule_changed: Notify,
    /// The API key and the `Idempotency-Key` of each request that is being carried out.
    pub(super) keys_in_flight: RefCell<HashSet<(String, String)>>,
    /// Read with the first list.
    pub(super) cursor_key: OnceCell<String>,
    /// Made with the first explanation, and used for all.
    pub(super) explainer: RefCell<Option<Explainer>>,
    requests: Rc<Cell<usize>>,
}

/// One of the places of requests; its drop gives it back.
pub(super) struct RequestPlace(Rc<Cell<usize>>);

impl ApiState {
    pub(super) fn new(inputs: ApiInputs, readers: ReaderPool) -> ApiState {
        let ApiInputs { catalog, source, configured_domains, edge, policy } = inputs;
        ApiState {
            catalog,
            source,
            configured_domains,
            edge,
            readers,
            policy,
            progress: Rc::default(),
            schedule_changed: Notify::new(),
            keys_in_flight: RefCell::default(),
            cursor_key: OnceCell::new(),
            explainer: RefCell::default(),
            requests: Rc::default(),
        }
    }

    /// A place for one request.
    ///
    /// # Errors
    /// All are taken.
    pub(super) fn take_request_place(&self) -> Result<RequestPlace, Problem> {
        if self.requests.get() >= MAX_REQUESTS {
            let detail = format!("{MAX_REQUESTS} requests are being answered, which is the most at once; ask again");
            return Err(Problem::new(ProblemKind::Busy, detail));
        }
        self.requests.set(self.requests.get() + 1);
        Ok(RequestPlace(self.requests.clone()))
    }

    /// The name of a link as the tables have it; `None` if the domain is not configured.
    pub(super) fn canonical_name(&self, name: &LinkName) -> Option<LinkName> {
        let edge = self.edge.load();
        let domain = edge.domains().find_by_name(&name.domain)?;
        let code = if domain.id.ignores_case() { name.code.to_ascii_lowercase() } else { name.code.clone() };
        Some(LinkName { domain: domain.name.to_string(), code })
    }

    /// The secret that signs cursors.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub(super) async fn cursor_key(&self) -> Result<&str, Problem> {
        if self.cursor_key.get().is_none() {
            let key = self.catalog.read_or_create_cursor_key().await;
            let key = key.map_err(|error| Problem::new(ProblemKind::StoreFailing, error.to_string()))?;
            // Set already: another request has read the same key.
            let _ = self.cursor_key.set(key);
        }
        Ok(self.cursor_key.get().map_or("", String::as_str))
    }
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
