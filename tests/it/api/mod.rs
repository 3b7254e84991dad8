//! The API `/v1` of the running program. Every answer is held against `deploy/schemas/openapi.json` (`schema`).
//!
//! - `client`: a site with an API key, and requests to it
//! - `links`: one link: create, read, replace, patch, remove; every refusal
//! - `conditions`: `ETag`, `If-Match`, `Idempotency-Key`
//! - `lists`: filters, cursors, history, changes, export
//! - `bulk`: many rows in one request; `kill -9` in the middle
//! - `keys`: credentials, scopes, bounds, `waypost api-keys`
//! - `operator`: suspensions, freeze, patches by filter, undo, rollback
//! - `scheduled`: patches that take effect later, and changes that a restart interrupts
//! - `waiting`: `Prefer: wait=N`
//! - `domains`: settings of domains, live and over restarts
//! - `limits`: slow bodies, too many requests, sizes

mod bulk;
pub(crate) mod client;
mod conditions;
mod domains;
mod keys;
mod limits;
mod links;
mod lists;
mod operator;
mod scheduled;
mod schema;
mod waiting;
