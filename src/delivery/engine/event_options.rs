//! The decisions about a click with which its event is encoded and sent.

use crate::{
    events::{duplicates::DuplicateVerdict, labels::ClickLabels},
    kafka::Refusal,
};

/// How a click's event is encoded and sent.
#[derive(Clone, Copy)]
pub(super) struct EventOptions<'a> {
    pub(super) labels: &'a ClickLabels,
    pub(super) verdict: DuplicateVerdict,
    pub(super) timestamp_shift: u8,
    /// The click is a dead letter, so its stub is sent.
    pub(super) stub: Option<Stub>,
}

/// The contents of a dead letter's stub, beside the click's identity.
#[derive(Clone, Copy)]
pub(super) struct Stub {
    pub(super) reason: Refusal,
    pub(super) event_bytes: u32,
}
