//! The attribution token and its keys: what a cookie and a destination say about a click, so that a sale can be
//! credited to it. The same keys sign next hops ([`next_hop_signature`]).
//!
//! [`token`] is the token's format, [`claims`] its content. `signing` signs and verifies with the [`keyring`],
//! [`cookie`] finds the token in a request, [`url_keys`] lets a shop verify its own tokens. [`mod@file`] keeps the ring
//! on disk.

pub mod claims;
pub mod click_id;
mod config;
pub mod cookie;
pub mod entropy;
pub mod file;
pub mod key_scope;
pub mod keyring;
mod keyring_metrics;
pub mod next_hop_signature;
pub mod private_file;
pub mod secret;
mod signing;
#[cfg(test)]
mod tests;
pub mod token;
mod url_key_cache;
pub mod url_keys;
mod window;

pub use self::{
    config::Config, keyring_metrics::KeyringMetrics, url_key_cache::UrlKeyCache, window::ATTRIBUTION_WINDOW_MS,
};
