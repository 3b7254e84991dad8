//! `waypost links disable`, `enable`, `suspensions`, `freeze` and `unfreeze`

use std::{io::Write, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::{
    data_dir::{OfflineCatalog, act_of_user},
    edit::{ChangeArgs, apply_and_print},
};
use crate::{
    catalog::{
        change::{ChangeRow, ExpectedLink, LinkChange, LinkName, Write as CatalogWrite, WriteReport},
        suspension_rows::{NewSuspension, SuspensionRow},
    },
    cli::config_args::ConfigArgs,
    links::suspensions::Dimension,
};

/// What is switched off or on.
#[derive(Debug, Args)]
struct TargetArgs {
    /// The codes of single links
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
    /// The domain of the codes; without codes: all links of the domain
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,
    /// All links of a creator
    #[arg(long, value_name = "ID")]
    creator: Option<String>,
    /// All links of a partner
    #[arg(long, value_name = "ID")]
    partner: Option<String>,
    /// All links of a seller
    #[arg(long, value_name = "ID")]
    seller: Option<String>,
    /// All links of a campaign
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,
    /// All links of a product
    #[arg(long, value_name = "ID")]
    product: Option<String>,
    /// All links that lead to a host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// The flags of `waypost links disable`.
#[derive(Debug, Args)]
pub(super) struct DisableArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When a suspension ends by itself (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<jiff::Timestamp>,
    /// Where the links of a suspension lead meanwhile
    #[arg(long, value_name = "URL")]
    fallback_url: Option<String>,
}

/// The flags of `waypost links enable`.
#[derive(Debug, Args)]
pub(super) struct EnableArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The flags of `waypost links freeze`.
#[derive(Debug, Args)]
pub(super) struct FreezeArgs {
    /// Why; whoever tries to change a link is told
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl TargetArgs {
    /// The values whose links are switched together.
    fn suspended_values(&self) -> Vec<(Dimension, &str)> {
        let domain = if self.codes.is_empty() { self.domain.as_deref() } else { None };
        let values = [
            (Dimension::Creator, self.creator.as_deref()),
            (Dimension::Partner, self.partner.as_deref()),
            (Dimension::Seller, self.seller.as_deref()),
            (Dimension::Campaign, self.campaign.as_deref()),
            (Dimension::Product, self.product.as_deref()),
            (Dimension::Domain, domain),
            (Dimension::Host, self.host.as_deref()),
        ];
        values.into_iter().filter_map(|(dimension, value)| Some((dimension, value?))).collect()
    }

    fn rows_that_set_enabled(&self, enabled: bool) -> Vec<ChangeRow> {
        let row = |code: &String| {
            let name = LinkName { domain: self.domain.clone().unwrap_or_else(|| "*".to_owned()), code: code.clone() };
            let patch = serde_json::json!({ "enabled": enabled });
            ChangeRow { change: LinkChange::Patch { name, patch }, expected: ExpectedLink::Any }
        };
        self.codes.iter().map(row).collect()
    }

    fn check_something_is_named(&self) -> Result<()> {
        if self.codes.is_empty() && self.suspended_values().is_empty() {
            bail!("name codes, or one of --creator --partner --seller --campaign --product --domain --host");
        }
        if let Some((dimension, _)) = self.suspended_values().iter().find(|(_, value)| value.is_empty()) {
            bail!("--{} is empty; name the value whose links are meant", dimension.as_str());
        }
        Ok(())
    }

    /// Sets `enabled` of the links that are named by their codes.
    fn set_enabled_and_print_outcomes(
        &self,
        catalog: &OfflineCatalog,
        enabled: bool,
        reason: Option<&String>,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        let change = ChangeArgs { reason: reason.cloned(), dry_run: false };
        apply_and_print(catalog, self.codes.clone(), self.rows_that_set_enabled(enabled), &change, out)
    }
}

impl DisableArgs {
    pub(super) fn disable_links_or_suspend_values(
        &self,
        config: &ConfigArgs,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        self.target.check_something_is_named()?;
        let catalog = OfflineCatalog::open(config)?;
        let fallback_url = self.checked_fallback_url(&catalog)?;
        for (dimension, value) in self.target.suspended_values() {
            let suspension = NewSuspension {
                dimension,
                value: value.to_owned(),
                until_ms: self.until.and_then(|until| u64::try_from(until.as_millisecond()).ok()),
                reason: self.reason.clone(),
                fallback_url: fallback_url.clone(),
            };
            let act = act_of_user(Some(&self.reason));
            let report = catalog.write(CatalogWrite::Suspend(act, suspension))?;
            if let WriteReport::Suspended { suspension, .. } = report {
                writeln!(out, "suspended {}", describe(&suspension))?;
            }
        }
        self.target.set_enabled_and_print_outcomes(&catalog, false, Some(&self.reason), out)
    }

    fn checked_fallback_url(&self, catalog: &OfflineCatalog) -> Result<Option<String>> {
        let policy = catalog.config.links.destination_policy();
        let check = |url: &String| policy.check_and_normalize_url_without_placeholders(url);
        self.fallback_url.as_ref().map(check).transpose().context("--fallback-url")
    }
}

impl EnableArgs {
    pub(super) fn enable_links_or_end_suspensions(
        &self,
        config: &ConfigArgs,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        self.target.check_something_is_named()?;
        let catalog = OfflineCatalog::open(config)?;
        for (dimension, value) in self.target.suspended_values() {
            let act = act_of_user(self.reason.as_ref());
            let report = catalog.write(CatalogWrite::EndSuspension(act, dimension, value.to_owned()))?;
            match report {
                WriteReport::SuspensionEnded(Some(ended)) => {
                    writeln!(out, "ended the suspension of {}", describe(&ended))?;
                }
                _ => eprintln!("{} {value} is not suspended", dimension.as_str()),
            }
        }
        self.target.set_enabled_and_print_outcomes(&catalog, true, self.reason.as_ref(), out)
    }
}

impl FreezeArgs {
    pub(super) fn freeze_links(&self, config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
        let act = act_of_user(Some(&self.reason));
        OfflineCatalog::open(config)?.write(CatalogWrite::Freeze(act, self.reason.clone()))?;
        writeln!(out, "frozen: no link changes until `waypost links unfreeze`")?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn unfreeze_links(config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
    OfflineCatalog::open(config)?.write(CatalogWrite::Unfreeze(act_of_user(None)))?;
    writeln!(out, "links may change again")?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_suspensions(config: &ConfigArgs, out: &mut impl Write) -> Result<ExitCode> {
    let reader = OfflineCatalog::open(config)?.reader()?;
    if let Some(reason) = reader.frozen_reason()? {
        writeln!(out, "links are frozen: {reason}")?;
    }
    for suspension in reader.list_suspensions()? {
        writeln!(out, "{}", describe(&suspension))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(suspension: &SuspensionRow) -> String {
    let time = |ms: u64| i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let SuspensionRow { dimension, value, since_ms, until_ms, actor, reason, .. } = suspension;
    let since = time(*since_ms).map(|time| format!(" since {time}")).unwrap_or_default();
    let until = until_ms.and_then(time).map(|time| format!(" until {time}")).unwrap_or_default();
    format!("{} {value}{since}{until} by {actor}: {reason}", dimension.as_str())
}
