//! The answer of a server, read to its end: head, and a body of a known length or in chunks (RFC 9112).

use std::time::Duration;

use anyhow::{Context, bail};

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct ApiAnswer {
    pub(in crate::cli) status: u16,
    /// The text behind the status, such as `Not Found`.
    pub(in crate::cli) status_text: String,
    /// The version that `ETag` names.
    pub(in crate::cli) version: Option<u64>,
    /// When to ask again.
    pub(in crate::cli) retry_after: Option<Duration>,
    pub(in crate::cli) body: String,
}

impl ApiAnswer {
    /// Parses all bytes that came before the connection was closed.
    ///
    /// # Errors
    /// They are no HTTP, or the body was cut off.
    pub(in crate::cli) fn parse(bytes: &[u8]) -> anyhow::Result<ApiAnswer> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("the answer is no HTTP")?;
        let head = str::from_utf8(&bytes[..end]).context("the answer is no HTTP")?;
        let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut words = first.splitn(3, ' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let status = words.next().and_then(|word| word.parse().ok()).filter(|_| is_http);
        let status = status.context("the answer is no HTTP")?;
        let field = |wanted: &str| {
            let mut fields = fields.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
        };
        let bytes = &bytes[end + 4..];
        let body = if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            decode_chunks(bytes).context("the answer was cut off")?
        } else {
            let length = field("content-length").and_then(|value| value.parse::<usize>().ok());
            if length.is_some_and(|length| length > bytes.len()) {
                bail!("the answer was cut off");
            }
            bytes[..length.unwrap_or(bytes.len())].to_owned()
        };
        Ok(ApiAnswer {
            status,
            status_text: words.next().unwrap_or_default().to_owned(),
            version: field("etag").and_then(|value| value.trim_matches('"').parse().ok()),
            retry_after: field("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs),
            body: String::from_utf8(body).context("the answer is no text in UTF-8")?,
        })
    }
}

/// The body of chunks; `None` if the last one is missing.
fn decode_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let size = str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let length = usize::from_str_radix(size, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        let data_end = length.checked_add(end + 2)?;
        body.extend_from_slice(bytes.get(end + 2..data_end)?);
        bytes = bytes.get(data_end + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_body_has_a_length_or_chunks_and_one_that_was_cut_off_is_refused() {
        let parse = |text: &str| ApiAnswer::parse(text.as_bytes());
        let answer = parse("HTTP/1.1 200 OK\r\nETag: \"17\"\r\nContent-Length: 2\r\n\r\nab").unwrap();
        assert_eq!((answer.status, answer.version, &*answer.body), (200, Some(17), "ab"));
        let chunked = "HTTP/1.1 503 Busy\r\nretry-after: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n";
        let answer = parse(&format!("{chunked}0\r\n\r\n")).unwrap();
        assert_eq!((answer.retry_after, &*answer.body), (Some(Duration::from_secs(3)), "abc"));
        for cut in [chunked, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "HTTP/1.1 200 OK\r\n", "x"] {
            assert!(parse(cut).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            has_head in any::<bool>(),
        ) {
            let head: &[u8] = if has_head { b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"" };
            let _ = ApiAnswer::parse(&[head, &bytes].concat());
        }
    }
}
