//! The tests set the table's clock themselves, so that no test depends on the speed of the machine.

use std::{net::SocketAddr, time::Duration};

use http::header;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::{spawn_local, yield_now},
};

use super::*;
use crate::{
    net::{connection::state::ConnectionPhase, listen::ListenAddress, peer::TrustedNetworks},
    size::Bytes as Size,
};

/// Milliseconds of the table's clock.
const HEADER_TIMEOUT: u64 = 3000;
const IDLE_TIMEOUT: u64 = 6000;
/// What a drain gives a new connection for its first byte.
const FIRST_BYTE_GRACE: u64 = 1000;

/// The time for a whole test.
const TEST_DEADLINE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits {
        max_header_bytes: Size::kib(8),
        header_timeout: Duration::from_millis(HEADER_TIMEOUT),
        idle_timeout: Duration::from_millis(IDLE_TIMEOUT),
        ..Limits::default()
    }
}

thread_local! {
    /// The metrics of one test: every test runs on a thread of its own.
    static RECORDER: PrometheusRecorder = PrometheusBuilder::new().build_recorder();
}

/// Runs `client` against a server that answers 204. The table's clock stands at 0 until the client ticks.
fn run_against_server<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr, Rc<ConnectionTable>) -> F) {
    run_against_server_with(limits(), client);
}

fn run_against_server_with<F: Future<Output = ()>>(
    limits: Limits,
    client: impl FnOnce(SocketAddr, Rc<ConnectionTable>) -> F,
) {
    let options = tokio::runtime::LocalOptions::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap();
    runtime.block_on(async {
        let new_table = || ConnectionTable::new(&limits, |_| false);
        let table = RECORDER.with(|recorder| ::metrics::with_local_recorder(recorder, new_table));
        let server = ConnectionServer::new(&limits, table.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_local(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let accepted = (Stream::Tcp(stream), Peer::from_network(peer.ip()));
                let listen = ListenAddress::Tcp(address).into();
                let setup = Rc::new(ConnectionSetup::new(listen, TrustedNetworks::default(), None));
                spawn_local(server.clone().register_now_and_serve_until_closed(accepted, setup, async |_, _| {
                    let response = Response::builder().status(204).header(header::CACHE_CONTROL, "no-store");
                    Ok(response.body(Full::default()).unwrap())
                }));
            }
        });
        tokio::time::timeout(TEST_DEADLINE, client(address, table)).await.expect("the test ends in time");
    });
}

fn tick(table: &ConnectionTable, now_ms: u64) {
    table.advance_clock_flush_metrics_and_enforce_deadlines(Duration::from_millis(now_ms));
}

/// Lets the server's tasks run until the condition holds.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now().await;
    }
}

/// How many open connections the table has told to end.
fn aborted(table: &ConnectionTable) -> usize {
    table.states().iter().filter(|state| state.aborted.get().is_some()).count()
}

/// How many connections ended for this reason, by the metrics.
fn closed_for(table: &ConnectionTable, reason: &str) -> u64 {
    table.flush_metrics();
    let text = RECORDER.with(|recorder| recorder.handle().render());
    let row = format!("waypost_connections_closed_total{{reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&row)?.parse().ok()).unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    // A reset behind the answer is an end too.
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

/// Reads what has come of an answer, at least one byte.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// Sends a request and reads its answer.
async fn exchange(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    let answer = read_answer(stream).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer:?}");
}

#[test]
fn a_silent_connection_and_one_that_sends_byte_by_byte_end_at_the_header_timeout() {
    run_against_server(|address, table| async move {
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        until(|| table.open() == 2).await;
        slow.write_all(&REQUEST[..1]).await.unwrap();
        let reads_head = || table.states().iter().any(|state| state.phase.get() == ConnectionPhase::ReadingHead);
        until(reads_head).await;
        tick(&table, HEADER_TIMEOUT);
        assert_eq!(aborted(&table), 0);
        // A further byte does not extend the deadline.
        slow.write_all(&REQUEST[1..2]).await.unwrap();
        tick(&table, HEADER_TIMEOUT + 1);
        assert_eq!(aborted(&table), 2);
        until(|| table.open() == 0).await;
        assert_eq!((read_to_end(&mut silent).await, read_to_end(&mut slow).await), (String::new(), String::new()));
        assert_eq!(closed_for(&table, "header_timeout"), 2);
    });
}

#[test]
fn a_kept_connection_outlives_the_header_timeout_and_ends_at_the_idle_timeout() {
    run_against_server(|address, table| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for now in [0, 4000, 8000] {
            tick(&table, now);
            exchange(&mut stream).await;
        }
        tick(&table, 8000 + IDLE_TIMEOUT);
        assert_eq!((table.open(), aborted(&table)), (1, 0));
        tick(&table, 8000 + IDLE_TIMEOUT + 1);
        assert_eq!(read_to_end(&mut stream).await, "");
        until(|| table.open() == 0).await;
        assert_eq!(closed_for(&table, "idle"), 1);
    });
}

