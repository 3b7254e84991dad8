//! What an answer depends on besides the request and the edge's snapshot.

use crate::{attribution::entropy::ClickEntropy, net::peer::Peer};

/// The circumstances of one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The other end of the connection.
    pub peer: Peer,
    /// The wall clock, milliseconds since the epoch. Decides link expiry and token age, and is the click's time.
    pub wall_ms: u64,
    /// The wall clock, but never behind an earlier click of the same lane: click ids of a lane are ordered.
    pub id_ms: u64,
    /// Random bytes for this click alone.
    pub entropy: ClickEntropy,
    /// Whether the lane of clicks has room for this click. If not, the click's URL token says so, and the click is
    /// counted as unrecorded.
    pub lane_has_room: bool,
}
