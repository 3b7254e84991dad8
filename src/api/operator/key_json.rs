//! A key of the API as JSON.

use serde_json::{Value, json};

use crate::{api::links::refusal::format_time, catalog::api_keys::ApiKey};

/// A key as JSON, without its secret.
pub fn key_to_json(key: &ApiKey) -> Value {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": scopes,
        "domains": key.bounds.domains,
        "partners": key.bounds.partners,
        "creators": key.bounds.creators,
        "created_at": format_time(key.created_ms),
        "revoked_at": key.revoked_ms.map(format_time),
    })
}
