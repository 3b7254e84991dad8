//! The lingering close: after a refused request the client can still read its answer.

use std::{io, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::stream::Stream;

/// How long a lingering close takes at most.
const MAX_DURATION: Duration = Duration::from_millis(500);

/// How many bytes a lingering close reads at most.
const MAX_BYTES: usize = 256 << 10;

/// Ends our side, then reads and discards what the client still sends, within both bounds. A socket closed with unread
/// bytes sends a reset, and the reset makes the client discard the answer.
pub(super) async fn shut_down_and_discard_input(mut stream: Stream) {
    let discard = async {
        let mut buffer = [0; 4096];
        let mut bytes_left = MAX_BYTES;
        stream.shutdown().await?;
        while bytes_left > 0 {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => bytes_left = bytes_left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // The connection is closed afterwards in any case.
    let _ = tokio::time::timeout(MAX_DURATION, discard).await;
}
