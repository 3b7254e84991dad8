//! `waypost links domains`: the domains that links have, and their settings.

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::{edit::parse_fields, place::LinkPlace, place_args::PlaceArgs, user_act::act_of_user};

/// The command of `waypost links domains`.
#[derive(Debug, Args)]
pub(super) struct DomainsArgs {
    #[command(subcommand)]
    command: Domains,
}

#[derive(Debug, Subcommand)]
enum Domains {
    /// List all domains as JSON objects, with where their settings come from
    List,
    /// Show one domain
    Show(HostArgs),
    /// Make a host a domain, or change settings of one; the others stay
    Set(SetArgs),
    /// Make a host no domain any more: `*` serves it
    Rm(RemoveArgs),
}

#[derive(Debug, Args)]
struct HostArgs {
    /// The host, or `*` for every host without a section
    #[arg(value_name = "HOST")]
    host: String,
}

#[derive(Debug, Args)]
struct SetArgs {
    #[command(flatten)]
    host: HostArgs,
    /// A setting of `[domains]` and its value in JSON, or a plain text; `null` gives it its default; may be repeated
    #[arg(value_name = "SETTING=VALUE")]
    settings: Vec<String>,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl DomainsArgs {
    pub(super) fn run_domains_command(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        match &self.command {
            Domains::List => place.list_domains()?.iter().try_for_each(|domain| writeln!(out, "{domain}"))?,
            Domains::Show(HostArgs { host }) => writeln!(out, "{}", show_domain(&*place, host)?)?,
            Domains::Set(args) => writeln!(out, "{}", args.set(&*place)?)?,
            Domains::Rm(args) => {
                let host = &args.host.host;
                if !place.delete_domain(host, &act_of_user(args.reason.as_ref()))? {
                    bail!("{host} is no domain that commands have made; `waypost links domains list` lists all");
                }
                writeln!(out, "{host} is no domain any more")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl SetArgs {
    /// Changes the settings that are named. Gives the domain.
    fn set(&self, place: &dyn LinkPlace) -> Result<Value> {
        let host = &self.host.host;
        let mut settings = match find_domain(place, host)? {
            // A default is no setting that somebody has made.
            Some(domain) if domain["source"] == "catalog" => domain["settings"].as_object().cloned(),
            _ => None,
        }
        .unwrap_or_else(Map::new);
        if let Value::Object(changes) = parse_fields(&self.settings)? {
            settings.extend(changes);
        }
        place.put_domain(host, settings.into(), &act_of_user(self.reason.as_ref()))
    }
}

fn show_domain(place: &dyn LinkPlace, host: &str) -> Result<Value> {
    let found = find_domain(place, host)?;
    found.with_context(|| format!("{host} is no domain; `waypost links domains list` lists all"))
}

fn find_domain(place: &dyn LinkPlace, host: &str) -> Result<Option<Value>> {
    let domains = place.list_domains()?.into_iter();
    let is_host = |domain: &Value| domain["host"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(host));
    Ok(domains.into_iter().find(is_host))
}
