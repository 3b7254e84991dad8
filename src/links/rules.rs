//! The rules between two versions of the links: the fields of a link that never change, and how many links may be lost
//! at once. They know nothing of files, lines or sources.

use crate::{
    links::{
        domains::{Domain, Domains},
        link::{Link, LinkState, UnchangeableFields},
        table::Table,
    },
    model::link::record::{RecordError, RecordErrorKind},
};

/// A link beside the link of the same domain and code in the version before.
pub(super) enum PreviousComparison {
    /// The version before had no such link, and its code is not reserved by a removed one.
    NoPreviousLink,
    /// The served link says the same, but for its version.
    Unchanged(Link),
    /// Every field that never changes is as it was.
    NoForbiddenChange,
    /// These fields never change, and did.
    ForbiddenChanges(Vec<RecordError>),
}

/// Compares `link` with the served link of the same domain and code, else with the removed link that still reserves the
/// code.
pub(super) fn compare_with_previous(link: &Link, served: &Table, now_ms: u64) -> PreviousComparison {
    let Some(is) = link.unchangeable_fields() else { return PreviousComparison::NoForbiddenChange };
    let errors = if let Some(previous) = served.get(link.domain(), link.code()) {
        if previous.is_same_except_version(link) {
            return PreviousComparison::Unchanged(previous.clone());
        }
        previous.unchangeable_fields().map(|was| find_changed_unchangeable_fields(&is, &was, CodeState::Served))
    } else if let Some(removed) = served.find_removed(link, now_ms) {
        Some(find_changed_unchangeable_fields(&is, &removed.unchangeable_fields(), CodeState::Reserved))
    } else {
        return PreviousComparison::NoPreviousLink;
    };
    match errors {
        Some(errors) if !errors.is_empty() => PreviousComparison::ForbiddenChanges(errors),
        _ => PreviousComparison::NoForbiddenChange,
    }
}

/// Whether the link that had a code before is served or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeState {
    /// It is served.
    Served,
    /// It was removed, and reserves its code.
    Reserved,
}

/// The errors of the fields that never change, and did.
pub fn find_changed_unchangeable_fields(
    is: &UnchangeableFields<'_>,
    was: &UnchangeableFields<'_>,
    code: CodeState,
) -> Vec<RecordError> {
    let when = match code {
        CodeState::Served => "",
        CodeState::Reserved => " when it was removed, and a code is free again after 114 days",
    };
    let mut errors = Vec::new();
    let mut check = |field: &'static str, is_same: bool, was: &str, why: &str| {
        if !is_same {
            let was = if was.is_empty() { "absent" } else { was };
            let message = format!("never changes and was {was}{when}{why}; give the changed link another code");
            errors.push(RecordError::new(field, message).with_kind(RecordErrorKind::Unchangeable));
        }
    };
    // A test link without created_at is as old as its load.
    let is_created_same = was.created_ms == is.created_ms || was.is_created_at_default;
    check("created_at", is_created_same, &format_time(was.created_ms), " (a new date would renew the 100 days)");
    check("kind", was.kind == is.kind, was.kind.as_str(), "");
    check("creator", was.creator == is.creator, was.creator, "");
    check("partner", was.partner == is.partner, was.partner, "");
    errors
}

/// A time in RFC 3339, or the milliseconds where that cannot express them.
fn format_time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| ms.to_string(), |time| time.to_string())
}

/// The other domains on which `served` has a link with the code of `link`.
pub(super) fn other_domains_with_code<'a>(
    link: &'a Link,
    served: &'a Table,
    domains: &'a Domains,
) -> impl Iterator<Item = &'a Domain> {
    let has_code = |domain: &Domain| served.get(domain.id, link.code()).is_some();
    domains.all().iter().filter(move |domain| domain.id != link.domain() && has_code(domain))
}

/// The error of a link that left the domain `from`.
pub(super) fn moved_domain_error(from: &Domain) -> RecordError {
    let message = format!("never changes and was {:?}; give the link on this domain another code", from.name);
    RecordError::new("domain", message).with_kind(RecordErrorKind::Unchangeable)
}

/// A version that loses more links than a mistake should be able to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShrinkViolation {
    /// The new version has no link.
    Empty {
        /// Links that are served; 0 at the start.
        served: u64,
    },
    /// The new version lacks more than a tenth of the live links.
    LostLinks {
        /// Live links that the new version lacks.
        lost: u64,
        /// Live links that are served.
        live: u64,
    },
}

/// Checks that `new` is not empty, and keeps at least nine tenths of the links that are live in `served`.
pub(super) fn check_new_table_keeps_most_live_links(
    new: &Table,
    served: Option<&Table>,
    now_ms: u64,
) -> Result<(), ShrinkViolation> {
    let served_links = served.map_or(0, Table::len) as u64;
    // A start with no link would answer 404 to every buyer. An empty version after an empty one changes nothing.
    if new.is_empty() && (served.is_none() || served_links > 0) {
        return Err(ShrinkViolation::Empty { served: served_links });
    }
    let Some(served) = served else { return Ok(()) };
    let (mut lost, mut live) = (0, 0);
    served.for_each(|link| {
        if link.state_at(now_ms) == LinkState::Live {
            live += 1;
            lost += u64::from(new.get(link.domain(), link.code()).is_none());
        }
    });
    if lost * 10 > live { Err(ShrinkViolation::LostLinks { lost, live }) } else { Ok(()) }
}
