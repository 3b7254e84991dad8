//! The domains in the catalog of a data directory, changed by the rules of a server.

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value};

use crate::{
    catalog::{
        CatalogError, CatalogHandle, LinkSource,
        act::Act,
        domain_change::{DomainChange, DomainReport},
        domain_rows::row_to_json,
    },
    config::Config,
    links::domains::{Settings, parse_host_or_asterisk},
};

/// Gives a domain settings; `None` removes it. Gives the domain, or that there was none.
///
/// # Errors
/// The configuration names the host, the settings are none, or the change is not allowed.
pub(super) fn change_domain(
    handle: &CatalogHandle,
    config: &Config,
    host: &str,
    settings: Option<Value>,
    act: &Act,
) -> Result<Option<Value>> {
    if LinkSource::of_config(&config.links) == LinkSource::Topic {
        bail!(CatalogError::SourceIsTopic);
    }
    let host = parse_host_or_asterisk(host).map_err(|message| anyhow!("{host}: {message}"))?;
    if config.domains.names(&host) {
        bail!("[domains.{host:?}] or a route of the configuration defines this domain; change it there");
    }
    let settings = settings.map(settings_of_json).transpose()?;
    let change = DomainChange { act: act.clone(), host, settings };
    Ok(match handle.change_domain_blocking(change)? {
        DomainReport::Created(row) | DomainReport::Replaced(row) => Some(row_to_json(&row)),
        DomainReport::Deleted => Some(Value::Null),
        DomainReport::Unknown => None,
    })
}

fn settings_of_json(settings: Value) -> Result<Settings> {
    let Value::Object(fields) = settings else { bail!("settings are a JSON object") };
    let given: Map<String, Value> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    for (field, value) in &given {
        let alone = Map::from_iter([(field.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<Settings>(alone.into()) {
            bail!("{field}: {error}");
        }
    }
    Ok(serde_json::from_value(given.into())?)
}
