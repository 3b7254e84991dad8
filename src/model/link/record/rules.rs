//! The rules of a record that need the record alone. The table of kinds stands in the header of `record`.

use jiff::Timestamp;

use super::{Record, RecordError, RecordErrorKind, ValidRecord, read_targets_and_add_errors};
use crate::model::{
    code::{Code, MAX},
    link::{CreatorType, LINK_LIFETIME_MS, LinkFacts, LinkKind, MAX_ID, NO_END_MS, QueryPolicy},
};

/// The usual rates, in hundredths of a percent. Others are accepted with a warning.
const USUAL_RATES: std::ops::RangeInclusive<u32> = 500..=2600;
/// The highest rate, in hundredths of a percent: the whole order value.
const MAX_RATE: u32 = 10_000;
/// How far ahead of the edge's clock a `created_at` may be, milliseconds: more than clocks differ, and less than a
/// wrong time zone.
const MAX_AHEAD_MS: u64 = 60 * 60 * 1000;
/// The most names in an allow-list of query parameters.
const MAX_ALLOWED_NAMES: usize = 64;
/// The most bytes of all names in an allow-list together.
const MAX_ALLOWED_NAMES_LEN: usize = 1024;
/// The longest title, in characters.
const MAX_TITLE_CHARS: usize = 256;
/// The most tags of a link.
const MAX_TAGS: usize = 16;
/// The longest tag, in bytes.
const MAX_TAG: usize = 64;

