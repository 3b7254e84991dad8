//! The HTTP API `/v1` on the admin listener: links, their history, changes in bulk, and what operators ask.
//! `deploy/schemas/openapi.json` specifies it; `docs/api.md` shows it.
//!
//! A request is matched (`routes`), takes one of 64 places (`state`), shows its key (`auth`) and is answered
//! (`dispatch`). Everything here runs on the thread of the admin listener, which serves no clicks. Reads of the catalog
//! run on threads of their own (`readers`); changes are made by the catalog's thread. A link outside the bounds of a
//! key does not exist for it (`reach`).
//!
//! - `http`: problems, bodies, media types, conditions, query parameters.
//! - `links`: one link, and lists of links. `bulk`: many rows in one request. `many`: one change of many links.
//! - `feed`: the history of a link, the audit, the feed of changes, the export. `operator`: suspensions,
//!   freeze, domains, explanations, status, API keys, OpenAPI.

mod accepted_change;
mod act_progress;
mod auth;
mod bulk;
mod context;
mod dispatch;
mod feed;
mod http;
mod inputs;
mod links;
mod many;
mod operator;
mod reach;
mod readers;
mod routes;
mod service;
mod state;

pub use self::{
    http::response::ResponseBody,
    inputs::ApiInputs,
    operator::key_json::key_to_json,
    service::{Api, ApiSlot, PATH_PREFIX},
};
