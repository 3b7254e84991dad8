use std::{net::SocketAddr, time::Instant};

use http::header;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::{
    net::{TcpListener, TcpStream},
    task::spawn_local,
};

use super::*;
use crate::{
    net::{listen::Address, peer::Networks},
    size::Bytes as Size,
};

fn limits() -> Limits {
    Limits {
        headers: Size::kib(8),
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        ..Limits::default()
    }
}

thread_local! {
    /// Each test's own metrics: every test runs on a thread of its own.
    static RECORDED: PrometheusRecorder = PrometheusBuilder::new().build_recorder();
}

/// Runs `client` against connections that answer 204, ticking as a worker does.
fn served<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr, Rc<Connections>) -> F) {
    let options = tokio::runtime::LocalOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
    runtime.block_on(async {
        let connections = RECORDED
            .with(|recorder| ::metrics::with_local_recorder(recorder, || Connections::new(&limits(), |_| false)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ticking = connections.clone();
        spawn_local(async move {
            let start = Instant::now();
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            loop {
                ticks.tick().await;
                ticking.tick(start.elapsed());
            }
        });
        let serving = connections.clone();
        spawn_local(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let accepted = (Stream::Tcp(stream), Peer::at(peer.ip()));
                let opening = Rc::new(Opening::new(Address::Tcp(address).into(), Networks::default(), None));
                spawn_local(serving.clone().serve(accepted, opening, async |_, _| {
                    let response = Response::builder().status(204).header(header::CACHE_CONTROL, "no-store");
                    Ok(response.body(Full::default()).unwrap())
                }));
            }
        });
        tokio::time::timeout(Duration::from_secs(10), client(address, connections)).await.expect("within its deadline");
    });
}

/// How many connections ended for this reason, as the metrics say.
fn counted(connections: &Connections, reason: &str) -> u64 {
    connections.counts.flush(connections.open());
    let text = RECORDED.with(|recorded| recorded.handle().render());
    let row = format!("waypost_connections_closed_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&row)?.parse().ok()).unwrap()
}

/// Waits until every connection has ended.
async fn all_gone(connections: &Connections) {
    while connections.open() > 0 {
        connections.ended.notified().await;
    }
}

async fn to_end(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    // A reset after the answer is an end too.
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

async fn answer(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let n = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

#[test]
fn a_connection_that_says_nothing_and_one_that_dribbles_end_at_the_header_timeout() {
    served(|address, connections| async move {
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        let start = Instant::now();
        let dribble = async {
            for byte in REQUEST.iter().cycle() {
                if slow.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Dribbled bytes never complete a head within the time: 29 bytes at 20 ms.
        tokio::join!(dribble, to_end(&mut silent));
        all_gone(&connections).await;
        assert_eq!(counted(&connections, "header_timeout"), 2);
        assert!(start.elapsed() >= Duration::from_millis(300));
    });
}

#[test]
fn a_kept_connection_lives_for_the_idle_timeout_and_serves_again() {
    served(|address, connections| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let start = Instant::now();
        for _ in 0..3 {
            stream.write_all(REQUEST).await.unwrap();
            assert!(answer(&mut stream).await.starts_with("HTTP/1.1 204"));
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        assert_eq!(connections.open(), 1, "longer than the header timeout, shorter than the idle timeout");
        assert_eq!(to_end(&mut stream).await, "");
        assert!(start.elapsed() >= Duration::from_millis(1400));
        assert_eq!(counted(&connections, "idle"), 1);
    });
}

#[test]
fn a_head_over_the_limit_is_431_and_nonsense_is_400() {
    served(|address, connections| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /a HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(9000));
        stream.write_all(head.as_bytes()).await.unwrap();
        let refused = to_end(&mut stream).await;
        assert!(refused.starts_with("HTTP/1.1 431"), "{refused:?}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await.unwrap();
        assert!(to_end(&mut stream).await.starts_with("HTTP/1.1 400"));
        all_gone(&connections).await;
        assert_eq!((counted(&connections, "too_large"), counted(&connections, "malformed")), (1, 1));
    });
}

#[test]
fn every_class_of_end_has_its_reason() {
    served(|address, connections| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        to_end(&mut stream).await;
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET /a HT").await.unwrap();
        half.shutdown().await.unwrap();
        to_end(&mut half).await;
        let mut whole = TcpStream::connect(address).await.unwrap();
        whole.write_all(REQUEST).await.unwrap();
        answer(&mut whole).await;
        drop(whole);
        all_gone(&connections).await;
        for reason in ["http2_preface", "incomplete", "done"] {
            assert_eq!(counted(&connections, reason), 1, "{reason}");
        }
        assert_eq!(counted(&connections, "malformed") + counted(&connections, "other"), 0);
    });
}

#[test]
fn a_drain_ends_idle_connections_at_once_and_new_ones_once_they_had_a_second_for_their_request() {
    served(|address, connections| async move {
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut new = TcpStream::connect(address).await.unwrap();
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(REQUEST).await.unwrap();
        answer(&mut kept).await;
        while connections.open() < 3 {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        connections.drain();
        while connections.open() > 2 {
            connections.ended.notified().await;
        }
        assert!(start.elapsed() < Duration::from_millis(200));
        // It connected before, and sends only now.
        new.write_all(REQUEST).await.unwrap();
        assert!(to_end(&mut new).await.starts_with("HTTP/1.1 204"));
        connections.drained().await;
        assert!(start.elapsed() < Duration::from_millis(2000));
        assert_eq!((to_end(&mut silent).await, to_end(&mut kept).await), (String::new(), String::new()));
    });
}
