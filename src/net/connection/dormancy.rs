//! An HTTP/1.1 connection that is idle for a second releases hyper's buffers, and hyper is set up anew for its next
//! request. A browser keeps its connection for a minute, and most of them send nothing more: the buffers, two of 8 KiB,
//! were two thirds of what an idle connection took.
//!
//! The table wakes the tasks for it at its ticks, a bounded number each time
//! ([`ConnectionTable::advance_clock_flush_metrics_and_enforce_deadlines`]).

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::net::{
    close_reason::CloseReason,
    connection::{
        protocol::ReplayStream,
        state::{ConnectionPhase, ConnectionState},
        table::ConnectionTable,
    },
};

/// Waits without hyper until bytes of the next request are there. `read_buf` is what hyper had read and not parsed: the
/// beginning of a request that came with the one before. `Err`: the connection is to be closed, for this reason.
pub(super) async fn wait_for_next_request(
    stream: &mut ReplayStream,
    read_buf: Bytes,
    table: &ConnectionTable,
    state: &ConnectionState,
) -> Result<(), CloseReason> {
    stream.give_back(read_buf);
    state.is_dormant.set(true);
    let next = poll_fn(|cx| poll_next_request(stream, table, state, cx)).await;
    state.is_dormant.set(false);
    if next.is_ok() {
        // As at the first request: hyper reads before a drain shuts it down, because it would close a connection on
        // which it has received nothing.
        state.enter_phase(ConnectionPhase::New, table.now());
    }
    next
}

fn poll_next_request(
    stream: &mut ReplayStream,
    table: &ConnectionTable,
    state: &ConnectionState,
    cx: &mut Context<'_>,
) -> Poll<Result<(), CloseReason>> {
    if let Some(reason) = state.poll_abort_reason(cx) {
        return Poll::Ready(Err(reason));
    }
    if stream.has_bytes_read_ahead() {
        return Poll::Ready(Ok(()));
    }
    match stream.poll_read_ahead(cx) {
        Poll::Ready(Ok(true)) => Poll::Ready(Ok(())),
        // Between two requests an error ends the connection as the client's close does.
        Poll::Ready(Ok(false) | Err(_)) => Poll::Ready(Err(CloseReason::Done)),
        Poll::Pending if table.is_draining() => Poll::Ready(Err(CloseReason::Drained)),
        Poll::Pending => Poll::Pending,
    }
}
