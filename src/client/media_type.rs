//! Reading `Accept` (RFC 9110 §12.5.1).

/// Whether a client accepts exactly this media type (in lower case): the type is named in one of the `Accept` lines,
/// with a weight above 0. A range such as `*/*` does not name it.
pub fn is_media_type_accepted<'a>(accept_lines: impl IntoIterator<Item = &'a [u8]>, media_type: &[u8]) -> bool {
    accept_lines.into_iter().any(|line| {
        split_outside_quotes(line, b',').any(|element| {
            let mut parts = split_outside_quotes(element, b';');
            parts.next().is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(media_type))
                && !parts.any(is_weight_of_zero)
        })
    })
}

/// Whether a parameter is `q=0`, with up to any number of zeros behind its point.
fn is_weight_of_zero(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', rest @ ..] = parameter.trim_ascii() else { return false };
    let Some(weight) = rest.trim_ascii_start().strip_prefix(b"=") else { return false };
    let weight = weight.trim_ascii_start();
    weight.starts_with(b"0") && weight.iter().all(|byte| matches!(byte, b'0' | b'.'))
}

/// Splits a text at a separator that stands in no quoted string.
fn split_outside_quotes(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let end = all.iter().position(|byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                byte => return !is_quoted && *byte == separator,
            }
            false
        });
        rest = end.map(|end| &all[end + 1..]);
        Some(end.map_or(all, |end| &all[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &[u8] = b"application/vnd.waypost.click+json";

    #[test]
    fn a_media_type_is_accepted_if_it_is_named_with_a_weight_above_zero() {
        for accept in [
            "application/vnd.waypost.click+json",
            "Application/VND.Waypost.Click+JSON",
            "text/html, application/vnd.waypost.click+json",
            "application/vnd.waypost.click+json;q=0.1",
            "application/vnd.waypost.click+json ; Q=1.000 ,*/*;q=0",
            "application/vnd.waypost.click+json;v=\"a,b;q=0\"",
            "text/html;x=\"\\\"\", application/vnd.waypost.click+json;charset=utf-8",
        ] {
            assert!(is_media_type_accepted([accept.as_bytes()], TYPE), "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "application/vnd.waypost.click+json;q=0",
            "application/vnd.waypost.click+json; q=0.000",
            "application/vnd.waypost.click+json;Q = 0.0",
            "application/vnd.waypost.click+jsonx",
            "xapplication/vnd.waypost.click+json",
            "text/html;x=\"a, application/vnd.waypost.click+json\"",
        ] {
            assert!(!is_media_type_accepted([accept.as_bytes()], TYPE), "{accept}");
        }
        assert!(is_media_type_accepted([&b"text/html"[..], TYPE], TYPE), "of several lines each counts");
    }
}
