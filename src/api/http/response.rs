//! Answers: their bodies, and the headers that all of them have.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// All of it at once; `None` once it is taken.
    Whole(Option<Bytes>),
    /// Parts that a task sends. The body ends with the sender; an error breaks it off, so that the client knows.
    Parts(mpsc::Receiver<io::Result<Bytes>>),
}

impl ResponseBody {
    /// A body of these bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> ResponseBody {
        ResponseBody::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            ResponseBody::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ResponseBody::Parts(parts) => parts.poll_recv(context).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ResponseBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            ResponseBody::Parts(_) => SizeHint::default(),
        }
    }
}

/// The answer to a request.
pub(in crate::api) type ApiResponse = Response<ResponseBody>;

/// An answer with a JSON text.
pub(in crate::api) fn json_response(status: StatusCode, text: impl Into<Bytes>) -> ApiResponse {
    response_of_type(status, "application/json", ResponseBody::whole(text))
}

/// An answer with a body of this media type. No cache may keep it.
pub(in crate::api) fn response_of_type(
    status: StatusCode,
    media_type: &'static str,
    body: ResponseBody,
) -> ApiResponse {
    let mut response = empty_response(status);
    *response.body_mut() = body;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// An answer without a body. No cache may keep it.
pub(in crate::api) fn empty_response(status: StatusCode) -> ApiResponse {
    let mut response = Response::new(ResponseBody::Whole(None));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
