//! Turns a click's journal bytes into its event: decodes, labels, decides whether the click is a duplicate, and encodes
//! JSON. Pure: no input or output.
//!
//! ```text
//! journal bytes ─▶ event_builder ── decode: query_params
//!                         ├── label: labels, source
//!                         ├── decide: duplicates
//!                         └── encode: encoder, json ─▶ event
//! ```

pub(crate) mod duplicates;
mod encoded_text;
pub(crate) mod encoder;
pub(crate) mod event_builder;
pub(crate) mod json;
pub(crate) mod labels;
mod query_params;
mod source;
pub mod statement;

pub use duplicates::{Config as DuplicateConfig, DuplicateVerdict};
pub use encoder::ClickIdentity;
pub use event_builder::{DecodedClick, DuplicateVerdictState, EventBuilder, UndecodableClick};
pub use labels::ClickLabels;
