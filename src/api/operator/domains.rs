//! `/v1/domains`: the settings of domains, while the server answers. The configuration is the source for the hosts that
//! it names, because a start must not depend on what somebody wrote by the API; their settings are read here, and not
//! changed.

use http::StatusCode;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::suspensions::check_key_is_unbounded;
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
    catalog::{
        domain_change::{DomainChange, DomainError, DomainRefusal, DomainReport},
        domain_rows::{list_served_domains, row_to_json},
    },
    invalid_value::InvalidValue,
    links::domains::{Settings, parse_host_or_asterisk},
};

/// The most bytes of a body.
const MAX_BODY: usize = 64 << 10;

/// Answers with every domain that the key reaches, by host.
pub(in crate::api) async fn list_domains(context: RequestContext) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    let items: Vec<Value> = reached_domains(&context).await?.into_iter().map(|(_, domain)| domain).collect();
    Ok(json_response(StatusCode::OK, json!({"items": items, "next": null}).to_string()))
}

/// Answers with one domain.
pub(in crate::api) async fn read_domain(context: RequestContext, host: String) -> Result<ApiResponse, Problem> {
    context.query_parameters(&[])?;
    check_client_accepts(&context.headers, JSON)?;
    let host = parse_host_or_asterisk(&host).map_err(|_| Problem::not_found())?;
    let found = reached_domains(&context).await?.into_iter().find(|(name, _)| *name == host);
    let (_, domain) = found.ok_or_else(Problem::not_found)?;
    Ok(json_response(StatusCode::OK, domain.to_string()))
}

/// Gives a domain its settings; those that the body leaves out have their defaults.
pub(in crate::api) async fn put_domain(
    context: RequestContext,
    host: String,
    body: Incoming,
) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    check_client_accepts(&context.headers, JSON)?;
    check_body_type(&context.headers, &[JSON])?;
    check_key_is_unbounded(&context)?;
    let act = context.new_act(&query)?;
    let host = parse_host_or_asterisk(&host).map_err(|message| {
        Problem::of_errors(ProblemKind::Malformed, vec![FieldError::outside_body("host", message)])
    })?;
    let settings = read_settings(&read_object(&read_body(body, MAX_BODY).await?)?)?;
    check_configuration_does_not_name(&context, &host)?;
    let change = DomainChange { act, host: host.clone(), settings: Some(settings) };
    let report = context.state.catalog.change_domain(change).await;
    match report.map_err(|error| problem_of_domain_error(error, &host))? {
        DomainReport::Created(row) => Ok(json_response(StatusCode::CREATED, row_to_json(&row).to_string())),
        DomainReport::Replaced(row) => Ok(json_response(StatusCode::OK, row_to_json(&row).to_string())),
        DomainReport::Deleted | DomainReport::Unknown => {
            Err(Problem::new(ProblemKind::StoreFailing, "the catalog answered for another change"))
        }
    }
}

/// Makes a host no domain any more: `*` serves it.
pub(in crate::api) async fn delete_domain(context: RequestContext, host: String) -> Result<ApiResponse, Problem> {
    let query = context.query_parameters(&["reason"])?;
    check_key_is_unbounded(&context)?;
    let act = context.new_act(&query)?;
    let host = parse_host_or_asterisk(&host).map_err(|_| Problem::not_found())?;
    check_configuration_does_not_name(&context, &host)?;
    let change = DomainChange { act, host: host.clone(), settings: None };
    let report = context.state.catalog.change_domain(change).await;
    match report.map_err(|error| problem_of_domain_error(error, &host))? {
        DomainReport::Deleted => Ok(empty_response(StatusCode::NO_CONTENT)),
        _ => Err(Problem::not_found()),
    }
}

/// Every domain that the key reaches, with its host.
async fn reached_domains(context: &RequestContext) -> Result<Vec<(String, Value)>, Problem> {
    let rows = context.state.readers.read(|reader| reader.list_domains()).await?;
    let mut domains = list_served_domains(&context.state.configured_domains, &rows);
    if let Some(allowed) = &context.key.bounds.domains {
        domains.retain(|(host, _)| allowed.contains(host));
    }
    Ok(domains)
}

fn check_configuration_does_not_name(context: &RequestContext, host: &str) -> Result<(), Problem> {
    if !context.state.configured_domains.names(host) {
        return Ok(());
    }
    let detail = format!("[domains.{host:?}] or a route of the configuration defines this domain; change it there");
    Err(Problem::new(ProblemKind::SourceIsConfiguration, detail))
}

/// The settings of a body; every field that is none is told.
fn read_settings(object: &Map<String, Value>) -> Result<Settings, Problem> {
    let object: Map<String, Value> = object.clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
    serde_json::from_value(Value::Object(object.clone())).map_err(|error| {
        let mut errors: Vec<FieldError> = object
            .iter()
            .filter_map(|(field, value)| {
                let alone = Map::from_iter([(field.clone(), value.clone())]);
                let error = serde_json::from_value::<Settings>(Value::Object(alone)).err()?;
                Some(FieldError::in_body(field, error.to_string()))
            })
            .collect();
        if errors.is_empty() {
            errors.push(FieldError::in_body("settings", error.to_string()));
        }
        Problem::of_errors(ProblemKind::Invalid, errors)
    })
}

fn problem_of_domain_error(error: DomainError, host: &str) -> Problem {
    match error {
        DomainError::Refused(DomainRefusal::Invalid(values)) => {
            let errors = values.iter().map(|value| to_field_error(value, host)).collect();
            Problem::of_errors(ProblemKind::Invalid, errors)
        }
        DomainError::Refused(DomainRefusal::Links(message)) => Problem::new(ProblemKind::NotAcceptedHere, message),
        DomainError::Catalog(error) => problem_of_catalog_error(&error),
    }
}

/// The place of a value in the body; a value of another domain is told with its host.
fn to_field_error(value: &InvalidValue, host: &str) -> FieldError {
    match value.key.strip_prefix(&format!("{host:?}.")) {
        Some(field) => FieldError::in_body(field, &value.message),
        None => FieldError::outside_body(&value.key, &value.message),
    }
}
