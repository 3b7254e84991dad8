//! HTTP/1.1 byte by byte. A case is the bytes that are sent, and the one documented answer to them.
//!
//! After every case, `GET /smuggled` or a valid click follows on the same connection. If the case must end the
//! connection, the bytes behind it must never be read as a request. `/smuggled` is an unknown code, so one orphan click
//! shows a leak.

use crate::dsl::{Connection, Site, request, until};

const CLOSED: &str = "waypost_connections_closed_total";
const REFUSED: &str = "waypost_requests_refused_total";

/// The expected outcome of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// An answer with this status. The next request on the connection is answered.
    Kept(u16),
    /// An answer with this status and the end of the connection. No byte behind is read as a request.
    Ends(u16),
    /// Invalid HTTP: 400 and the end, counted as malformed.
    Malformed,
    /// A head above the limit: 431 with a page and the end, counted as too large.
    TooLarge,
    /// Valid HTTP that is refused: an answer with this status, counted under this reason. The connection is kept.
    Refused(u16, &'static str),
}
use Answer::{Ends, Kept, Malformed, Refused, TooLarge};

type Case<'a> = (&'a str, Vec<u8>, Answer);

fn case<'a>(what: &'a str, raw: impl AsRef<[u8]>, answer: Answer) -> Case<'a> {
    (what, raw.as_ref().to_vec(), answer)
}

/// `GET /live` with a host and these header lines.
fn lines<'a>(what: &'a str, lines: &str, answer: Answer) -> Case<'a> {
    case(what, format!("GET /live HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n"), answer)
}

/// `GET /live` with these lines in place of a host.
fn host<'a>(what: &'a str, lines: &str, answer: Answer) -> Case<'a> {
    case(what, format!("GET /live HTTP/1.1\r\n{lines}\r\n"), answer)
}

/// `GET` of this target.
fn target<'a>(what: &'a str, target: &str, answer: Answer) -> Case<'a> {
    case(what, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), answer)
}

/// This request line, and a host.
fn line<'a>(what: &'a str, line: &str, answer: Answer) -> Case<'a> {
    case(what, format!("{line}\r\nHost: a\r\n\r\n"), answer)
}

/// `GET /live` with this chunked body.
fn chunked<'a>(what: &'a str, body: &str, answer: Answer) -> Case<'a> {
    lines(what, &format!("Transfer-Encoding: chunked\r\n\r\n{body}"), answer)
}

