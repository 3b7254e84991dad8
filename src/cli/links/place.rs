//! Where the links are that a command works on: the data directory of a stopped server, or a running server. Both do
//! the same, and what they did is printed by the same code.

use anyhow::Result;
use serde_json::Value;

use crate::{
    catalog::{
        act::Act,
        change::{ExpectedLink, LinkChange, LinkName},
        kept_changes::ChangeState,
        many::ManyChange,
        query::{LinkFilter, VersionedLink},
        suspension_rows::{NewSuspension, SuspensionRow},
    },
    links::suspensions::Dimension,
};

/// Links that can be read and changed.
pub(super) trait LinkPlace {
    /// The name as the place has it.
    fn canonical_name(&self, name: LinkName) -> Result<LinkName>;

    fn find_link(&self, name: &LinkName) -> Result<Option<VersionedLink>>;

    fn count_links(&self) -> Result<u64>;

    /// The most changes that [`LinkPlace::change_links`] takes, which are one commit.
    fn changes_at_once(&self) -> usize;

    /// Calls `visit` with the record of every link that matches, by domain and code.
    fn visit_records(&self, filter: &LinkFilter, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;

    /// The changes of a link as JSON objects, the latest first.
    fn list_history(&self, name: &LinkName) -> Result<Vec<Value>>;

    /// Changes links; a refused row leaves the others. Gives the outcome of each, in their order.
    fn change_links(&self, changes: LinkChanges<'_>) -> Result<Vec<ChangeOutcome>>;

    /// Changes many links under one act. With `is_dry_run` nothing is written.
    fn change_many(&self, change: &ManyChange, act: &Act, is_dry_run: bool) -> Result<ManyOutcome>;

    /// Lets a change of many links wait for a time, milliseconds since the epoch. Gives the id of its act.
    fn schedule_change(&self, change: &ManyChange, act: &Act, effective_ms: u64) -> Result<String>;

    /// The changes of many links that a server carries out, as JSON objects, the latest first.
    fn list_kept_changes(&self, state: Option<ChangeState>) -> Result<Vec<Value>>;

    /// Stops a change of many links that waits or runs.
    fn cancel_change(&self, id: &str, act: &Act) -> Result<()>;

    /// Every domain as a JSON object, by host.
    fn list_domains(&self) -> Result<Vec<Value>>;

    /// Gives a domain these settings; those that are left out have their defaults. Gives the domain.
    fn put_domain(&self, host: &str, settings: Value, act: &Act) -> Result<Value>;

    /// Makes a host no domain any more. Gives whether it was one.
    fn delete_domain(&self, host: &str, act: &Act) -> Result<bool>;

    fn suspend(&self, suspension: &NewSuspension) -> Result<SuspensionRow>;

    /// Ends a suspension; `None`: there was none.
    fn end_suspension(&self, dimension: Dimension, value: &str, act: &Act) -> Result<Option<SuspensionRow>>;

    fn list_suspensions(&self) -> Result<Vec<SuspensionRow>>;

    /// Why links are frozen; `None`: they are not.
    fn frozen_reason(&self) -> Result<Option<String>>;

    fn freeze(&self, reason: &str) -> Result<()>;

    fn unfreeze(&self) -> Result<()>;
}

/// Changes of one act.
pub(super) struct LinkChanges<'a> {
    pub(super) act: &'a Act,
    pub(super) changes: Vec<LinkChange>,
    /// What each link has to be before.
    pub(super) expected: ExpectedLink,
    pub(super) is_dry_run: bool,
}

/// What became of one change. Names are `DOMAIN/CODE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeOutcome {
    Created { name: String, version: u64, warnings: Vec<String> },
    Changed { name: String, version: u64, warnings: Vec<String> },
    Unchanged { name: String },
    Removed { name: String, version: u64 },
    Refused(Refusal),
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What sort of refusal, such as `code-reserved`.
    pub(super) rule: String,
    /// What was found, and what to do.
    pub(super) message: String,
}

/// What became of many links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ManyOutcome {
    pub(super) act: String,
    pub(super) changed: u64,
    pub(super) unchanged: u64,
    pub(super) refused_total: u64,
    /// The first refused links, each with the reason.
    pub(super) refused: Vec<(String, String)>,
    /// The first changed links.
    pub(super) examples: Vec<String>,
}
