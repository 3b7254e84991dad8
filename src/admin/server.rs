//! The admin listener: accepts connections, answers `/metrics`, `/livez` and `/readyz`, and hands requests under `/v1/`
//! to the API.

use std::{convert::Infallible, future::Future, io, net::TcpListener, pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::{
    admin::{
        connections::{ConnectionPlace, OpenConnections},
        own_host::names_no_foreign_host,
        recorder::MetricsRenderer,
        tls::{AdminHandshaker, TlsConfigReceiver},
    },
    api::{self, ApiSlot, ResponseBody},
    lifecycle::{Readiness, StopSignal},
    metrics::{self, ADMIN_REQUESTS, READY},
};

/// The time for a request head, and for the next request of a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The age at which a connection ends, so that a client that never reads its answer does not hold a place for ever.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(600);

/// How often the recorder folds the samples of histograms. Without it they would pile up between two scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after a failed accept. An immediate retry would be a busy loop where descriptors are short.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What a request gets whose host a stranger could have registered.
const FOREIGN_HOST_TEXT: &str = "this host is not known here; ask by address, or list the name in admin.hosts\n";

/// What happens to a request that names a foreign host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ForeignHost {
    Answered,
    Refused,
}

/// The state of the admin listener.
struct AdminServer {
    renderer: MetricsRenderer,
    readiness: Readiness,
    ready: ::metrics::Gauge,
    /// Answers what begins with `/v1/`.
    api: ApiSlot,
    /// By path; the last one counts every other path.
    requests: [(&'static str, ::metrics::Counter); 5],
    handshaker: AdminHandshaker,
    /// The names of `admin.hosts`.
    hosts: Vec<String>,
}

/// Serves until `stop`, on a current-thread runtime whose thread serves no clicks. `tls` gives the TLS configuration;
/// `None` is plain HTTP, which is answered only if the request names no foreign host; `hosts` are more names of ours.
/// `api` answers the requests under `/v1/`.
///
/// # Errors
/// The runtime refuses the listener.
pub async fn serve_admin_until_stop(
    listener: TcpListener,
    tls: Option<TlsConfigReceiver>,
    renderer: MetricsRenderer,
    readiness: Readiness,
    hosts: Vec<String>,
    api: ApiSlot,
    mut stop: StopSignal,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let server = Rc::new(AdminServer::new(renderer, readiness, AdminHandshaker::new(tls), hosts, api));
    let connections = Rc::new(OpenConnections::default());
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        tokio::select! {
            () = stop.wait() => return Ok(()),
            _ = upkeep.tick() => {
                server.update_ready_gauge();
                server.renderer.run_upkeep();
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (server, place) = (server.clone(), connections.take_place_closing_most_silent_if_full());
                    let connection = place.connection();
                    let serve = async move { server.handshake_if_tls_then_serve_connection(stream, &place).await };
                    connection.set_task(tokio::task::spawn_local(serve).abort_handle());
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
        }
    }
}

impl AdminServer {
    fn new(
        renderer: MetricsRenderer,
        readiness: Readiness,
        handshaker: AdminHandshaker,
        hosts: Vec<String>,
        api: ApiSlot,
    ) -> AdminServer {
        let counter = |path| (path, metrics::counter(&ADMIN_REQUESTS, &[path]));
        let requests =
            [counter("/metrics"), counter("/livez"), counter("/readyz"), counter(api::PATH_PREFIX), counter("other")];
        AdminServer { renderer, readiness, ready: metrics::gauge(&READY, &[]), api, requests, handshaker, hosts }
    }

    async fn handshake_if_tls_then_serve_connection(&self, stream: TcpStream, place: &ConnectionPlace) {
        let Some(mut tls) = self.handshaker.subscribe_to_config_if_tls() else {
            let must_end = tokio::time::sleep(MAX_CONNECTION_AGE);
            return self.serve_http_then_shut_down_gracefully_at(stream, place, ForeignHost::Refused, must_end).await;
        };
        let config = tls.borrow().clone();
        let Some(stream) = self.handshaker.try_handshake_and_count_outcome(stream, config).await else { return };
        // A changed configuration ends the connection early. An error of `changed` means that the process stops.
        let must_end = async move { drop(timeout(MAX_CONNECTION_AGE, tls.changed()).await) };
        // A browser talks to a host by TLS only if the certificate has the host's name.
        self.serve_http_then_shut_down_gracefully_at(stream, place, ForeignHost::Answered, must_end).await;
    }

    /// Answers the requests of one connection. Once `must_end` resolves, the connection ends after its current answer.
    async fn serve_http_then_shut_down_gracefully_at(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        place: &ConnectionPlace,
        foreign_host: ForeignHost,
        must_end: impl Future<Output = ()>,
    ) {
        let service = service_fn(|request| {
            let busy = place.begin_request();
            async move {
                let answer = self.count_and_answer_request(request, foreign_host).await;
                drop(busy);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = must_end => {
                connection.as_mut().graceful_shutdown();
                timeout(HEADER_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "an admin connection ended early");
        }
    }

    async fn count_and_answer_request(
        &self,
        request: Request<Incoming>,
        foreign_host: ForeignHost,
    ) -> Response<ResponseBody> {
        let path = request.uri().path();
        let is_for_api = path.starts_with(api::PATH_PREFIX);
        self.count_request_by_path(if is_for_api { api::PATH_PREFIX } else { path });
        if foreign_host == ForeignHost::Refused && !names_no_foreign_host(request.uri(), request.headers(), &self.hosts)
        {
            return uncached_text_response(StatusCode::MISDIRECTED_REQUEST, FOREIGN_HOST_TEXT);
        }
        if is_for_api {
            return self.api.answer_request(request).await;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = uncached_text_response(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/metrics" => {
                self.update_ready_gauge();
                let mut answer = uncached_text_response(StatusCode::OK, self.renderer.render());
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(header::CONTENT_TYPE, format);
                answer
            }
            "/livez" => uncached_text_response(StatusCode::OK, "alive\n"),
            "/readyz" => self.update_ready_gauge_and_answer_readiness(),
            _ => uncached_text_response(StatusCode::NOT_FOUND, "/metrics /livez /readyz /v1/\n"),
        }
    }

    fn count_request_by_path(&self, path: &str) {
        let by_path = self.requests.iter().find(|(known, _)| *known == path);
        if let Some((_, counter)) = by_path.or(self.requests.last()) {
            counter.increment(1);
        }
    }

    fn update_ready_gauge_and_answer_readiness(&self) -> Response<ResponseBody> {
        self.update_ready_gauge();
        let missing = self.readiness.list_missing_conditions();
        if missing.is_empty() {
            return uncached_text_response(StatusCode::OK, "ready\n");
        }
        let list: String = missing.iter().map(|condition| format!("missing: {condition}\n")).collect();
        uncached_text_response(StatusCode::SERVICE_UNAVAILABLE, list)
    }

    fn update_ready_gauge(&self) {
        self.ready.set(if self.readiness.list_missing_conditions().is_empty() { 1.0 } else { 0.0 });
    }
}

/// An answer in plain text that is not to be cached.
fn uncached_text_response(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::whole(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
