//! `waypost links disable`, `enable`, `suspensions`, `freeze` and `unfreeze`

use std::{io::Write, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use super::{
    edit::{ChangeArgs, change_and_print},
    place::LinkPlace,
    place_args::PlaceArgs,
    user_act::act_of_user,
};
use crate::{
    catalog::{
        change::{LinkChange, LinkName},
        suspension_rows::{NewSuspension, SuspensionRow},
    },
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

    fn changes_that_set_enabled(&self, enabled: bool) -> Vec<LinkChange> {
        let change = |code: &String| {
            let name = LinkName { domain: self.domain.clone().unwrap_or_else(|| "*".to_owned()), code: code.clone() };
            LinkChange::Patch { name, patch: serde_json::json!({ "enabled": enabled }) }
        };
        self.codes.iter().map(change).collect()
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
        place: &dyn LinkPlace,
        enabled: bool,
        reason: Option<&String>,
        out: &mut impl Write,
    ) -> Result<ExitCode> {
        let change = ChangeArgs { reason: reason.cloned(), dry_run: false };
        change_and_print(place, self.codes.clone(), self.changes_that_set_enabled(enabled), &change, out)
    }
}

impl DisableArgs {
    pub(super) fn disable_links_or_suspend_values(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        self.target.check_something_is_named()?;
        let place = place.open()?;
        for (dimension, value) in self.target.suspended_values() {
            let suspension = place.suspend(&NewSuspension {
                dimension,
                value: value.to_owned(),
                until_ms: self.until.and_then(|until| u64::try_from(until.as_millisecond()).ok()),
                reason: self.reason.clone(),
                fallback_url: self.fallback_url.clone(),
            })?;
            writeln!(out, "suspended {}", describe(&suspension))?;
        }
        self.target.set_enabled_and_print_outcomes(&*place, false, Some(&self.reason), out)
    }
}

impl EnableArgs {
    pub(super) fn enable_links_or_end_suspensions(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        self.target.check_something_is_named()?;
        let place = place.open()?;
        for (dimension, value) in self.target.suspended_values() {
            match place.end_suspension(dimension, value, &act_of_user(self.reason.as_ref()))? {
                Some(ended) => writeln!(out, "ended the suspension of {}", describe(&ended))?,
                None => eprintln!("{} {value} is not suspended", dimension.as_str()),
            }
        }
        self.target.set_enabled_and_print_outcomes(&*place, true, self.reason.as_ref(), out)
    }
}

impl FreezeArgs {
    pub(super) fn freeze_links(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        place.open()?.freeze(&self.reason)?;
        writeln!(out, "frozen: no link changes until `waypost links unfreeze`")?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn unfreeze_links(place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
    place.open()?.unfreeze()?;
    writeln!(out, "links may change again")?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn print_suspensions(place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
    let place = place.open()?;
    if let Some(reason) = place.frozen_reason()? {
        writeln!(out, "links are frozen: {reason}")?;
    }
    for suspension in place.list_suspensions()? {
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
