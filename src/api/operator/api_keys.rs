//! `/v1/api-keys`: makes, lists and revokes the keys of the API.

use http::StatusCode;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::{key_json::key_to_json, suspensions::check_key_is_unbounded};
use crate::{
    api::{
        context::RequestContext,
        http::{
            media_types::{JSON, check_body_type, check_client_accepts},
            problem::{FieldError, Problem, ProblemKind},
            request_body::read_body,
            response::{ApiResponse, empty_response, json_response},
        },
        links::{record_body::read_object, refusal::problem_of_catalog_error},
    },
    catalog::api_keys::{ApiKeyRequest, KeyBounds, Revocation, Scope},
};

/// The longest name of a key, and the longest value of a bound, in characters.
const MAX_TEXT: usize = 128;
/// Values of a bound at most.
const MAX_BOUND_VALUES: usize = 100;
/// The most bytes of a body: three bounds of the longest values.
const MAX_BODY: usize = 256 << 10;

/// Makes a key. Only this answer has its text.
pub(in crate::api) async fn create_key(context: RequestContext, body: Incoming) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    // A key with bounds could make one without them.
    check_key_is_unbounded(&context)?;
    let request = read_key_request(&read_object(&read_body(body, MAX_BODY).await?)?)?;
    let created = context.state.catalog.create_api_key(request, context.actor()).await;
    let issued = created.map_err(|error| problem_of_catalog_error(&error))?;
    let mut object = key_to_json(&issued.key);
    object["key"] = issued.text.into();
    Ok(json_response(StatusCode::CREATED, object.to_string()))
}

/// Answers with all keys, without their secrets.
pub(in crate::api) async fn list_keys(context: RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    check_key_is_unbounded(&context)?;
    let keys = context.state.readers.read(|reader| reader.list_api_keys()).await?;
    let items: Vec<Value> = keys.iter().map(key_to_json).collect();
    Ok(json_response(StatusCode::OK, json!({"items": items, "next": null}).to_string()))
}

/// Revokes a key.
pub(in crate::api) async fn revoke_key(context: RequestContext, id: String) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_key_is_unbounded(&context)?;
    let revoked = context.state.catalog.revoke_api_key(id, context.actor()).await;
    match revoked.map_err(|error| problem_of_catalog_error(&error))? {
        Revocation::Revoked => Ok(empty_response(StatusCode::NO_CONTENT)),
        Revocation::UnknownId => Err(Problem::not_found()),
    }
}

fn read_key_request(object: &Map<String, Value>) -> Result<ApiKeyRequest, Problem> {
    const FIELDS: [&str; 5] = ["name", "scopes", "domains", "partners", "creators"];
    let unknown = object.keys().filter(|field| !FIELDS.contains(&field.as_str()));
    let mut errors: Vec<FieldError> = unknown
        .map(|field| FieldError::in_body(field, format!("is unknown; allowed are {}", FIELDS.join(", "))))
        .collect();
    let name = object.get("name").and_then(Value::as_str).filter(|name| is_plain_text(name));
    if name.is_none() {
        let message = format!("is needed: a text of 1 to {MAX_TEXT} characters without control characters");
        errors.push(FieldError::in_body("name", message));
    }
    let scopes = read_texts(object, "scopes", &mut errors);
    let scopes: Option<Vec<Scope>> =
        scopes.map(|words| words.iter().map(|word| Scope::from_word(word)).collect()).unwrap_or(None);
    if scopes.is_none() && !errors.iter().any(|error| error.field == "scopes") {
        errors.push(FieldError::in_body("scopes", "is needed: a list of read, write, suspend, admin"));
    }
    let domains = read_texts(object, "domains", &mut errors);
    let bounds = KeyBounds {
        domains: domains.map(|domains| domains.iter().map(|domain| domain.to_ascii_lowercase()).collect()),
        partners: read_texts(object, "partners", &mut errors),
        creators: read_texts(object, "creators", &mut errors),
    };
    match (name, scopes) {
        (Some(name), Some(scopes)) if errors.is_empty() => Ok(ApiKeyRequest { name: name.to_owned(), scopes, bounds }),
        _ => Err(Problem::of_errors(ProblemKind::Invalid, errors)),
    }
}

/// A list of different texts; `None` if it is absent or null.
fn read_texts(object: &Map<String, Value>, field: &str, errors: &mut Vec<FieldError>) -> Option<Vec<String>> {
    let value = object.get(field).filter(|value| !value.is_null())?;
    let texts: Option<Vec<String>> =
        value.as_array().and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
    let is_plain = |texts: &Vec<String>| {
        (1..=MAX_BOUND_VALUES).contains(&texts.len())
            && texts.iter().enumerate().all(|(at, text)| is_plain_text(text) && !texts[..at].contains(text))
    };
    let texts = texts.filter(is_plain);
    if texts.is_none() {
        let message = format!("is no list of 1 to {MAX_BOUND_VALUES} different texts of 1 to {MAX_TEXT} characters");
        errors.push(FieldError::in_body(field, message));
    }
    texts
}

fn is_plain_text(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control)
}
