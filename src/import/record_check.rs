//! The last step of a row: which domain has the code, and whether a links file would take the records.

use jiff::Timestamp;

use crate::{
    import::{
        cell::quote,
        column::Role,
        draft::{FoundText, LinkDraft},
        outcome::{Mistake, Note, NoteKind},
        record_field::RecordField,
        short_link::ShortLink,
    },
    links::{
        Link, LinkState,
        destination::policy::DestinationPolicy,
        domains::{DomainId, Domains},
    },
    model::link::record::{Record, RecordError},
};

/// What the records of an import are checked against: the same as the records of a links file.
#[derive(Clone, Copy, Debug)]
pub struct ImportRules<'a> {
    /// Which destinations are allowed.
    pub policy: &'a DestinationPolicy,
    /// The domains that links may name.
    pub domains: &'a Domains,
    /// The wall's time, milliseconds since the epoch.
    pub now_ms: u64,
}

/// A record that keeps every rule that needs no other record.
#[derive(Debug)]
pub(super) struct CheckedRecord {
    pub(super) record: Record,
    pub(super) domain: DomainId,
    /// The column of the code, for the mistake of a code that stands twice.
    pub(super) code_column: String,
    pub(super) has_ended: bool,
}

/// A row whose records are right, if no code stands twice.
#[derive(Debug)]
pub(super) struct CheckedRow {
    pub(super) records: Vec<CheckedRecord>,
    pub(super) notes: Vec<Note>,
}

impl ImportRules<'_> {
    /// Makes the records of a row.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub(super) fn check_and_build_records(&self, mut draft: LinkDraft<'_>) -> Result<CheckedRow, Vec<Mistake>> {
        let repeated = draft.repeated_short_link.take();
        let repeated = repeated
            .as_ref()
            .map(|found| RepeatedShortLink { column: &found.column, link: ShortLink::split(&found.text) });
        self.take_urls(&mut draft, repeated.map(|repeated| repeated.link.host));
        let codes = collect_codes(&mut draft, repeated);
        if !draft.mistakes.is_empty() {
            let further = self.find_further_mistakes(&draft, codes.first());
            draft.mistakes.extend(further);
            return Err(draft.mistakes);
        }
        let mut row = CheckedRow { records: Vec::with_capacity(codes.len()), notes: std::mem::take(&mut draft.notes) };
        for code in codes {
            let record = Record { code: code.code, domain: code.domain, ..draft.record.clone() };
            let checked = self.check_record(record, code.column, &mut row.notes);
            row.records.push(checked.map_err(|(errors, column)| {
                errors.into_iter().map(|error| locate_error(&draft, error, &column)).collect::<Vec<Mistake>>()
            })?);
        }
        Ok(row)
    }

    /// What else is wrong with a row that is refused already, in the columns without a mistake.
    fn find_further_mistakes(&self, draft: &LinkDraft<'_>, code: Option<&ResolvedCode>) -> Vec<Mistake> {
        let Some(code) = code else { return Vec::new() };
        let mut record = Record { code: code.code.clone(), domain: code.domain.clone(), ..draft.record.clone() };
        let created_at = draft.name_of_column(|role| role == Role::CreatedAt);
        let has_wrong_created_at = draft.mistakes.iter().any(|mistake| mistake.column == created_at);
        if has_wrong_created_at {
            record.created_at = Timestamp::from_millisecond(self.now_ms as i64).ok();
        }
        let errors = if record.url.is_empty() {
            record.validate_and_build_facts(self.now_ms, 0).err()
        } else {
            Link::check_and_build_from_record(&record, self.policy, self.domains, self.now_ms, 0).err()
        };
        let errors = errors.into_iter().flatten().filter(|error| !(has_wrong_created_at && error.rule == "date-order"));
        let located = errors.map(|error| locate_error(draft, error, &code.column));
        let is_new = |mistake: &Mistake| {
            mistake.column.is_some() && !draft.mistakes.iter().any(|known| known.column == mistake.column)
        };
        located.filter(is_new).collect()
    }

    fn take_urls(&self, draft: &mut LinkDraft<'_>, own_host: Option<&str>) {
        let own_host = own_host.filter(|host| !host.is_empty());
        match draft.destination.take() {
            Some(found) => match found.check_and_change(draft.plan, self.domains, own_host, &mut draft.notes) {
                Ok(url) => draft.record.url = url,
                Err(mistake) => draft.mistakes.push(mistake),
            },
            // A value of another type is a mistake already.
            None => {
                let column = draft.name_of_column(|role| role == Role::Destination);
                if !draft.mistakes.iter().any(|mistake| mistake.column == column) {
                    let message = "is absent; a link needs a destination".to_owned();
                    draft.mistakes.push(Mistake { column, rule: "url-missing", message });
                }
            }
        }
        if let Some(found) = draft.fallback.take() {
            match found.check_and_change(draft.plan, self.domains, own_host, &mut draft.notes) {
                Ok(url) => draft.record.fallback_url = Some(url),
                Err(mistake) => draft.mistakes.push(mistake),
            }
        }
    }

    fn check_record(
        &self,
        record: Record,
        code_column: String,
        notes: &mut Vec<Note>,
    ) -> Result<CheckedRecord, (Vec<RecordError>, String)> {
        let ImportRules { policy, domains, now_ms } = *self;
        let valid = match Link::check_and_build_from_record(&record, policy, domains, now_ms, 0) {
            Ok(valid) => valid,
            Err(errors) => return Err((errors, code_column)),
        };
        let warnings = valid.warnings.into_iter();
        notes.extend(warnings.map(|warning| Note {
            kind: NoteKind::Unusual,
            column: None,
            message: warning.to_string(),
        }));
        let has_ended = valid.link.state_at(now_ms) == LinkState::Expired;
        if has_ended {
            let message = format!("{} has ended already: its 100 days or its own end are over", quote(&record.code));
            notes.push(Note { kind: NoteKind::AlreadyEnded, column: None, message });
        }
        Ok(CheckedRecord { domain: valid.link.domain(), record, code_column, has_ended })
    }
}

