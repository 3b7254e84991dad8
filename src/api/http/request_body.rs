//! Bodies of requests: bounded in size, and cut if they do not come on.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::problem::{Problem, ProblemKind};

/// How long a body may bring nothing.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// The next bytes of a body; `None` at its end.
///
/// # Errors
/// Nothing came in time, or the client broke off.
pub(in crate::api) async fn next_chunk(body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout(PROGRESS_TIMEOUT, body.frame()).await.map_err(|_| {
            let seconds = PROGRESS_TIMEOUT.as_secs();
            Problem::new(ProblemKind::BodyTooSlow, format!("no byte of the body came for {seconds} seconds"))
        })?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                let problem = Problem::new(ProblemKind::Malformed, format!("the body ends early: {error}"));
                return Err(problem.with_header(header::CONNECTION, "close"));
            }
            // Trailers say nothing here.
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

/// A whole body of at most `max` bytes.
///
/// # Errors
/// It is larger, or as [`next_chunk`].
pub(in crate::api) async fn read_body(mut body: Incoming, max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let problem = Problem::new(ProblemKind::TooLarge, format!("allowed are {max} bytes"));
        problem.with_header(header::CONNECTION, "close")
    };
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut body).await? {
        if bytes.len() + chunk.len() > max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