/// Sends each case on a new connection and checks its outcome, that other connections are not harmed, and that no bytes
/// were read as a request that must not be.
fn check_cases(cases: Vec<Case<'_>>) {
    let site = Site::with_codes(&["live"]);
    let mut wrong = Vec::new();
    let mut counted: std::collections::BTreeMap<(&str, &str), f64> = Default::default();
    let mut other = site.connect();
    for (what, raw, expected) in &cases {
        if let Err(found) = check_case(&site, raw, *expected) {
            wrong.push(format!("{what}: {expected:?} expected, {found}: {:?}", String::from_utf8_lossy(raw)));
        }
        // A connection on the same worker, open since before, is not harmed.
        assert_eq!(other.send(&request("GET", "/live", &[])).status, 302, "after {what}");
        let row = match expected {
            Malformed => (CLOSED, "malformed"),
            TooLarge => (CLOSED, "too_large"),
            Refused(_, reason) => (REFUSED, *reason),
            Kept(_) | Ends(_) => continue,
        };
        *counted.entry(row).or_default() += 1.0;
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    for ((name, reason), times) in counted {
        until(&format!("{times} {reason}"), || {
            (site.metric(name, &format!("reason=\"{reason}\"")) == times).then_some(())
        });
    }
    // This orphan is the last one of the lane. A smuggled request would stand before it.
    assert_eq!(site.get("/last", &[]).status, 404);
    let orphans = until("the last orphan", || {
        Some(site.events("clicks.orphan")).filter(|all| all.iter().any(|event| event["code"] == "last"))
    });
    assert!(orphans.iter().all(|event| event["code"] != "smuggled"), "{orphans:?}");
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

fn check_case(site: &Site, raw: &[u8], expected: Answer) -> Result<(), String> {
    let mut wire = site.connect();
    wire.write_bytes(raw);
    let (status, kept) = match expected {
        Kept(status) | Refused(status, _) => (status, true),
        Ends(status) => (status, false),
        Malformed => (400, false),
        TooLarge => (431, false),
    };
    if !kept {
        // The connection may be closed already.
        wire.write_bytes(request("GET", "/smuggled", &[]).as_bytes());
    }
    let answer = wire.read(raw.starts_with(b"HEAD ")).ok_or("no answer")?;
    if answer.status != status {
        return Err(format!("{} came", answer.status));
    }
    // RFC 9112 §9.6: a server that will close says so. In HTTP/1.0 the close is the default.
    let old = raw.windows(9).any(|part| part == b" HTTP/1.0");
    if matches!(expected, Ends(_)) && !old && answer.header("connection") != Some("close") {
        return Err(format!("{answer:?} came, without `Connection: close`"));
    }
    let is_page = answer.text().contains("Delete the cookies of this site");
    if matches!(expected, Malformed | TooLarge)
        && !((if expected == TooLarge { is_page } else { answer.body.is_empty() }) && answer.header("server").is_none())
    {
        return Err(format!("{answer:?} came"));
    }
    let next = match kept {
        true => wire.try_send(&request("GET", "/live", &[])),
        false => wire.read(false),
    };
    match (kept, next.map(|answer| answer.status)) {
        (true, Some(302)) | (false, None) => Ok(()),
        (_, next) => Err(format!("then {next:?}")),
    }
}

/// RFC 9112 §3.2: one valid `Host`, else 400. RFC 3986 §3.2.2 says what is valid; user information is not part of it.
#[test]
fn exactly_one_valid_host_is_asked_for() {
    let name = |len: usize| format!("Host: {}\r\n", "a".repeat(len));
    check_cases(vec![
        host("a name", "Host: go.example.com\r\n", Kept(302)),
        host("a name in capitals", "HOST: GO.EXAMPLE.COM\r\n", Kept(302)),
        host("a root dot", "Host: go.example.com.\r\n", Kept(302)),
        host("a port", "Host: go.example.com:8080\r\n", Kept(302)),
        host("a port of no digits", "Host: go.example.com:\r\n", Kept(302)),
        host("spaces around", "Host: \t go.example.com \t\r\n", Kept(302)),
        host("IPv4", "Host: 127.0.0.1:80\r\n", Kept(302)),
        host("IPv6", "Host: [2001:db8::1]\r\n", Kept(302)),
        host("IPv6 with a port", "Host: [::1]:8080\r\n", Kept(302)),
        host("255 bytes", &name(255), Kept(302)),
        host("256 bytes", &name(256), Refused(400, "host")),
        host("none", "", Refused(400, "host")),
        host("none, but one that nearly is", "Hosts: a\r\nX-Forwarded-Host: a\r\n", Refused(400, "host")),
        host("empty", "Host:\r\n", Refused(400, "host")),
        host("blank", "Host: \t \r\n", Refused(400, "host")),
        host("two", "Host: a\r\nHost: b\r\n", Refused(400, "host")),
        host("two alike", "Host: a\r\nhost: a\r\n", Refused(400, "host")),
        host("two, one empty", "Host: a\r\nHost:\r\n", Refused(400, "host")),
        host("a list", "Host: a, b\r\n", Refused(400, "host")),
        host("a space within", "Host: a b\r\n", Refused(400, "host")),
        host("user information", "Host: u@a\r\n", Refused(400, "host")),
        host("user information with a password", "Host: u:p@a\r\n", Refused(400, "host")),
        host("a path", "Host: a/b\r\n", Refused(400, "host")),
        host("a query", "Host: a?b\r\n", Refused(400, "host")),
        host("a scheme", "Host: http://a\r\n", Refused(400, "host")),
        host("an escape", "Host: %61\r\n", Refused(400, "host")),
        host("bytes above ASCII", "Host: b\u{fc}cher.example\r\n", Refused(400, "host")),
        host("a port alone", "Host: :80\r\n", Refused(400, "host")),
        host("a port that is none", "Host: a:http\r\n", Refused(400, "host")),
        host("a port below zero", "Host: a:-1\r\n", Refused(400, "host")),
        host("a port of six digits", "Host: a:123456\r\n", Refused(400, "host")),
        host("two ports", "Host: a:1:2\r\n", Refused(400, "host")),
        host("IPv6 without brackets", "Host: ::1\r\n", Refused(400, "host")),
        host("IPv6 half closed", "Host: [::1\r\n", Refused(400, "host")),
        host("IPv6 with a zone", "Host: [fe80::1%25eth0]\r\n", Refused(400, "host")),
        host("IPv6 and a name", "Host: [::1]a\r\n", Refused(400, "host")),
    ]);
}

/// The authority of an absolute-form target names the host (RFC 9112 §3.2.2); one valid `Host` has to come all the
/// same.
#[test]
fn a_target_has_one_of_two_forms() {
    let long = |len: usize| format!("/{}", "a".repeat(len - 1));
    check_cases(vec![
        target("origin form", "/live", Kept(302)),
        target("with a query", "/live?a=b?c=d", Kept(302)),
        target("absolute form", "http://b.example/live", Kept(302)),
        target("absolute form with a port", "http://b.example:8080/live?x", Kept(302)),
        target("absolute form in capitals", "HTTP://B.EXAMPLE/live", Kept(302)),
        target("absolute form of https", "https://b.example/live", Kept(302)),
        target("absolute form with no path", "http://b.example", Kept(200)),
        target("absolute form with a query and no path", "http://b.example?a", Kept(200)),
        target("absolute form with user information", "http://u@b.example/live", Refused(400, "host")),
        case("absolute form and no host", "GET http://b.example/live HTTP/1.1\r\n\r\n", Refused(400, "host")),
        // Forms of CONNECT and OPTIONS (RFC 9112 §3.2.3 and §3.2.4).
        target("authority form", "b.example:443", Refused(400, "form")),
        target("asterisk form", "*", Refused(400, "form")),
        target("no slash", "live", Refused(400, "form")),
        line("OPTIONS of all", "OPTIONS * HTTP/1.1", Refused(405, "method")),
        line("CONNECT", "CONNECT b.example:443 HTTP/1.1", Refused(405, "method")),
        // Two slashes are an empty segment, and `b.example` the next: no authority (RFC 9110 §4.2 has none in origin
        // form).
        target("a path that looks like an authority", "//b.example/live", Kept(404)),
        target("4 096 bytes", &long(4096), Kept(404)),
        target("4 097 bytes", &long(4097), Refused(414, "uri")),
        target("4 097 bytes with the query", &format!("/live?{}", "a".repeat(4091)), Refused(414, "uri")),
        // RFC 9112 §3.2: a fragment is no part of a target. hyper drops it, as browsers do before they send.
        target("a fragment", "/live#top", Kept(302)),
    ]);
}

/// RFC 3986 §2.4: a target is decoded once and never twice. A code is one segment without dots, and paths are not
/// normalized, so dot segments reach nothing. What an autolinker or a chat glues to a code is left out; a second run of
/// a code's characters makes another path.
#[test]
fn escapes_are_decoded_once_and_dot_segments_lead_nowhere() {
    check_cases(vec![
        target("an escaped letter", "/%6Cive", Kept(302)),
        target("all escaped", "/%6c%69%76%65", Kept(302)),
        target("escaped twice", "/%256Cive", Kept(404)),
        target("an escaped percent sign", "/live%25", Kept(302)),
        target("half an escape", "/live%6", Kept(404)),
        target("no escape", "/live%zz", Kept(404)),
        target("an escaped slash", "/%2Flive", Kept(302)),
        target("an escaped NUL", "/live%00", Kept(404)),
        target("an escaped line", "/live%0D%0AX:%20y", Kept(404)),
        target("an escaped question mark", "/live%3Fa=b", Kept(302)),
        target("an overlong slash", "/%C0%AFlive", Kept(404)),
        target("a dot segment", "/./live", Kept(404)),
        target("a step up", "/a/../live", Kept(404)),
        target("a step above the root", "/../live", Kept(404)),
        target("escaped dots", "/%2e%2e/live", Kept(404)),
        target("a step out of a fixed path", "/.well-known/../live", Kept(404)),
        target("a slash behind", "/live/", Kept(302)),
        target("a second segment", "/live/x", Kept(404)),
        target("a path parameter", "/live;x=1", Kept(302)),
        target("a plus is a plus", "/li+ve", Kept(404)),
        target("an empty query", "/live?", Kept(302)),
        target("an escaped line in the query", "/live?a=%0d%0aX:%20y", Kept(302)),
        target("half an escape in the query", "/live?a=%", Kept(302)),
    ]);
}

/// RFC 9110 §9.1: methods are case-sensitive. Unknown methods get 405 with `Allow` too.
#[test]
fn only_get_and_head_are_answered() {
    check_cases(vec![
        line("HEAD", "HEAD /live HTTP/1.1", Kept(302)),
        line("lower case", "get /live HTTP/1.1", Refused(405, "method")),
        line("mixed case", "Get /live HTTP/1.1", Refused(405, "method")),
        line("DELETE", "DELETE /live HTTP/1.1", Refused(405, "method")),
        line("OPTIONS", "OPTIONS /live HTTP/1.1", Refused(405, "method")),
        line("TRACE", "TRACE /live HTTP/1.1", Refused(405, "method")),
        line("a method of its own", "BREW /live HTTP/1.1", Refused(405, "method")),
        line("a method of a kilobyte", &format!("{} /live HTTP/1.1", "A".repeat(1024)), Refused(405, "method")),
        line("a method of 33 KiB", &format!("{} /live HTTP/1.1", "A".repeat(33 << 10)), TooLarge),
        line("none", " /live HTTP/1.1", Malformed),
        line("a method with a slash", "GE/T /live HTTP/1.1", Malformed),
        line("a method with a NUL", "GE\0T /live HTTP/1.1", Malformed),
    ]);
}

/// RFC 9112 §2.2, §3 and §5: a head that is not in the grammar gets 400 and the end, because the end of the request is
/// unknown.
#[test]
fn a_head_that_is_not_in_the_grammar_ends_the_connection() {
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[0x5a; 64], b"\r\n\r\n"].concat();
    let many = |count: usize| (1..count).map(|n| format!("X-{n}: y")).collect::<Vec<_>>().join("\r\n");
    check_cases(vec![
        lines("no colon", "nonsense", Malformed),
        lines("a space before the colon (§5.1)", "X : y", Malformed),
        lines("a tab before the colon", "X\t: y", Malformed),
        lines("an empty name", ": y", Malformed),
        lines("a folded value (§5.2)", "X: y\r\n z", Malformed),
        lines("a folded value by tab", "X: y\r\n\tz", Malformed),
        case("a space before the first header (§2.2)", "GET /live HTTP/1.1\r\n Host: a\r\n\r\n", Malformed),
        lines("NUL in a value (§5)", "X: a\0b", Malformed),
        lines("NUL in a name", "X\0: y", Malformed),
        lines("a control byte in a value", "X: a\x01b", Malformed),
        lines("DEL in a value", "X: a\x7fb", Malformed),
        lines("a control byte in a name", "X\x0b: y", Malformed),
        lines("a byte above ASCII in a name", "X\u{fc}: y", Malformed),
        lines("a byte above ASCII in a value (RFC 9110 §5.5)", "X: \u{fc}", Kept(302)),
        lines("a tab in a value", "X: a\tb", Kept(302)),
        lines("an empty value", "X:", Kept(302)),
        lines("a bare CR in a value (§2.2)", "X: a\rb", Malformed),
        lines("a bare CR as an end", "X: a\rY: b", Malformed),
        line("a bare CR in the target", "GET /li\rve HTTP/1.1", Malformed),
        line("NUL in the target", "GET /li\0ve HTTP/1.1", Malformed),
        line("a control byte in the target", "GET /li\x01ve HTTP/1.1", Malformed),
        line("DEL in the target", "GET /li\x7fve HTTP/1.1", Malformed),
        line("a space in the target", "GET /live x HTTP/1.1", Malformed),
        line("a tab for a space", "GET\t/live\tHTTP/1.1", Malformed),
        line("no target", "GET HTTP/1.1", Malformed),
        line("two spaces", "GET  /live HTTP/1.1", Malformed),
        line("a space behind", "GET /live HTTP/1.1 ", Malformed),
        line("HTTP/0.9", "GET /live", Malformed),
        line("HTTP/3", "GET /live HTTP/3.0", Malformed),
        line("HTTP/1.2", "GET /live HTTP/1.2", Malformed),
        line("a version of two digits", "GET /live HTTP/1.10", Malformed),
        line("a version in lower case", "GET /live http/1.1", Malformed),
        line("another protocol", "EHLO mail.example.com", Malformed),
        case("a TLS ClientHello", hello, Malformed),
        // §2.2: at least one empty line before a request is ignored.
        case("an empty line before", "\r\nGET /live HTTP/1.1\r\nHost: a\r\n\r\n", Kept(302)),
        // §2.2: a recipient MAY take a bare LF for the end of a line. It must not see another request in it.
        case("bare LF", "GET /live HTTP/1.1\nHost: a\n\n", Kept(302)),
        lines("bare LF and CRLF", "X: y\nY: z", Kept(302)),
        lines("100 headers", &many(100), Kept(302)),
        lines("101 headers", &many(101), TooLarge),
        lines("33 KiB", &format!("X: {}", "x".repeat(33 << 10)), TooLarge),
        case("a line without an end", vec![b'A'; 33 << 10], TooLarge),
    ]);
}

/// RFC 9112 §6.3 and §11.2: a length that two recipients could read differently ends the connection. Bodies are never
/// read here, so every announced body ends the connection too: the request is answered, and the body's bytes are no
/// request.
#[test]
fn an_ambiguous_length_ends_the_connection() {
    let smuggled = request("GET", "/smuggled", &[]);
    let length = format!("Content-Length: {}", smuggled.len());
    let with = |head: &str| format!("{head}\r\n\r\n{smuggled}");
    let mut cases = vec![
        lines("a length of nothing", "Content-Length: 0", Kept(302)),
        lines("a length of nothing, long", "Content-Length: 0000", Kept(302)),
        lines("a length, and a request for a body", &with(&length), Ends(302)),
        lines("a length twice alike", &with(&format!("{length}\r\n{length}")), Ends(302)),
        lines("a length without its body", "Content-Length: 9999999999", Ends(302)),
        lines("chunked, and a request for a body", &with("Transfer-Encoding: chunked"), Ends(302)),
        lines("chunked in capitals", &with("TRANSFER-ENCODING: CHUNKED"), Ends(302)),
        case("POST", with("POST /live HTTP/1.1\r\nHost: a\r\nContent-Length: 50"), Ends(405)),
        case("POST chunked", with("POST /live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"), Ends(405)),
        // §6.1: the server MAY process by Transfer-Encoding alone but MUST close afterwards.
        lines("both", &with(&format!("{length}\r\nTransfer-Encoding: chunked")), Ends(302)),
        lines("both, turned", &with(&format!("Transfer-Encoding: chunked\r\n{length}")), Ends(302)),
        lines("both, with a length of nothing", &with("Content-Length: 0\r\nTransfer-Encoding: chunked"), Ends(302)),
        case(
            "chunked in HTTP/1.0 (§6.1: faulty framing)",
            with("GET /live HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked"),
            Malformed,
        ),
        // §5.1: some recipients take a name with a space for another header, so it is refused.
        lines("a space before the colon", &with("Transfer-Encoding : chunked"), Malformed),
        lines("a length with a space before the colon", &with("Content-Length : 5"), Malformed),
        lines("a folded coding", &with("Transfer-Encoding:\r\n chunked"), Malformed),
        lines("chunked by bare LF", &with("X: y\nTransfer-Encoding: chunked"), Ends(302)),
        lines("chunked behind a bare CR", &with("X: y\rTransfer-Encoding: chunked"), Malformed),
    ];
    for value in ["-1", "+5", "0x5", "5 5", "5, 6", "5;", "", "5a", "1e1", "\"5\"", "18446744073709551616", "5\u{b}"] {
        cases.push(lines("a length that is none", &with(&format!("Content-Length: {value}")), Malformed));
    }
    cases.push(lines("two lengths", &with("Content-Length: 5\r\nContent-Length: 6"), Malformed));
    cases.push(lines("two lengths, one of nothing", &with("Content-Length: 0\r\nContent-Length: 6"), Malformed));
    for coding in [
        "identity",
        "gzip",
        "xchunked",
        "chunkedx",
        "chunked, gzip",
        "chunked, identity",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "",
        "chunk\u{e9}d",
        "\u{b}chunked",
        "chunked\0",
    ] {
        cases.push(lines(
            "a coding that does not end in chunked",
            &with(&format!("Transfer-Encoding: {coding}")),
            Malformed,
        ));
    }
    check_cases(cases);
}

/// RFC 9112 §7.1. The answer comes after the head. The body is not read, so a broken one has the same outcome as a
/// valid one.
#[test]
fn a_chunked_body_of_a_get_is_never_read_as_a_request() {
    let smuggled = request("GET", "/smuggled", &[]);
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    check_cases(vec![
        chunked("whole", &chunk, Ends(302)),
        chunked("empty", "0\r\n\r\n", Ends(302)),
        chunked("with an extension", &format!("5;a=b\r\nhello\r\n0\r\n\r\n{smuggled}"), Ends(302)),
        chunked("with an extension of bare LF", &format!("5;a\nhello\r\n0\r\n\r\n{smuggled}"), Ends(302)),
        chunked("with trailers", &format!("0\r\nContent-Length: 5\r\n\r\n{smuggled}"), Ends(302)),
        chunked("of no size", &format!("\r\n{smuggled}"), Ends(302)),
        chunked("of a negative size", &format!("-1\r\n{smuggled}"), Ends(302)),
        chunked("of a size beyond all", &format!("fffffffffffffffff\r\n{smuggled}"), Ends(302)),
        chunked("of size 0x0", &format!("0x0\r\n\r\n{smuggled}"), Ends(302)),
        chunked("longer than said", &format!("1\r\nhello\r\n0\r\n\r\n{smuggled}"), Ends(302)),
    ]);
}

/// RFC 9110 §10.1.1: a server that answers without reading the body sends no 100. RFC 9110 §7.8: an upgrade may be
/// ignored.
#[test]
fn expect_gets_no_100_and_upgrade_is_ignored() {
    check_cases(vec![
        lines("Expect without a body", "Expect: 100-continue", Kept(302)),
        lines("Expect with a body", "Expect: 100-continue\r\nContent-Length: 5", Ends(302)),
        lines("Expect of something else", "Expect: a-pony", Kept(302)),
        lines(
            "Upgrade to HTTP/2",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk",
            Kept(302),
        ),
        lines("Upgrade to WebSocket", "Connection: Upgrade\r\nUpgrade: websocket", Kept(302)),
        lines("close", "Connection: close", Ends(302)),
        lines("close among others", "Connection: x, CLOSE", Ends(302)),
        lines("close in a second line", "Connection: keep-alive\r\nConnection: close", Ends(302)),
        // A header that Connection names is for this hop alone. Host stays.
        lines("Connection names the host", "Connection: host", Kept(302)),
        case("HTTP/1.0", "GET /live HTTP/1.0\r\nHost: a\r\n\r\n", Ends(302)),
        case("HTTP/1.0 without a host", "GET /live HTTP/1.0\r\n\r\n", Ends(400)),
        case("HTTP/1.0 kept", "GET /live HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", Kept(302)),
        lines("a forged host of a proxy", "X-Forwarded-Host: b.example\r\nX-Host: b.example", Kept(302)),
        lines("another path by header", "X-Original-URL: /smuggled\r\nX-Rewrite-URL: /smuggled", Kept(302)),
    ]);
}

/// RFC 9112 §9.3.2, and §9.6 for a client that has closed its side.
#[test]
fn pipelined_requests_are_answered_after_the_client_has_closed_its_side() {
    let site = Site::with_codes(&["live"]);
    let stream = std::net::TcpStream::connect(site.listen()).unwrap();
    let mut wire = Connection::over(stream.try_clone().unwrap());
    wire.write(&(request("GET", "/live", &[]) + &request("HEAD", "/live", &[]) + &request("GET", "/nobody", &[])));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for (head, status) in [(false, 302), (true, 302), (false, 404)] {
        assert_eq!(wire.read(head).unwrap().status, status);
    }
    assert!(wire.is_closed());
    assert_eq!(site.wait_for_events("clicks", 2).len(), 2);

    // On a connection that the server waits on, it finds the requests and the end of the stream in one event.
    let stream = std::net::TcpStream::connect(site.listen()).unwrap();
    let mut hurried = Connection::over(stream.try_clone().unwrap());
    assert_eq!(hurried.send(&request("GET", "/live", &[])).status, 302);
    site.signal("-STOP");
    hurried.write(&(request("GET", "/live", &[]) + &request("GET", "/live", &[])));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    site.signal("-CONT");
    for _ in 0..2 {
        assert_eq!(hurried.read(false).expect("an answer behind the end of the stream").status, 302);
    }
    assert!(hurried.is_closed());
    assert_eq!(site.wait_for_events("clicks", 5).len(), 5);

    let stream = std::net::TcpStream::connect(site.listen()).unwrap();
    let mut half = Connection::over(stream.try_clone().unwrap());
    half.write("GET /live HTTP/1.1\r\nHost: a\r\n");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(half.read(false).is_none(), "half a head is no request");
    assert_eq!(site.get("/live", &[]).status, 302);
    assert_eq!(site.wait_for_events("clicks", 6).len(), 6);
}
