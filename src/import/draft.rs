//! One row on its way to a record: takes the cells one by one, and gathers what is wrong with them.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    import::{
        cell::{Cell, quote},
        column::Role,
        dates::TimeReading,
        destination::FoundUrl,
        outcome::{Mistake, Note, NoteKind},
        plan::{Column, ImportPlan},
        record_field::{RecordField, parse_flag},
        short_link::ShortLink,
    },
    model::link::{QueryPolicy, record::Record},
};

/// A text of the row and the column that has it.
#[derive(Debug)]
pub(super) struct FoundText {
    pub(super) column: String,
    pub(super) text: String,
}

/// The cells of a row so far.
#[derive(Debug)]
pub(super) struct LinkDraft<'p> {
    pub(super) plan: &'p ImportPlan,
    /// The columns of the row's file.
    columns: &'p [Column],
    pub(super) record: Record,
    pub(super) code: Option<FoundText>,
    pub(super) short_host: Option<FoundText>,
    pub(super) more_short_links: Vec<FoundText>,
    pub(super) repeated_short_link: Option<FoundText>,
    pub(super) destination: Option<FoundUrl>,
    pub(super) fallback: Option<FoundUrl>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) notes: Vec<Note>,
}

impl<'p> LinkDraft<'p> {
    pub(super) fn new(plan: &'p ImportPlan, columns: &'p [Column]) -> LinkDraft<'p> {
        let mut record = plan.template.clone();
        record.created_at = plan.created_at;
        LinkDraft {
            plan,
            columns,
            record,
            code: None,
            short_host: None,
            more_short_links: Vec::new(),
            repeated_short_link: None,
            destination: None,
            fallback: None,
            mistakes: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Takes the value of a column.
    pub(super) fn take_cell(&mut self, column: &Column, cell: Cell<'_>) {
        if let Cell::Expression(text) = &cell
            && column.role != Role::LeftOut
        {
            let message = format!("{} is no text, number or NULL; write the value itself", quote(text));
            return self.refuse(column, "literal", message);
        }
        match column.role {
            Role::LeftOut => {}
            Role::ShortLink => self.take_short_link(column, cell),
            Role::MoreShortLinks => self.take_more_short_links(column, cell),
            Role::Code => self.code = self.take_text(column, cell).or_else(|| Some(FoundText::empty(column))),
            Role::ShortHost => {
                self.short_host = self.take_text(column, cell).filter(|host| !host.text.trim().is_empty())
            }
            Role::RepeatedShortLink => self.repeated_short_link = self.take_text(column, cell),
            Role::Destination => {
                self.destination = self.take_text(column, cell).map(|found| FoundUrl::new(found.column, found.text));
            }
            Role::FallbackUrl => {
                let found = self.take_text(column, cell).filter(|found| !found.text.is_empty());
                self.fallback = found.map(|found| FoundUrl::new(found.column, found.text));
            }
            Role::CreatedAt => self.record.created_at = self.take_time(column, cell),
            Role::StartsAt => self.record.starts_at = self.take_time(column, cell),
            Role::ExpiresAt => self.record.expires_at = self.take_time(column, cell),
            Role::ExpiresAtMs => self.record.expires_at = self.take_time_in_ms(column, cell),
            Role::Title => {
                self.record.title =
                    self.take_text(column, cell).map(|found| found.text).filter(|text| !text.trim().is_empty());
            }
            Role::Tags(separators) => self.take_tags(column, cell, separators),
            Role::Archived | Role::Disabled | Role::DisabledSince | Role::ForwardsQuery => {
                self.take_state(column, cell)
            }
            Role::Status | Role::RedirectType | Role::Unsupported => self.take_feature(column, &cell),
            Role::Field(field) => self.take_field(column, cell, field),
        }
    }

    /// The name that the file gives the column with a role.
    pub(super) fn name_of_column(&self, has_role: impl Fn(Role) -> bool) -> Option<String> {
        self.columns.iter().find(|column| has_role(column.role)).map(|column| column.name.to_string())
    }

    /// Adds a mistake of a column.
    pub(super) fn refuse(&mut self, column: &Column, rule: &'static str, message: impl Into<String>) {
        self.mistakes.push(Mistake::of_column(&column.name, rule, message));
    }

    fn take_short_link(&mut self, column: &Column, cell: Cell<'_>) {
        let Some(found) = self.take_text(column, cell) else {
            self.code = Some(FoundText::empty(column));
            return;
        };
        let link = ShortLink::split(&found.text);
        let text_of = |text: &str| FoundText { column: found.column.clone(), text: text.to_owned() };
        self.code = Some(text_of(link.code));
        self.short_host = Some(text_of(link.host)).filter(|host| !host.text.is_empty());
    }

    fn take_more_short_links(&mut self, column: &Column, cell: Cell<'_>) {
        let Cell::Json(Value::Array(links)) = cell else {
            return if !cell.is_blank() {
                self.refuse_type(column, &cell, "a list of short links")
            };
        };
        for link in links {
            match link.as_str() {
                Some(text) => {
                    self.more_short_links.push(FoundText { column: column.name.to_string(), text: text.to_owned() });
                }
                None => self.refuse_type(column, &Cell::from_json(link), "a short link"),
            }
        }
    }

    /// The text of a cell; `None` for `null`. Another value is a mistake.
    fn take_text(&mut self, column: &Column, cell: Cell<'_>) -> Option<FoundText> {
        match cell {
            Cell::Text(text) => Some(FoundText { column: column.name.to_string(), text: text.into_owned() }),
            Cell::Null => None,
            cell => {
                self.refuse_type(column, &cell, "a text");
                None
            }
        }
    }

    fn refuse_type(&mut self, column: &Column, cell: &Cell<'_>, expected: &str) {
        self.refuse(column, "type", format!("is {}; {expected} belongs here", cell.describe()));
    }

    fn take_time(&mut self, column: &Column, cell: Cell<'_>) -> Option<Timestamp> {
        let text = self.take_text(column, cell)?.text;
        if text.trim().is_empty() {
            return None;
        }
        let plan = self.plan;
        let reading =
            TimeReading { style: plan.spec.times, zone: plan.zone.as_ref(), format: plan.date_format.as_deref() };
        match reading.parse(&text) {
            Ok(read) => {
                if read.is_local_time_twice {
                    let message = format!("{} was shown twice by the clock; {} is taken", quote(&text), read.time);
                    self.notes.push(Note::of_column(NoteKind::LocalTimeTwice, &column.name, message));
                }
                Some(read.time)
            }
            Err(error) => {
                self.refuse(column, error.rule, error.message);
                None
            }
        }
    }

    /// A time as a number of milliseconds since the epoch.
    fn take_time_in_ms(&mut self, column: &Column, cell: Cell<'_>) -> Option<Timestamp> {
        let Cell::Json(Value::Number(number)) = &cell else { return self.take_time(column, cell) };
        let time = number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if time.is_none() {
            self.refuse(column, "date", format!("{number} is no number of milliseconds since 1970"));
        }
        time
    }

    fn take_tags(&mut self, column: &Column, cell: Cell<'_>, separators: &[char]) {
        match &cell {
            Cell::Null => {}
            Cell::Text(text) => match separators.iter().find(|separator| text.contains(**separator)) {
                Some(separator) => text.split(*separator).for_each(|tag| self.add_tag(column, tag)),
                None => self.add_tag(column, text),
            },
            Cell::Json(Value::Array(tags)) => {
                for tag in tags {
                    match tag.as_str().or_else(|| tag.get("name")?.as_str()) {
                        Some(text) => self.add_tag(column, text),
                        None => self.refuse_type(column, &Cell::from_json(tag), "a tag"),
                    }
                }
            }
            _ => self.refuse_type(column, &cell, "a list of tags"),
        }
    }

    fn add_tag(&mut self, column: &Column, tag: &str) {
        let tag = tag.trim();
        if self.record.tags.iter().any(|known| known == tag) {
            let message = format!("{} stands twice and is taken once", quote(tag));
            self.notes.push(Note::of_column(NoteKind::TagRepeated, &column.name, message));
        } else if !tag.is_empty() {
            self.record.tags.push(tag.to_owned());
        }
    }

    fn take_state(&mut self, column: &Column, cell: Cell<'_>) {
        if column.role == Role::DisabledSince {
            if self.take_time(column, cell).is_some() {
                self.disable(column);
            }
            return;
        }
        let flag = match &cell {
            Cell::Null => return,
            Cell::Json(Value::Bool(flag)) => *flag,
            Cell::Json(_) => return self.refuse_type(column, &cell, "true or false"),
            Cell::Text(_) if self.plan.is_json() => return self.refuse_type(column, &cell, "true or false"),
            Cell::Text(text) if text.trim().is_empty() => return,
            Cell::Text(text) => match parse_flag(text) {
                Some(flag) => flag,
                None => return self.refuse(column, "boolean", format!("{} is neither yes nor no", quote(text))),
            },
            Cell::Expression(_) => return,
        };
        match (column.role, flag) {
            (Role::Archived, true) => {
                let message = "is archived at the source, where it still answers; it stays enabled";
                self.notes.push(Note::of_column(NoteKind::ArchivedStaysEnabled, &column.name, message));
            }
            (Role::Disabled, true) => self.disable(column),
            (Role::ForwardsQuery, false) => self.record.query = QueryPolicy::Drop,
            _ => {}
        }
    }

    fn disable(&mut self, column: &Column) {
        self.record.enabled = false;
        let message = "is switched off at the source; it is imported with \"enabled\":false";
        self.notes.push(Note::of_column(NoteKind::Disabled, &column.name, message));
    }

    /// A feature that Waypost lacks.
    fn take_feature(&mut self, column: &Column, cell: &Cell<'_>) {
        let is_usual = |words: &[&str]| match cell {
            Cell::Text(text) => words.iter().any(|word| text.trim().eq_ignore_ascii_case(word)),
            _ => false,
        };
        let is_harmless = match column.role {
            Role::Status => is_usual(&["active"]),
            Role::RedirectType => is_usual(&["301", "302", "303", "307", "308", "metarefresh", "javascript"]),
            _ => false,
        };
        if is_harmless || cell.is_blank() {
            return;
        }
        let found = cell.describe();
        if column.is_dropped {
            let message = format!("{found} is dropped; the link is taken without");
            self.notes.push(Note::of_column(NoteKind::FeatureDropped, &column.name, message));
        } else {
            let message =
                format!("is {found}, a feature that Waypost lacks; --drop {:?} takes the link without", &*column.name);
            self.refuse(column, "unsupported", message);
        }
    }

    fn take_field(&mut self, column: &Column, cell: Cell<'_>, field: RecordField) {
        let text = match cell {
            Cell::Null => return,
            Cell::Json(Value::Number(number)) => Cow::Owned(number.to_string()),
            Cell::Json(Value::Bool(flag)) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            Cell::Text(text) => text,
            cell => return self.refuse_type(column, &cell, "a text"),
        };
        // An empty field leaves the default.
        if text.trim().is_empty() {
            return;
        }
        if let Err(message) = field.parse_and_set(&mut self.record, &text) {
            self.refuse(column, field.record_name(), message);
        }
    }
}

impl FoundText {
    fn empty(column: &Column) -> FoundText {
        FoundText { column: column.name.to_string(), text: String::new() }
    }
}