/// The column that writes host and code once more.
#[derive(Clone, Copy)]
struct RepeatedShortLink<'a> {
    column: &'a str,
    link: ShortLink<'a>,
}

/// A code of the row and the domain that has it.
struct ResolvedCode {
    column: String,
    code: String,
    domain: String,
}

/// Every code of the row. Adds a mistake where the host of one is not mapped, or two columns contradict each other.
fn collect_codes(draft: &mut LinkDraft<'_>, repeated: Option<RepeatedShortLink<'_>>) -> Vec<ResolvedCode> {
    let found = draft.code.take().unwrap_or_else(|| FoundText {
        column: draft.name_of_column(|role| matches!(role, Role::Code | Role::ShortLink)).unwrap_or_default(),
        text: String::new(),
    });
    let host = draft.short_host.take();
    let mut codes = Vec::with_capacity(1 + draft.more_short_links.len());
    if found.text.is_empty() && host.is_none() && draft.plan.default_domain.is_none() && repeated.is_none() {
        let message = "is empty; a link needs a code";
        draft.mistakes.push(Mistake::of_column(&found.column, "code-empty", message));
    } else if let Some(domain) = resolve_domain(draft, host.as_ref(), repeated) {
        add_contradiction(draft, &found, host.as_ref(), repeated);
        add_code(draft, &mut codes, found, domain);
    }
    for further in std::mem::take(&mut draft.more_short_links) {
        let link = ShortLink::split(&further.text);
        let host = FoundText { column: further.column.clone(), text: link.host.to_owned() };
        if let Some(domain) = resolve_domain(draft, Some(&host), None) {
            let code = FoundText { column: further.column, text: link.code.to_owned() };
            add_code(draft, &mut codes, code, domain);
        }
    }
    codes
}

/// The domain of a short host; a row that names none has that of `--domain`.
fn resolve_domain(
    draft: &mut LinkDraft<'_>,
    host: Option<&FoundText>,
    repeated: Option<RepeatedShortLink<'_>>,
) -> Option<String> {
    let plan = draft.plan;
    if plan.has_column_of(Role::Field(RecordField::Domain)) && host.is_none() {
        return Some(draft.record.domain.clone());
    }
    let mapped = |host: &str| plan.domain_of_host.get(&host.trim().to_ascii_lowercase()).cloned();
    let unmapped = match host {
        Some(host) => match mapped(&host.text) {
            Some(domain) => return Some(domain),
            None => Mistake::of_column(&host.column, "host-unmapped", describe_unmapped_host(&host.text)),
        },
        None => match (&plan.default_domain, repeated) {
            (Some(domain), _) => return Some(domain.clone()),
            (None, Some(repeated)) => match mapped(repeated.link.host) {
                Some(domain) => return Some(domain),
                None => {
                    Mistake::of_column(repeated.column, "host-unmapped", describe_unmapped_host(repeated.link.host))
                }
            },
            (None, None) => {
                let column = draft.name_of_column(|role| matches!(role, Role::ShortHost | Role::ShortLink));
                let message = "names no short host; --domain gives the domain of such rows".to_owned();
                Mistake { column, rule: "host-unmapped", message }
            }
        },
    };
    draft.mistakes.push(unmapped);
    None
}