impl Record {
    /// Checks every rule of this module, and returns all errors at once. `now_ms` is the wall clock, milliseconds since
    /// the epoch;
    /// `version` goes into the facts.
    pub fn validate_and_build_facts(&self, now_ms: u64, version: u64) -> Result<ValidRecord<'_>, Vec<RecordError>> {
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        let code = Code::parse(self.code.as_bytes()).map_err(|error| {
            let message = format!("{error}; allowed are 1 to {MAX} of 0-9 A-Z a-z _ -");
            errors.push(RecordError::of_rule("code", error.rule(), message));
        });
        self.add_errors_of_fields_that_kind_requires_or_refuses(&mut errors);
        self.add_errors_of_ids(&mut errors);
        self.add_errors_and_warnings_of_rate(&mut errors, &mut warnings);
        self.add_errors_of_allow_list(&mut errors);
        self.add_errors_of_title_and_tags(&mut errors);
        let targets = read_targets_and_add_errors(&self.targets, &self.split, &mut errors);
        let times = self.resolve_times_and_add_errors(now_ms, &mut errors);
        let (Ok(code), true) = (code, errors.is_empty()) else { return Err(errors) };
        let facts = LinkFacts {
            version,
            kind: self.kind,
            created_ms: times.created_ms,
            ends_ms: times.ends_ms,
            creator_type: self.creator_type,
            plan: self.plan,
            rate_bp: self.rate_bp.map_or(0, |rate| rate as u16),
            test: self.test,
            creator: id_or_empty(&self.creator),
            partner: id_or_empty(&self.partner),
            seller: id_or_empty(&self.seller),
            campaign: id_or_empty(&self.campaign),
            product: id_or_empty(&self.product),
            product_set: id_or_empty(&self.product_set),
        };
        Ok(ValidRecord {
            code,
            facts,
            starts_ms: times.starts_ms,
            has_created_at: self.created_at.is_some(),
            targets,
            warnings,
        })
    }

    fn add_errors_of_fields_that_kind_requires_or_refuses(&self, errors: &mut Vec<RecordError>) {
        let fields = [
            ("product", self.product.is_some()),
            ("seller", self.seller.is_some()),
            ("plan", self.plan.is_some()),
            ("rate_bp", self.rate_bp.is_some()),
            ("campaign", self.campaign.is_some()),
            ("product_set", self.product_set.is_some()),
        ];
        let (requires, refuses): (&[&str], &[&str]) = match self.kind {
            LinkKind::Product => (&["product", "seller", "plan", "rate_bp"], &["product_set"]),
            LinkKind::Showcase => (&["product_set"], &["product", "plan", "rate_bp"]),
            LinkKind::Campaign => (&["campaign", "product_set"], &["product", "plan", "rate_bp"]),
            LinkKind::Plain => (&[], &["product", "seller", "plan", "rate_bp", "campaign", "product_set"]),
        };
        let kind = self.kind.as_str();
        for (field, given) in fields {
            if !given && requires.contains(&field) {
                errors.push(RecordError::new(field, format!("a {kind} link needs it")));
            }
            if given && refuses.contains(&field) {
                errors.push(RecordError::new(field, format!("a {kind} link must not have it")));
            }
        }
        if self.kind == LinkKind::Showcase && self.creator_type != Some(CreatorType::Affiliate) {
            let found = self.creator_type.map_or("absent", CreatorType::as_str);
            errors.push(RecordError::new(
                "creator_type",
                format!("is {found}; only an affiliate creator may own a showcase link"),
            ));
        }
    }

    fn add_errors_of_ids(&self, errors: &mut Vec<RecordError>) {
        let ids = [
            ("creator", &self.creator),
            ("partner", &self.partner),
            ("seller", &self.seller),
            ("product", &self.product),
            ("product_set", &self.product_set),
            ("campaign", &self.campaign),
        ];
        for (field, id) in ids {
            let Some(id) = id else { continue };
            if id.is_empty() {
                errors.push(RecordError::new(field, "is empty; leave it out or give an id"));
            } else if id.len() > MAX_ID {
                errors.push(RecordError::new(field, format!("has {} bytes, allowed are {MAX_ID}", id.len())));
            } else if id.chars().any(char::is_control) {
                errors.push(RecordError::new(field, "holds a control character"));
            }
        }
    }

    fn add_errors_and_warnings_of_rate(&self, errors: &mut Vec<RecordError>, warnings: &mut Vec<RecordError>) {
        let Some(rate) = self.rate_bp else { return };
        if rate == 0 || rate > MAX_RATE {
            let message = format!("is {rate}; allowed are 1 to {MAX_RATE} hundredths of a percent");
            errors.push(RecordError::new("rate_bp", message));
        } else if !USUAL_RATES.contains(&rate) {
            let (low, high) = (USUAL_RATES.start(), USUAL_RATES.end());
            warnings.push(RecordError::new("rate_bp", format!("is {rate}; usual are {low} to {high}")));
        }
    }

    fn add_errors_of_allow_list(&self, errors: &mut Vec<RecordError>) {
        let Some(names) = &self.query_allow else { return };
        let is_plain = |name: &String| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        };
        if self.query == QueryPolicy::Drop {
            errors
                .push(RecordError::new("query_allow", "has no meaning with \"query\":\"drop\"; leave one of them out"));
        } else if names.len() > MAX_ALLOWED_NAMES
            || names.iter().map(String::len).sum::<usize>() > MAX_ALLOWED_NAMES_LEN
        {
            let message = format!("allowed are {MAX_ALLOWED_NAMES} names and {MAX_ALLOWED_NAMES_LEN} bytes of names");
            errors.push(RecordError::new("query_allow", message));
        } else if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            let message = format!("{name:?} is not a parameter name of letters, digits, '-', '.', '_' and '~'");
            errors.push(RecordError::new("query_allow", message));
        }
    }

    fn add_errors_of_title_and_tags(&self, errors: &mut Vec<RecordError>) {
        if let Some(title) = &self.title {
            let chars = title.chars().count();
            if title.is_empty() {
                errors.push(RecordError::new("title", "is empty; leave it out or give a text"));
            } else if chars > MAX_TITLE_CHARS {
                errors
                    .push(RecordError::new("title", format!("has {chars} characters, allowed are {MAX_TITLE_CHARS}")));
            } else if title.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n' | '\r')) {
                errors.push(RecordError::new("title", "holds a control character; allowed are tabs and line ends"));
            }
        }
        if self.tags.len() > MAX_TAGS {
            errors.push(RecordError::new("tags", format!("are {}, allowed are {MAX_TAGS}", self.tags.len())));
        }
        for (at, tag) in self.tags.iter().enumerate() {
            if tag.is_empty() || tag.len() > MAX_TAG {
                let message = format!("{tag:?} has {} bytes, allowed are 1 to {MAX_TAG}", tag.len());
                errors.push(RecordError::new("tags", message));
            } else if tag.chars().any(char::is_control) {
                errors.push(RecordError::new("tags", format!("{tag:?} holds a control character")));
            } else if self.tags[..at].contains(tag) {
                errors.push(RecordError::new("tags", format!("{tag:?} stands twice")));
            }
        }
    }

    /// The link's creation, start and end. Adds an error for each time that contradicts another.
    fn resolve_times_and_add_errors(&self, now_ms: u64, errors: &mut Vec<RecordError>) -> ResolvedTimes {
        let created = convert_to_epoch_ms_or_add_error(self.created_at, "created_at", errors);
        let starts = convert_to_epoch_ms_or_add_error(self.starts_at, "starts_at", errors);
        let expires = convert_to_epoch_ms_or_add_error(self.expires_at, "expires_at", errors);
        match created {
            None if !self.test && self.created_at.is_none() => {
                errors.push(RecordError::of_rule(
                    "created_at",
                    "date-missing",
                    "is needed: it may be absent only with \"test\":true",
                ));
            }
            Some(created) if created > now_ms.saturating_add(MAX_AHEAD_MS) => {
                let message = "lies more than an hour in the future; use starts_at for a link that is to start later";
                let error = RecordError::of_rule("created_at", "date-future", message);
                errors.push(error.with_kind(RecordErrorKind::NotAcceptedHere));
            }
            _ => {}
        }
        let created_ms = created.unwrap_or(now_ms);
        // The 100 days are commission's. A plain link earns none, and ends only if it says so.
        let lifetime_end_ms = match self.kind {
            LinkKind::Plain => NO_END_MS,
            LinkKind::Product | LinkKind::Showcase | LinkKind::Campaign => created_ms.saturating_add(LINK_LIFETIME_MS),
        };
        let ends_ms = expires.map_or(lifetime_end_ms, |expires| expires.min(lifetime_end_ms));
        if let (Some(created), Some(expires)) = (created, expires)
            && expires <= created
        {
            errors.push(RecordError::of_rule("expires_at", "date-order", "is not after created_at"));
        }
        // Without created_at the end moves with each load, so the start is compared with expires_at alone.
        let end = if created.is_some() { Some(ends_ms) } else { expires };
        if let (Some(starts), Some(end)) = (starts, end)
            && starts >= end
        {
            let end = if self.kind == LinkKind::Plain { "expires_at" } else { "expires_at, 100 days at most" };
            let message = format!("is not before the link's end ({end})");
            errors.push(RecordError::of_rule("starts_at", "date-order", message));
        }
        ResolvedTimes { created_ms, ends_ms, starts_ms: starts.unwrap_or(0) }
    }
}

/// A link's times, milliseconds since the epoch.
struct ResolvedTimes {
    created_ms: u64,
    ends_ms: u64,
    /// 0 if the link has no start.
    starts_ms: u64,
}

/// A time as milliseconds since the epoch. Adds an error for a time before 1970.
fn convert_to_epoch_ms_or_add_error(
    time: Option<Timestamp>,
    field: &'static str,
    errors: &mut Vec<RecordError>,
) -> Option<u64> {
    let ms = u64::try_from(time?.as_millisecond()).ok();
    if ms.is_none() {
        errors.push(RecordError::of_rule(field, "date", "lies before 1970"));
    }
    ms
}

fn id_or_empty(id: &Option<String>) -> &str {
    id.as_deref().unwrap_or_default()
}
