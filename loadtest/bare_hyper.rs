//! The least that a server of this HTTP library costs, for `loadtest/same-job.sh`: hyper answers every request with one
//! `302`, looks nothing up, sets no cookie and records nothing.
//!
//! `bare_hyper PORT` serves on the loopback address with one thread, as one worker of Waypost does.

use std::{convert::Infallible, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOCATION: HeaderValue = HeaderValue::from_static("https://shop.example.com/view/product/1700000001");

async fn redirect(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, LOCATION);
    Ok(response)
}

async fn serve(port: u16) -> std::io::Result<Infallible> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // The header timeout is on, as in every server that is measured.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service_fn(redirect));
        // A client that breaks off ends its own connection alone.
        tokio::task::spawn_local(async move { connection.await.ok() });
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: bare_hyper PORT")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Err(error) = tokio::task::LocalSet::new().block_on(&runtime, serve(port));
    Err(error.into())
}