fn describe_unmapped_host(host: &str) -> String {
    format!("the short host {} has no domain; --map-host {}=DOMAIN gives one", quote(host), host.trim())
}

/// Adds a mistake where the repeated short link is not the one of the other columns.
fn add_contradiction(
    draft: &mut LinkDraft<'_>,
    code: &FoundText,
    host: Option<&FoundText>,
    repeated: Option<RepeatedShortLink<'_>>,
) {
    let Some(RepeatedShortLink { column, link }) = repeated.filter(|repeated| !repeated.link.host.is_empty()) else {
        return;
    };
    let is_same_host = host.is_none_or(|host| host.text.trim().eq_ignore_ascii_case(link.host));
    if !is_same_host {
        let named = host.map_or("", |host| &host.text);
        let message = format!("names the host {}, and another column {}", quote(link.host), quote(named));
        draft.mistakes.push(Mistake::of_column(column, "contradiction", message));
    } else if !code.text.is_empty() && !link.has_code(&code.text) {
        let message = format!("ends in {}, and the code is {}", quote(link.code), quote(&code.text));
        draft.mistakes.push(Mistake::of_column(column, "contradiction", message));
    }
}

fn add_code(draft: &mut LinkDraft<'_>, codes: &mut Vec<ResolvedCode>, found: FoundText, domain: String) {
    let FoundText { column, text: mut code } = found;
    if let Some(prefix) = &draft.plan.strip_prefix
        && let Some(rest) = code.strip_prefix(prefix.as_str())
    {
        let message = format!("{} loses the prefix {}", quote(&code), quote(prefix));
        draft.notes.push(Note::of_column(NoteKind::PrefixStripped, &column, message));
        code = rest.to_owned();
    }
    if draft.plan.spec.root_code == Some(code.as_str()) {
        let message = "is the link of the host itself; set the domain's root_url";
        draft.mistakes.push(Mistake::of_column(&column, "code-empty", message));
    } else if !codes.iter().any(|known| known.domain == domain && known.code == code) {
        codes.push(ResolvedCode { column, code, domain });
    }
}

/// The mistake of an error of a record, at the column that the field came from.
fn locate_error(draft: &LinkDraft<'_>, error: RecordError, code_column: &str) -> Mistake {
    let column = match error.field {
        "code" => Some(code_column.to_owned()),
        "url" => draft.name_of_column(|role| role == Role::Destination),
        "created_at" => draft.name_of_column(|role| role == Role::CreatedAt),
        "starts_at" => draft.name_of_column(|role| role == Role::StartsAt),
        "expires_at" => draft.name_of_column(|role| matches!(role, Role::ExpiresAt | Role::ExpiresAtMs)),
        "fallback_url" => draft.name_of_column(|role| role == Role::FallbackUrl),
        "title" => draft.name_of_column(|role| role == Role::Title),
        "tags" => draft.name_of_column(|role| matches!(role, Role::Tags(_))),
        field => draft.name_of_column(|role| matches!(role, Role::Field(taken) if taken.record_name() == field)),
    };
    let hint = match (error.rule, error.field) {
        ("code-character", _) => "; --strip-prefix cuts a prefix off",
        ("code-empty", _) => "; the link of the host itself is the domain's root_url",
        ("url-entity", _) => "; --html-entities decode decodes it",
        ("date-missing", _) => "; --created-at gives one for every row",
        ("title" | "tags", _) => "; --ignore-column leaves the column out",
        _ => "",
    };
    let message = match &column {
        Some(_) => format!("{}{hint}", error.message),
        None => format!("{}: {}{hint}", error.field, error.message),
    };
    Mistake { column, rule: error.rule, message }
}