#[test]
fn a_head_above_the_limit_is_431_and_a_malformed_one_is_400() {
    run_against_server(|address, table| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /a HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(9000));
        stream.write_all(head.as_bytes()).await.unwrap();
        let refused = read_to_end(&mut stream).await;
        assert!(refused.starts_with("HTTP/1.1 431"), "{refused:?}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01\r\n\r\n").await.unwrap();
        assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 400"));
        until(|| table.open() == 0).await;
        assert_eq!((closed_for(&table, "too_large"), closed_for(&table, "malformed")), (1, 1));
    });
}

#[test]
fn an_http2_preface_a_half_request_and_a_client_gone_have_reasons_of_their_own() {
    run_against_server(|address, table| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        read_to_end(&mut stream).await;
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET /a HT").await.unwrap();
        half.shutdown().await.unwrap();
        read_to_end(&mut half).await;
        let mut whole = TcpStream::connect(address).await.unwrap();
        exchange(&mut whole).await;
        drop(whole);
        until(|| table.open() == 0).await;
        for reason in ["http2_preface", "incomplete", "done"] {
            assert_eq!(closed_for(&table, reason), 1, "{reason}");
        }
        assert_eq!(closed_for(&table, "malformed") + closed_for(&table, "other"), 0);
    });
}

#[test]
fn a_drain_ends_idle_connections_at_once_and_gives_new_ones_a_second_for_their_request() {
    run_against_server(|address, table| async move {
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut new = TcpStream::connect(address).await.unwrap();
        let mut kept = TcpStream::connect(address).await.unwrap();
        exchange(&mut kept).await;
        until(|| table.open() == 3).await;
        table.start_drain();
        assert_eq!(read_to_end(&mut kept).await, "");
        until(|| table.open() == 2).await;
        // It connected before the drain, and its request comes after the drain's beginning.
        new.write_all(REQUEST).await.unwrap();
        assert!(read_to_end(&mut new).await.starts_with("HTTP/1.1 204"));
        until(|| table.open() == 1).await;
        tick(&table, FIRST_BYTE_GRACE);
        assert_eq!(aborted(&table), 0);
        tick(&table, FIRST_BYTE_GRACE + 1);
        table.wait_until_empty_and_flush_metrics().await;
        assert_eq!(read_to_end(&mut silent).await, "");
        assert_eq!(closed_for(&table, "drained"), 3);
    });
}

#[test]
fn a_full_table_ends_the_longest_idle_connection_and_none_that_was_idle_for_less_than_a_second() {
    let limits = Limits { max_connections: 3, ..limits() };
    run_against_server_with(limits, |address, table| async move {
        let [mut first, mut second, mut third] = [
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        ];
        for (now, stream) in [(500, &mut second), (1000, &mut first), (1200, &mut third)] {
            tick(&table, now);
            exchange(stream).await;
        }
        let waits = spawn_local({
            let table = table.clone();
            async move { table.wait_for_room().await }
        });
        tick(&table, 1499);
        yield_now().await;
        assert_eq!((aborted(&table), waits.is_finished()), (0, false));
        // The first one was asked before the third, and the second one before both.
        tick(&table, 2500);
        waits.await.unwrap();
        assert_eq!(read_to_end(&mut second).await, "");
        exchange(&mut first).await;
        exchange(&mut third).await;
        assert_eq!((table.open(), closed_for(&table, "made_room")), (2, 1));
    });
}

