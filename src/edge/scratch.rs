//! Buffers and memories that a worker uses again for each click.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

use crate::{
    attribution::{UrlKeyCache, token::PayloadBuffer},
    edge::{agent_memo::AgentMemo, preview_fetchers::PreviewFetchers, recorded_texts::RecordedTexts},
};

/// The bytes allocated at once for header values: about a hundred answers'.
const HEADER_CHUNK_LEN: usize = 32 * 1024;

/// One worker's buffers. Each is cleared before it is filled.
#[derive(Default)]
pub struct ScratchBuffers {
    /// The encoded click, for the lane.
    pub click: Vec<u8>,
    /// The decoded cookie of the request.
    pub(super) cookie_payload: PayloadBuffer,
    /// The URL token; empty if the click has none.
    pub(super) token: Vec<u8>,
    /// The `Set-Cookie` value.
    pub(super) cookie: Vec<u8>,
    /// The destination with its token.
    pub(super) location: Vec<u8>,
    /// The URL of the web that the page of an app's destination goes on to.
    pub(super) way_on: Vec<u8>,
    /// The destination without its token.
    pub(super) recorded_destination: Vec<u8>,
    pub(super) recorded_texts: RecordedTexts,
    /// What the conditions of the link's targets and the domain saw.
    pub(super) target_facts: Vec<u8>,
    pub(super) agents: AgentMemo,
    pub(super) url_keys: UrlKeyCache,
    pub(super) preview_fetchers: PreviewFetchers,
    header_chunk: BytesMut,
}

impl ScratchBuffers {
    /// Copies `location` to a header value.
    pub(super) fn location_header(&mut self) -> Option<HeaderValue> {
        copy_into_chunk_as_header_value(&mut self.header_chunk, &self.location)
    }

    /// Copies `cookie` to a header value.
    pub(super) fn cookie_header(&mut self) -> Option<HeaderValue> {
        copy_into_chunk_as_header_value(&mut self.header_chunk, &self.cookie)
    }
}

/// Copies bytes to a header value in the chunk, and allocates another chunk where this one is used up. `None` if the
/// bytes are no header value; the bytes given here are (a checked URL, the token's alphabet, a percent-encoded query),
/// and a header that is left out does less harm than a broken one.
fn copy_into_chunk_as_header_value(chunk: &mut BytesMut, bytes: &[u8]) -> Option<HeaderValue> {
    if chunk.capacity() < bytes.len() {
        *chunk = BytesMut::with_capacity(HEADER_CHUNK_LEN.max(bytes.len()));
    }
    chunk.put_slice(bytes);
    HeaderValue::from_maybe_shared(chunk.split().freeze()).ok()
}
