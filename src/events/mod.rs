//! Turns a click's journal bytes into its event: decodes, labels, decides whether the click is a duplicate, and encodes
//! JSON or Protobuf. Reads Protobuf back as JSON. Pure: no input or output.
//!
//! ```text
//! journal bytes ─▶ event_builder ── decode: client::query_params
//!                         ├── label: labels, client::source, place_labels, device_labels
//!                         ├── decide: duplicates
//!                         └── encode: encoder, field, json, protobuf ─▶ event
//! Protobuf value ─▶ protobuf_reader ─▶ event in JSON
//! ```

mod device_labels;
pub(crate) mod duplicates;
mod encoded_text;
pub(crate) mod encoder;
pub(crate) mod event_builder;
mod event_writer;
mod field;
pub(crate) mod json;
pub(crate) mod labels;
mod place_labels;
mod protobuf;
pub(crate) mod protobuf_reader;
pub mod statement;

pub use duplicates::{Config as DuplicateConfig, DuplicateVerdict};
pub use encoder::{ClickIdentity, ValueEncoding};
pub use event_builder::{DecodedClick, DuplicateVerdictState, EventBuilder, UndecodableClick};
pub use labels::ClickLabels;
