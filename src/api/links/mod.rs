//! One link, and lists of links.

pub(super) mod create;
mod cursor;
mod idempotency_key;
pub(super) mod list;
pub(super) mod location;
pub(super) mod next_hop;
pub(super) mod qr_code;
pub(super) mod read;
pub(super) mod record_body;
pub(super) mod refusal;
mod unique_object;
pub(super) mod write;
