//! Media types: what a client accepts, and what its body is.

use http::{HeaderMap, header};

use super::problem::{Problem, ProblemKind};

/// A JSON text.
pub(in crate::api) const JSON: &str = "application/json";
/// A JSON text a line.
pub(in crate::api) const NDJSON: &str = "application/x-ndjson";
/// A JSON merge patch (RFC 7396).
pub(in crate::api) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Checks that the client accepts an answer of this type.
///
/// # Errors
/// `Accept` names other types alone.
pub(in crate::api) fn check_client_accepts(headers: &HeaderMap, offered: &str) -> Result<(), Problem> {
    let values: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let ranges: Vec<&str> =
        values.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty()).collect();
    // The most specific range that fits decides.
    let best = ranges.iter().filter_map(|range| Some((specificity_if_fits(range, offered)?, *range))).max();
    let is_accepted = match best {
        Some((_, range)) => !has_quality_zero(range),
        None => ranges.is_empty(),
    };
    if is_accepted {
        return Ok(());
    }
    let detail = format!("the answer is {offered}; name that type in Accept, or leave Accept out");
    Err(Problem::new(ProblemKind::NotAcceptable, detail))
}

fn specificity_if_fits(range: &str, offered: &str) -> Option<u8> {
    let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (main_type, _) = offered.split_once('/')?;
    if range == offered {
        Some(2)
    } else if range.strip_suffix("/*") == Some(main_type) {
        Some(1)
    } else {
        (range == "*/*").then_some(0)
    }
}

fn has_quality_zero(range: &str) -> bool {
    let quality = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
    quality.and_then(|quality| quality.parse::<f32>().ok()) == Some(0.0)
}

/// Checks that the body has one of these types.
///
/// # Errors
/// `Content-Type` is absent or names another type.
pub(in crate::api) fn check_body_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let found = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if allowed.contains(&&*found) {
        return Ok(());
    }
    let found = if found.is_empty() { "absent" } else { &*found };
    let detail = format!("Content-Type is {found}; allowed here: {}", allowed.join(", "));
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepts(accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        check_client_accepts(&headers, JSON).is_ok()
    }

    #[test]
    fn the_most_specific_range_decides() {
        for accept in ["*/*", "application/*", "text/html, application/json;q=0.1", "", "text/html,*/*;q=0.5"] {
            assert!(accepts(accept), "{accept}");
        }
        for accept in ["text/html", "application/json;q=0", "*/*;q=0", "*/*, application/json; q=0.0"] {
            assert!(!accepts(accept), "{accept}");
        }
        assert!(check_client_accepts(&HeaderMap::new(), JSON).is_ok());
    }
}
