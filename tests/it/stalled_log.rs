//! The standard error stream is a pipe that nobody reads: the process serves, delivers, tells its metrics and stops.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    dsl::{Site, TIMEOUT, link, until},
    h2::{ACK, PING, PREFACE, SETTINGS, frame},
};

const DROPPED: &str = "waypost_log_lines_dropped_total";

/// A site whose log has filled the pipe and the queue behind it, because h2 traces every frame.
fn site_with_full_log() -> Site {
    let site = Site::new(&[link("live")]).env("RUST_LOG", "info,h2=trace").listening_with("http2 = true", "").start();
    site.set_log_unread(true);
    let mut stream = TcpStream::connect(site.listen()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, ACK, 0, &[])].concat()).unwrap();
    until("dropped lines", || {
        for _ in 0..20 {
            stream.write_all(&frame(PING, 0, 0, &[1; 8])).unwrap();
            read_until_pong(&mut stream);
        }
        (site.metric(DROPPED, "") > 0.0).then_some(())
    });
    site
}

fn read_until_pong(stream: &mut TcpStream) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == PING && head[4] == ACK {
            return;
        }
    }
}

#[test]
fn a_log_that_nobody_reads_stops_neither_clicks_nor_metrics_nor_a_stop() {
    let mut site = site_with_full_log();
    for _ in 0..5 {
        assert_eq!(site.get("/live", &[]).status, 302);
    }
    site.wait_for_events("clicks", 5);
    assert_eq!(site.admin("/readyz").unwrap().status, 200);
    let reloads = site.metric("waypost_links_reloads_total", "ok");
    site.write("links.jsonl", &(link("live") + "\n" + &link("late") + "\n"));
    site.signal("-HUP");
    until("a reload", || (site.metric("waypost_links_reloads_total", "ok") > reloads).then_some(()));
    site.signal("-TERM");
    let start = Instant::now();
    // Until then nobody reads the log.
    let (code, _) = site.wait_for_exit();
    assert_eq!(code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_log_that_is_read_again_says_how_many_lines_were_dropped_and_ends_with_the_last_line() {
    let mut site = site_with_full_log();
    site.set_log_unread(false);
    let fault = site.wait_for_fault("log_lines_dropped", "none", "log-lines-dropped");
    assert!(fault["lines"].as_u64().unwrap() > 0, "{fault}");
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let last = log.lines().last().unwrap();
    assert!(last.contains("\"event\":\"stopped\""), "{last}");
}

#[test]
fn a_second_signal_ends_a_process_whose_log_nobody_reads() {
    let mut site = site_with_full_log();
    // An open request keeps the drain from its end until the deadline.
    let mut connection = site.connect();
    connection.write("GET /live HTTP/1.1\r\n");
    site.signal("-TERM");
    until("the drain", || site.admin("/readyz").filter(|answer| answer.status == 503));
    site.signal("-INT");
    let start = Instant::now();
    let (code, _) = site.wait_for_exit();
    assert_eq!(code, Some(1));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