/// How many open connections are dormant.
fn dormant(table: &ConnectionTable) -> usize {
    table.states().iter().filter(|state| state.is_dormant.get()).count()
}

#[test]
fn a_connection_that_is_idle_for_a_second_becomes_dormant_and_answers_the_next_request() {
    run_against_server(|address, table| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        exchange(&mut stream).await;
        tick(&table, 999);
        yield_now().await;
        assert_eq!(dormant(&table), 0);
        tick(&table, 1000);
        until(|| dormant(&table) == 1).await;
        // Longer than what is read ahead, and shorter.
        exchange(&mut stream).await;
        assert_eq!(dormant(&table), 0);
        tick(&table, 2000);
        until(|| dormant(&table) == 1).await;
        stream.write_all(&REQUEST[..5]).await.unwrap();
        until(|| table.states().iter().all(|state| state.phase.get() == ConnectionPhase::ReadingHead)).await;
        tick(&table, 2000 + HEADER_TIMEOUT);
        stream.write_all(&REQUEST[5..]).await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 204"));
        // Dormant or not, it ends at the idle timeout, counted from its last answer.
        let answered_at = 2000 + HEADER_TIMEOUT;
        tick(&table, answered_at + IDLE_TIMEOUT);
        until(|| dormant(&table) == 1).await;
        assert_eq!(aborted(&table), 0);
        tick(&table, answered_at + IDLE_TIMEOUT + 1);
        assert_eq!(read_to_end(&mut stream).await, "");
        until(|| table.open() == 0).await;
        assert_eq!(closed_for(&table, "idle"), 1);
    });
}

#[test]
fn a_dormant_connection_ends_as_done_when_its_client_closes_and_at_once_when_the_process_drains() {
    run_against_server(|address, table| async move {
        let mut streams = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        for stream in &mut streams {
            exchange(stream).await;
        }
        tick(&table, 1000);
        until(|| dormant(&table) == 2).await;
        let [gone, mut kept] = streams;
        drop(gone);
        until(|| table.open() == 1).await;
        table.start_drain();
        assert_eq!(read_to_end(&mut kept).await, "");
        table.wait_until_empty_and_flush_metrics().await;
        assert_eq!((closed_for(&table, "done"), closed_for(&table, "drained")), (1, 1));
    });
}

#[test]
fn a_request_of_which_the_beginning_came_with_the_one_before_is_whole_after_a_dormancy() {
    run_against_server(|address, table| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let (mut both, next) = (REQUEST.to_vec(), &REQUEST[..20]);
        both.extend_from_slice(next);
        stream.write_all(&both).await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 204"));
        tick(&table, 1000);
        until(|| table.states().iter().all(|state| state.phase.get() == ConnectionPhase::ReadingHead)).await;
        stream.write_all(&REQUEST[20..]).await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 204"));
    });
}

#[test]
fn a_connection_whose_answers_are_not_read_keeps_them_and_becomes_dormant_only_behind_them() {
    run_against_server_with(Limits { max_requests: u32::MAX, ..limits() }, |address, table| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let is_stuck = || table.states().iter().any(|state| !state.is_flushed.get());
        // Until the server cannot write, and therefore does not read.
        let (mut sent, requests) = (0, REQUEST.repeat(50));
        while !is_stuck() {
            stream.write_all(&requests).await.unwrap();
            sent += 50;
            yield_now().await;
        }
        tick(&table, 1000);
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(is_stuck() && dormant(&table) == 0);
        let (mut answers, mut buffer) = (0, vec![0; 1 << 16]);
        let mut text = String::new();
        while answers < sent {
            let read = stream.read(&mut buffer).await.unwrap();
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            answers = text.matches("HTTP/1.1 204").count();
        }
        // It was due while it could not: it becomes dormant later as any other.
        tick(&table, 2000);
        until(|| dormant(&table) == 1).await;
        exchange(&mut stream).await;
    });
}
