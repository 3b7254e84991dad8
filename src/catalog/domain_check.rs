//! Checks a change of a domain by the rules of the configuration and against the links, and writes its rows. A link's
//! bytes and its place in the table depend on some settings of its domain, so these change only while the domain has no
//! link.

use rusqlite::Connection;
use serde_json::json;

use super::{
    act::{Act, write_act_with_detail},
    domain_change::DomainRefusal,
    domain_rows::{DomainRow, merge_domains},
    load::build_link,
    store::Meta,
};
use crate::{
    clock,
    invalid_value::InvalidValue,
    links::{
        destination::policy::DestinationPolicy,
        domains::{Config, Domains, Settings},
    },
};

/// Allowed, refused, or the store fails.
type Checked<T> = rusqlite::Result<Result<T, DomainRefusal>>;

/// What a change of a domain is checked against.
pub(super) struct DomainRules<'a> {
    pub(super) connection: &'a Connection,
    pub(super) policy: &'a DestinationPolicy,
    /// The domains that are served.
    pub(super) domains: &'a Domains,
    /// The domains of the configuration.
    pub(super) configured: &'a Config,
}

impl DomainRules<'_> {
    /// Checks a change of a host that the configuration does not name. Returns the domains behind the change.
    pub(super) fn check_change(&self, host: &str, settings: Option<&Settings>) -> Checked<Domains> {
        let mut wanted = merge_domains(self.configured, DomainRow::list(self.connection)?);
        match settings {
            Some(settings) => _ = wanted.0.insert(host.to_owned(), settings.clone()),
            None => _ = wanted.0.remove(host),
        }
        let errors = wanted.list_invalid_values();
        if !errors.is_empty() {
            return Ok(Err(DomainRefusal::Invalid(errors)));
        }
        if let Err(refusal) = self.check_links_allow_domain(host, settings)? {
            return Ok(Err(refusal));
        }
        let domains = match settings {
            Some(settings) => self.domains.with_domain(host, settings),
            None => self.domains.without_domain(host),
        };
        let domains = match domains {
            Ok(domains) => domains,
            Err(message) => {
                let error = InvalidValue::new(format!("{host:?}"), message);
                return Ok(Err(DomainRefusal::Invalid(vec![error])));
            }
        };
        if settings.is_some()
            && self.domains.find_by_name(host).is_none()
            && let Err(refusal) = self.check_links_do_not_lead_to_new_host(host, &domains)?
        {
            return Ok(Err(refusal));
        }
        Ok(Ok(domains))
    }

    /// Checks that no link of the domain would lose its place, or have to be made anew.
    fn check_links_allow_domain(&self, host: &str, settings: Option<&Settings>) -> Checked<()> {
        let Some(served) = self.domains.find_by_name(host) else { return Ok(Ok(())) };
        let has_links = has_links_of_domain(self.connection, host)?;
        let refused = match settings {
            _ if !has_links => return Ok(Ok(())),
            // `*` has its default settings then.
            None if host != "*" => "the domain has links: remove them first, or disable them by --domain",
            None => return Ok(Ok(())),
            Some(settings) if settings.case_insensitive != served.id.ignores_case() => {
                "case_insensitive changes only while the domain has no link"
            }
            Some(settings) if settings.token_param != *served.token_param => {
                "token_param changes only while the domain has no link: it is a part of each destination"
            }
            Some(settings) if !served.has_cookie_domain_of(settings) => {
                "cookie_domain changes only while the domain has no link: it decides where the token is appended"
            }
            Some(_) => return Ok(Ok(())),
        };
        Ok(Err(DomainRefusal::Links(format!("{host}: {refused}"))))
    }

    /// Checks that no link leads to a host that this server did not answer before: its buyers would come back here.
    fn check_links_do_not_lead_to_new_host(&self, host: &str, domains: &Domains) -> Checked<()> {
        let sql = "SELECT record, version, domain, code FROM link WHERE host = ?1 OR instr(lower(record), ?1)";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([host])?;
        let now_ms = clock::wall_ms();
        while let Some(row) = rows.next()? {
            let (record, version): (String, u64) = (row.get(0)?, row.get(1)?);
            let is_good = |domains: &Domains| build_link(&record, self.policy, domains, now_ms, version).is_ok();
            if is_good(self.domains) && !is_good(domains) {
                let (domain, code): (String, String) = (row.get(2)?, row.get(3)?);
                return Ok(Err(DomainRefusal::Links(format!(
                    "{host}: the link {domain}/{code} leads to it, and buyers would come back to this server; change \
                     the link first"
                ))));
            }
        }
        Ok(Ok(()))
    }
}

/// A change that is allowed.
pub(super) struct DomainWrite<'a> {
    pub(super) act: &'a Act,
    pub(super) host: &'a str,
    /// `None`: it is no domain any more.
    pub(super) settings: Option<Settings>,
    pub(super) before: Option<&'a DomainRow>,
    pub(super) version: u64,
    pub(super) now_ms: u64,
}

impl DomainWrite<'_> {
    /// Writes the row and the act, inside a transaction. Returns the row; `None`: it is removed.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<Option<DomainRow>> {
        let DomainWrite { act, host, settings, before, version, now_ms } = self;
        let detail = json!({"host": host, "before": before.map(|row| &row.settings), "after": settings});
        let row = settings.map(|settings| DomainRow {
            host: host.to_owned(),
            settings,
            version,
            changed_ms: now_ms,
            actor: act.actor.clone(),
        });
        match &row {
            Some(row) => row.write(connection)?,
            None => DomainRow::delete(connection, host)?,
        }
        let action = if row.is_some() { "put_domain" } else { "delete_domain" };
        write_act_with_detail(connection, act, action, now_ms, Some(&detail))?;
        // The next start numbers its domains anew, and makes the bytes of links anew.
        Meta::ReadyFingerprint.write(connection, None)?;
        Ok(row)
    }
}

fn has_links_of_domain(connection: &Connection, host: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM link WHERE domain = ?1 LIMIT 1")?.exists([host])
}
