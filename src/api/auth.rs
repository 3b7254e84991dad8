//! Who asks: the key of a request, and whether it has the scope that the request needs.

use http::{HeaderMap, header};

use super::{
    http::problem::{Problem, ProblemKind},
    readers::ReaderPool,
};
use crate::catalog::api_keys::{ApiKey, Scope, hash_api_key_secret, split_api_key_text};

/// The key that the request shows.
///
/// # Errors
/// It shows none, or one that is unknown or revoked.
pub(super) async fn authenticate(headers: &HeaderMap, readers: &ReaderPool) -> Result<ApiKey, Problem> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(value) = value else {
        return Err(unauthorized("send `Authorization: Bearer wpk_…`; `waypost api-keys new` makes a key", "Bearer"));
    };
    let refused = || {
        let challenge = "Bearer error=\"invalid_token\"";
        unauthorized("the API key is unknown or revoked; `waypost api-keys list` shows those that are valid", challenge)
    };
    let (scheme, text) = value.split_once(' ').ok_or_else(refused)?;
    let (id, secret) = split_api_key_text(text.trim()).ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused());
    }
    let wanted = id.to_owned();
    let found = readers.read(move |reader| reader.find_api_key(&wanted)).await?;
    // An unknown id takes as long as a wrong secret.
    let stored = found.as_ref().map_or([0; 32], |key| key.secret_sha256);
    let is_same = is_equal_in_constant_time(&hash_api_key_secret(secret), &stored);
    found.filter(|key| is_same && key.revoked_ms.is_none()).ok_or_else(refused)
}

fn unauthorized(detail: &str, challenge: &str) -> Problem {
    Problem::new(ProblemKind::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, challenge)
}

/// Looks at every byte, whichever differ.
fn is_equal_in_constant_time(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

/// Checks that the key has a scope.
///
/// # Errors
/// It has not.
pub(super) fn check_scope(key: &ApiKey, needed: Scope) -> Result<(), Problem> {
    if key.scopes.contains(&needed) {
        return Ok(());
    }
    let given: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let detail = format!("this needs the scope {}; the key {} has: {}", needed.as_str(), key.id, given.join(", "));
    Err(Problem::new(ProblemKind::ScopeMissing, detail))
}
