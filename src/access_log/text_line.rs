//! Lines of the common and the combined format, and what people add to them.
//!
//! ```text
//! [HOST[:PORT]] CLIENT IDENT USER [TIME] "METHOD TARGET HTTP/1.1" STATUS BYTES ["REFERER" "USER AGENT"] [MORE …]
//! ```
//!
//! Behind these, a URL is where the answer led to (`$sent_http_location`, `%{Location}o`), and a name with a dot is the
//! host (`$host`, `%v`).

use std::net::IpAddr;

use crate::access_log::entry::{LogEntry, is_absolute_url};

/// A field of a line.
#[derive(Debug, PartialEq, Eq)]
enum Field {
    /// Between two spaces.
    Bare(String),
    /// Between quotes; its escapes are resolved.
    Quoted(String),
    /// Between square brackets: the time.
    Bracketed,
}

/// The most fields of a line that are looked at.
const MAX_FIELDS: usize = 64;

/// Parses a line of text; `None` if it has another format.
pub(super) fn parse(line: &[u8]) -> Option<LogEntry> {
    let fields = split_into_fields(line)?;
    let time_at = fields.iter().position(|field| *field == Field::Bracketed)?;
    let mut entry = LogEntry::default();
    set_host_in_front(&mut entry, &fields[..time_at]);
    let mut behind = fields[time_at + 1..].iter();
    let Some(Field::Quoted(request)) = behind.next() else { return None };
    // What is no request line (the first bytes of TLS on a plain port, say) is no mistake of the log.
    if entry.set_request_line(request).is_none() {
        entry.method = String::new();
    }
    let Some(Field::Bare(status)) = behind.next() else { return None };
    entry.status = status.parse().ok();
    entry.status?;
    let Some(Field::Bare(_)) = behind.next() else { return Some(entry) };
    set_location_and_host_behind_referer_and_agent(&mut entry, behind.as_slice());
    Some(entry)
}

/// The host in front of the client's address, if there is one.
fn set_host_in_front(entry: &mut LogEntry, fields: &[Field]) {
    let [Field::Bare(first), Field::Bare(second), rest @ ..] = fields else { return };
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    if !is_address(first) && (is_address(second) || rest.len() >= 2) {
        entry.set_host(first);
    }
}

/// Passes over referer and user agent, which stand in this order and quoted; reads what follows.
fn set_location_and_host_behind_referer_and_agent(entry: &mut LogEntry, fields: &[Field]) {
    let mut rest = fields;
    match fields {
        [Field::Quoted(_), Field::Quoted(_), more @ ..] => rest = more,
        // One quoted URL behind a redirect is where it led to.
        [Field::Quoted(only)] if entry.status.is_some_and(|status| (300..400).contains(&status)) => {
            entry.set_location(only);
            return;
        }
        _ => {}
    }
    for field in rest {
        let (Field::Bare(text) | Field::Quoted(text)) = field else { continue };
        let value =
            text.split_once('=').filter(|(name, _)| is_plain_name(name)).map_or(text.as_str(), |(_, value)| value);
        let value = value.trim_matches('"');
        if entry.location.is_none() && is_absolute_url(value) {
            entry.set_location(value);
        } else if entry.host.is_none() && is_host_name_with_dot(value) {
            entry.set_host(value);
        }
    }
}

/// Whether a text is the name in `name=value`.
fn is_plain_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether a text is a name such as `go.example.com`, and neither a number nor an address.
fn is_host_name_with_dot(text: &str) -> bool {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let mut labels = text.split('.');
    let has_letters =
        labels.clone().next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_alphabetic()));
    text.contains('.') && has_letters && labels.all(|label| !label.is_empty() && label.bytes().all(is_label_byte))
}

/// The fields of a line, without their quotes. `None` if a quote is not closed.
fn split_into_fields(line: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() && fields.len() < MAX_FIELDS {
        let (field, behind) = match rest {
            [b'"', inner @ ..] => {
                let end = find_closing_quote(inner)?;
                (Field::Quoted(unescape(&inner[..end])), &inner[end + 1..])
            }
            [b'[', inner @ ..] if !fields.contains(&Field::Bracketed) => {
                let end = memchr::memchr(b']', inner)?;
                (Field::Bracketed, &inner[end + 1..])
            }
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                (Field::Bare(String::from_utf8_lossy(&rest[..end]).into_owned()), &rest[end..])
            }
        };
        fields.push(field);
        rest = behind.trim_ascii_start();
    }
    Some(fields)
}

fn find_closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Resolves `\"`, `\\`, `\n`, `\t`, `\r` and `\xHH`, as nginx and Apache escape.
fn unescape(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        match rest {
            [b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(*high) << 4 | digit(*low));
                rest = behind;
            }
            [escaped, behind @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    other => *other,
                });
                rest = behind;
            }
            [] => out.push(b'\\'),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
