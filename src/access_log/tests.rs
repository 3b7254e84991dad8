use proptest::prelude::*;

use super::*;

fn entry(line: &str) -> LogEntry {
    parse_line(line.as_bytes()).unwrap_or_else(|| panic!("{line}"))
}

fn request(host: Option<&str>, target: &str, status: u16, location: Option<&str>) -> LogEntry {
    LogEntry {
        host: host.map(str::to_owned),
        method: "GET".to_owned(),
        target: target.to_owned(),
        status: Some(status),
        location: location.map(str::to_owned),
    }
}

const TIME: &str = "[29/Nov/2026:10:00:00 +0000]";

#[test]
fn the_formats_of_nginx_and_apache_are_read_with_and_without_a_host() {
    let get = "\"GET /aff_c?offer_id=1&aff_id=2 HTTP/1.1\" 302 154";
    let target = "/aff_c?offer_id=1&aff_id=2";
    let host = Some("tune.example.com");
    let url = "https://shop.example.com/x?a=1";
    let shop = Some(url);
    for (line, expected) in [
        (format!("192.0.2.7 - - {TIME} {get}"), request(None, target, 302, None)),
        (format!("2001:db8::7 - frank {TIME} {get} \"-\" \"-\""), request(None, target, 302, None)),
        (format!("tune.example.com:443 192.0.2.7 - - {TIME} {get} \"-\" \"-\""), request(host, target, 302, None)),
        (format!("tune.example.com 192.0.2.7 - {TIME} {get}"), request(host, target, 302, None)),
        (format!("192.0.2.7 - - {TIME} {get} \"-\" \"-\" \"tune.example.com\""), request(host, target, 302, None)),
        (format!("192.0.2.7 - - {TIME} {get} \"-\" \"-\" \"-\" 0.004"), request(None, target, 302, None)),
        (format!("a.isp.example - - {TIME} {get}"), request(None, target, 302, None)),
        (
            format!("192.0.2.7 - - {TIME} {get} \"https://x.example/\" \"-\" \"{}\"", url),
            request(None, target, 302, shop),
        ),
        (format!("192.0.2.7 - - {TIME} {get} \"{}\"", url), request(None, target, 302, shop)),
        (format!("192.0.2.7 - - {TIME} {get} \"-\" \"-\" location=\"{}\"", url), request(None, target, 302, shop)),
        (
            format!("192.0.2.7 - - {TIME} \"GET http://tune.example.com:80/x HTTP/1.1\" 200 -"),
            request(host, "/x", 200, None),
        ),
    ] {
        assert_eq!(entry(&line), expected, "{line}");
    }
}

#[test]
fn escapes_are_resolved_and_what_is_no_request_has_no_method() {
    let line = format!("192.0.2.7 - - {TIME} \"GET /a\\x22b HTTP/1.1\" 404 0 \"-\" \"say \\\"hi\\\" \\\\\"");
    let found = entry(&line);
    assert_eq!((&*found.target, found.status), ("/a\"b", Some(404)));
    let tls = entry(&format!("192.0.2.7 - - {TIME} \"\\x16\\x03\\x01\" 400 157 \"-\" \"-\""));
    assert_eq!((&*tls.method, &*tls.target, tls.status), ("", "", Some(400)));
}

#[test]
fn lines_of_json_are_read() {
    let host = Some("tune.example.com");
    let shop = Some("https://shop.example.com/x");
    for (line, expected) in [
        (
            r#"{"host":"tune.example.com","request":"GET /x?a=1 HTTP/1.1","status":302}"#,
            request(host, "/x?a=1", 302, None),
        ),
        (
            concat!(
                r#"{"http_host":"tune.example.com:443","request_method":"GET","request_uri":"/x","status":"301","#,
                r#""sent_http_location":"https://shop.example.com/x"}"#
            ),
            request(host, "/x", 301, shop),
        ),
        (
            concat!(
                r#"{"request":{"method":"GET","host":"tune.example.com","uri":"/x","headers":{}},"status":302,"#,
                r#""resp_headers":{"Location":["https://shop.example.com/x"]}}"#
            ),
            request(host, "/x", 302, shop),
        ),
        (r#"{"url":"https://tune.example.com/x","status":200}"#, request(host, "/x", 200, None)),
    ] {
        assert_eq!(entry(line), expected, "{line}");
    }
}

#[test]
fn other_lines_are_not_read() {
    for line in [
        "",
        "hello",
        "192.0.2.7 - - [29/Nov/2026:10:00:00 +0000]",
        "192.0.2.7 - - [29/Nov/2026:10:00:00 +0000] \"GET /x HTTP/1.1",
        "192.0.2.7 - - [29/Nov/2026:10:00:00 +0000] \"GET /x HTTP/1.1\" abc",
        "192.0.2.7 - - \"GET /x HTTP/1.1\" 200 1",
        "{}",
        "[1]",
        "{\"status\":200}",
    ] {
        assert_eq!(parse_line(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn lines_are_read_in_bounded_memory() {
    let long = "x".repeat(MAX_LINE_LEN + 1);
    let text = format!("one\n{long}\n\ntwo");
    let mut lines = BoundedLines::new(std::io::BufReader::with_capacity(16, text.as_bytes()));
    for expected in [LogLine::Whole(b"one"), LogLine::TooLong, LogLine::Whole(b""), LogLine::Whole(b"two")] {
        assert_eq!(lines.read_next().unwrap(), Some(expected));
    }
    assert_eq!(lines.read_next().unwrap(), None);
}

proptest! {
    #[test]
    fn any_line_is_read_without_a_panic(
        line in "[ -~]{0,120}", bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let _ = parse_line(line.as_bytes());
        let _ = parse_line(&bytes);
        let _ = parse_line(format!("a - - [t] \"{line}\" 200 1 \"{line}\"").as_bytes());
    }
}
