//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): a request that is sent again is carried out once.
//! The catalog keeps what the request made; here stands who is being carried out.

use std::rc::Rc;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::{
    api::{
        context::RequestContext,
        http::problem::{Problem, ProblemKind},
        state::ApiState,
    },
    catalog::change::IdempotencyKey,
};

const HEADER: &str = "idempotency-key";
/// The longest value of the header, in bytes.
const MAX_KEY: usize = 255;

/// A request that no other one with its key runs beside; its drop lets others run.
pub(super) struct KeyInFlight {
    state: Rc<ApiState>,
    key: (String, String),
}

/// The key of a request: a quoted string of structured fields (RFC 8941), or the text without quotes.
///
/// # Errors
/// It is no such text.
pub(super) fn read_idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let refused = || {
        let message = format!(
            "allowed is a quoted text of visible ASCII characters such as a UUID, {MAX_KEY} characters at most"
        );
        Problem::of_parameter("Idempotency-Key", message)
    };
    let text = value.to_str().map_err(|_| refused())?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unescape_quoted_text(rest).ok_or_else(refused)?,
        None => text.to_owned(),
    };
    let first = if text.starts_with('"') { b' ' } else { b'!' };
    let is_visible = key.bytes().all(|byte| (first..=b'~').contains(&byte));
    if key.is_empty() || text.len() > MAX_KEY || !is_visible || headers.get_all(HEADER).iter().count() > 1 {
        return Err(refused());
    }
    Ok(Some(key))
}

/// What stands before the closing quote; `None` if the text is no quoted one.
fn unescape_quoted_text(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut signs = rest.chars();
    loop {
        match signs.next()? {
            '"' => return signs.as_str().is_empty().then_some(key),
            '\\' => key.push(signs.next().filter(|sign| matches!(sign, '"' | '\\'))?),
            sign => key.push(sign),
        }
    }
}

/// The key with the fingerprint of its request.
pub(super) fn to_catalog_key(context: &RequestContext, key: &str, body: &[u8]) -> IdempotencyKey {
    let mut hash = Sha256::new();
    hash.update(context.query.as_deref().unwrap_or_default());
    hash.update(b"\n");
    hash.update(body);
    IdempotencyKey { api_key: context.key.id.clone(), key: key.to_owned(), fingerprint: hash.finalize().into() }
}

impl KeyInFlight {
    /// # Errors
    /// Another request with the key is being carried out.
    pub(super) fn register(context: &RequestContext, key: &str) -> Result<KeyInFlight, Problem> {
        let key = (context.key.id.clone(), key.to_owned());
        if !context.state.keys_in_flight.borrow_mut().insert(key.clone()) {
            let detail = "the first request with this Idempotency-Key is not answered yet; send it again later";
            return Err(Problem::new(ProblemKind::RequestInFlight, detail));
        }
        Ok(KeyInFlight { state: context.state.clone(), key })
    }
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        self.state.keys_in_flight.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_str(value).unwrap());
        read_idempotency_key(&headers).ok().flatten()
    }

    #[test]
    fn a_key_is_quoted_or_bare() {
        assert_eq!(read("\"8e03978e\"").as_deref(), Some("8e03978e"));
        assert_eq!(read("8e03978e").as_deref(), Some("8e03978e"));
        assert_eq!(read(r#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
        for refused in ["\"open", "\"a\"b", "\"\"", r#""a\b""#, "a b", &"x".repeat(256)] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }
}
