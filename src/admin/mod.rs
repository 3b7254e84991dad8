//! The operator's side: `/metrics`, `/livez`, `/readyz`, on a listener and a thread away from the clicks.
//!
//! `/livez` says that the process runs, nothing else. `/readyz` says 503 and names every missing condition; neither Kafka
//! being away nor a disk in trouble is one, for redirects go on without them.

mod scrape;
pub mod tls;

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    lifecycle::{Readiness, Stop},
    metrics::{self, ADMIN_REQUESTS, READY},
};
pub use scrape::{Scrape, install};
use tls::{Handshakes, Offered};

/// `[admin]`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens. Loopback unless told otherwise: without `tls.client_ca` nothing here asks who is there.
    pub listen: SocketAddr,
    /// The files of `https`; without them it speaks `http`.
    pub tls: tls::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 9100)), tls: tls::Config::default() }
    }
}

impl Config {
    /// What is not allowed, by key relative to `admin`.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        self.tls.mistakes()
    }
}

/// How long an operator's client may take for its request's head, and between two of them.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Open connections at a time; a scraper needs one.
const MOST_CONNECTIONS: usize = 64;

/// How long a connection is kept: a client that never reads its answer must not hold a place for ever.
const MAX_AGE: Duration = Duration::from_secs(600);

/// How often histograms are folded, scrape or no scrape: unread samples would pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// The admin listener's state.
struct Admin {
    scrape: Scrape,
    readiness: Readiness,
    ready: ::metrics::Gauge,
    requests: [(&'static str, ::metrics::Counter); 4],
    handshakes: Handshakes,
}

/// Serves until `stop`; runs on a current-thread runtime of a thread that serves no clicks. `offered` is what TLS is spoken with,
/// `None` for plain HTTP.
///
/// Fails if the listener cannot be handed to the runtime.
pub async fn serve(
    listener: TcpListener,
    offered: Option<Offered>,
    scrape: Scrape,
    readiness: Readiness,
    mut stop: Stop,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let counter = |path| (path, metrics::counter(&ADMIN_REQUESTS, &[path]));
    let requests = [counter("/metrics"), counter("/livez"), counter("/readyz"), counter("other")];
    let handshakes = Handshakes::new(offered);
    let admin = Rc::new(Admin { scrape, readiness, ready: metrics::gauge(&READY, &[]), requests, handshakes });
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = stop.wait() => return Ok(()),
            _ = upkeep.tick() => {
                admin.note_ready();
                admin.scrape.upkeep();
            }
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    let admin = admin.clone();
                    tokio::task::spawn_local(async move {
                        admin.connection(stream).await;
                        drop(permit);
                    });
                }
                // Out of descriptors or the client is gone: asking again at once would be a busy loop.
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn accept(
    listener: &tokio::net::TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

impl Admin {
    async fn connection(&self, stream: TcpStream) {
        let Some(mut offered) = self.handshakes.offered() else {
            return self.converse(stream, tokio::time::sleep(MAX_AGE)).await;
        };
        let config = offered.borrow().clone();
        let Some(stream) = self.handshakes.run(stream, config).await else { return };
        // An error: nothing is offered anew any more, because the process stops.
        self.converse(stream, async move { drop(timeout(MAX_AGE, offered.changed()).await) }).await;
    }

    /// Answers on one connection; one that is `old` ends after the answer it is at.
    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin, old: impl Future<Output = ()>) {
        let service = service_fn(|request| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let end = tokio::select! {
            end = connection.as_mut() => end,
            () = old => {
                connection.as_mut().graceful_shutdown();
                timeout(HEADER_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = end {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let known = self.requests.iter().find(|(known, _)| *known == path);
        if let Some((_, counter)) = known.or(self.requests.last()) {
            counter.increment(1);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/metrics" => {
                self.note_ready();
                let mut answer = text(StatusCode::OK, self.scrape.render());
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(header::CONTENT_TYPE, format);
                answer
            }
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.note_ready() {
                missing if missing.is_empty() => text(StatusCode::OK, "ready\n"),
                missing => {
                    let list: String = missing.iter().map(|condition| format!("missing: {condition}\n")).collect();
                    text(StatusCode::SERVICE_UNAVAILABLE, list)
                }
            },
            _ => text(StatusCode::NOT_FOUND, "/metrics /livez /readyz\n"),
        }
    }

    fn note_ready(&self) -> Vec<String> {
        let missing = self.readiness.missing();
        self.ready.set(if missing.is_empty() { 1.0 } else { 0.0 });
        missing
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
