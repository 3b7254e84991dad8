//! The options of an import, checked against the format and the configuration: what becomes of each column, and where
//! each short host leads.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    import::{
        column::{FormatSpec, Layout, Role, TimeStyle},
        format::Format,
        options::{Assignment, CreatedAt, HtmlEntities, ImportOptions, InvalidOption, Placeholders},
        record_field::RecordField,
    },
    links::domains::Domains,
    model::link::record::Record,
};

/// A column of the file at hand.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// The name as the file writes it, or as the format does.
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    /// Whether `--drop` names the column.
    pub(super) is_dropped: bool,
}

/// A checked import.
#[derive(Debug)]
pub(super) struct ImportPlan {
    pub(super) spec: &'static FormatSpec,
    /// The fields that every record has unless its row sets them.
    pub(super) template: Record,
    /// The domain of each short host, in lower case.
    pub(super) domain_of_host: HashMap<String, String>,
    pub(super) default_domain: Option<String>,
    pub(super) zone: Option<TimeZone>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) date_format: Option<String>,
    pub(super) strip_prefix: Option<String>,
    pub(super) placeholders: Placeholders,
    pub(super) html_entities: HtmlEntities,
    pub(super) separator: u8,
    pub(super) table: Option<String>,
    pub(super) allow_partial: bool,
    pub(super) allow_empty: bool,
    dropped: HashSet<String>,
    ignored: HashSet<String>,
    taken: HashMap<String, RecordField>,
    /// The columns of `--column`.
    named: HashMap<String, Role>,
}

impl ImportPlan {
    /// Checks the options.
    ///
    /// # Errors
    /// Every option that does not fit.
    pub(super) fn check_options_and_build(
        options: &ImportOptions,
        domains: &Domains,
        now_ms: u64,
    ) -> Result<ImportPlan, Vec<InvalidOption>> {
        let mut errors = Vec::new();
        let spec = options.format.spec();
        let now = || Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(0)).unwrap_or_default();
        let plan = ImportPlan {
            spec,
            template: build_template(options, &mut errors),
            domain_of_host: collect_host_map(&options.map_host, domains, &mut errors),
            default_domain: options.domain.clone(),
            zone: options.zone.clone(),
            created_at: options.created_at.as_ref().map(|created_at| match created_at {
                CreatedAt::Now => now(),
                CreatedAt::At(time) => *time,
            }),
            date_format: options.date_format.clone(),
            strip_prefix: options.strip_prefix.clone(),
            placeholders: options.placeholders,
            html_entities: options.html_entities,
            separator: check_separator(options.separator, &mut errors),
            table: options.table.clone(),
            allow_partial: options.allow_partial,
            allow_empty: options.allow_empty,
            dropped: options.drop.iter().map(|name| fold(name)).collect(),
            ignored: options.ignore_column.iter().map(|name| fold(name)).collect(),
            taken: collect_taken_columns(&options.take, &mut errors),
            named: collect_named_columns(options, &mut errors),
        };
        plan.add_errors_of_domain(options, domains, &mut errors);
        plan.add_errors_of_times(&mut errors);
        plan.add_errors_of_drop(options, &mut errors);
        if errors.is_empty() { Ok(plan) } else { Err(errors) }
    }

    fn add_errors_of_domain(&self, options: &ImportOptions, domains: &Domains, errors: &mut Vec<InvalidOption>) {
        let column_names_domain = self.has_column_of(Role::Field(RecordField::Domain));
        let column_names_host = self.spec.names_short_hosts() || self.has_column_of(Role::ShortLink);
        match &options.domain {
            Some(domain) => errors.extend(find_error_of_domain("domain", domain, domains)),
            None if column_names_domain || column_names_host => {}
            None => errors.push(InvalidOption::new(
                "domain",
                format!(
                    "is needed: {} names no short host; '*' is every host that is not configured",
                    options.format.as_str()
                ),
            )),
        }
        if column_names_host && self.domain_of_host.is_empty() && options.domain.is_none() {
            errors.push(InvalidOption::new(
                "map-host",
                "is needed: which domain of the configuration has the codes of the short host? Give SHORT=DOMAIN",
            ));
        }
    }

    fn add_errors_of_times(&self, errors: &mut Vec<InvalidOption>) {
        let has_times = self.has_column_of(Role::CreatedAt);
        if self.created_at.is_none() && !has_times && !self.template.test {
            let message = "is needed: the file has no times; give one such as 2026-11-01T00:00:00Z, or now";
            errors.push(InvalidOption::new("created-at", message));
        }
        let reads_local_times = self.spec.times == TimeStyle::Local && self.created_at.is_none();
        if reads_local_times && has_times && self.zone.is_none() {
            let message = "is needed: the times are those of the server's clock; give its zone, such as Europe/Berlin";
            errors.push(InvalidOption::new("zone", message));
        }
    }

    fn add_errors_of_drop(&self, options: &ImportOptions, errors: &mut Vec<InvalidOption>) {
        let has_feature = |role| matches!(role, Role::Unsupported | Role::Status | Role::RedirectType);
        let features =
            || self.spec.columns.iter().filter(|column| has_feature(column.role)).flat_map(|column| column.names);
        for name in &options.drop {
            if !features().any(|feature| feature.eq_ignore_ascii_case(name)) {
                let known: Vec<&str> = features().copied().collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!(
                    "{name:?} is no feature of {}; its features that Waypost lacks: {known}. \
                     --ignore-column leaves a column out",
                    options.format.as_str()
                );
                errors.push(InvalidOption::new("drop", message));
            }
        }
    }

    /// What becomes of the column with this name; `None` if the format has no such column.
    pub(super) fn find_column(&self, name: &str) -> Option<Column> {
        let folded = fold(name);
        let role = if self.ignored.contains(&folded) {
            Role::LeftOut
        } else if let Some(field) = self.taken.get(&folded) {
            Role::Field(*field)
        } else {
            match self.find_role_of_format(&folded)? {
                Role::CreatedAt if self.created_at.is_some() => Role::LeftOut,
                role => role,
            }
        };
        Some(Column { name: name.trim().into(), role, is_dropped: self.dropped.contains(&folded) })
    }

    fn find_role_of_format(&self, folded: &str) -> Option<Role> {
        let is_name = |known: &&str| known.eq_ignore_ascii_case(folded);
        let spec = self.spec.columns.iter().find(|column| column.names.iter().any(is_name));
        spec.map(|column| column.role)
            .or_else(|| self.named.get(folded).copied())
            .or_else(|| self.spec.left_out.iter().any(is_name).then_some(Role::LeftOut))
    }

    /// The names of the columns that a table must have; one of each list.
    pub(super) fn required_columns(&self) -> impl Iterator<Item = RequiredColumn<'_>> {
        let of_format = self.spec.columns.iter().filter(|column| column.is_required).map(|column| RequiredColumn {
            names: column.names.to_vec(),
            hint: match column.role {
                Role::CreatedAt => "; if the export has no times, give --created-at",
                _ => "",
            },
            is_needed: column.role != Role::CreatedAt || self.created_at.is_none(),
        });
        let of_options = self.named.keys().map(|name| RequiredColumn { names: vec![name], hint: "", is_needed: true });
        of_format.chain(of_options).filter(|column| column.is_needed)
    }

    /// Every column that rows of objects may have: their names stand in no header.
    pub(super) fn all_columns(&self) -> Vec<Column> {
        let names = self.spec.columns.iter().flat_map(|column| column.names).chain(self.spec.left_out).copied();
        let mut seen = HashSet::new();
        let given = self.taken.keys().chain(&self.ignored).map(String::as_str);
        let all = names.chain(given).filter(|name| seen.insert(fold(name)));
        all.filter_map(|name| self.find_column(name)).collect()
    }

    /// Whether a column of the format or of `--column` has the role.
    pub(super) fn has_column_of(&self, role: Role) -> bool {
        self.spec.has_role(role) || self.named.values().any(|named| *named == role)
    }

    /// Whether the rows are objects of JSON.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.spec.layout, Layout::Json(_))
    }
}

/// A column without which a table is refused.
pub(super) struct RequiredColumn<'a> {
    /// Its names; one is enough.
    pub(super) names: Vec<&'a str>,
    /// What else to do, for the message.
    pub(super) hint: &'static str,
    is_needed: bool,
}

/// The form in which names of columns are compared.
pub(super) fn fold(name: &str) -> String {
    name.trim().to_lowercase()
}

/// A record with the fields of `--defaults`.
fn build_template(options: &ImportOptions, errors: &mut Vec<InvalidOption>) -> Record {
    let mut record = Record::plain_with_defaults();
    let mut has_kind = options.column.iter().any(|column| column.key == "kind");
    for Assignment { key, value } in &options.defaults {
        has_kind |= key == "kind";
        let Some(field) = RecordField::from_word(key).filter(|field| *field != RecordField::Domain) else {
            let known: Vec<&str> = RecordField::ALL.iter().map(|field| field.as_str()).collect();
            let message = format!("{key:?} is no field with a default; allowed are {}", known.join(", "));
            errors.push(InvalidOption::new("defaults", message.replace("domain, ", "")));
            continue;
        };
        if let Err(message) = field.parse_and_set(&mut record, value) {
            errors.push(InvalidOption::new("defaults", format!("{key}: {message}")));
        }
    }
    if !has_kind {
        let message =
            "needs kind=…: product, showcase, campaign or plain; an export does not say what its links stand for";
        errors.push(InvalidOption::new("defaults", message));
    }
    record
}

fn collect_host_map(
    map_host: &[Assignment],
    domains: &Domains,
    errors: &mut Vec<InvalidOption>,
) -> HashMap<String, String> {
    let mut map = HashMap::new();
    for Assignment { key: host, value: domain } in map_host {
        errors.extend(find_error_of_domain("map-host", domain, domains));
        if map.insert(host.to_ascii_lowercase(), domain.clone()).is_some_and(|other| other != *domain) {
            errors.push(InvalidOption::new("map-host", format!("{host} is mapped to two domains")));
        }
    }
    map
}

fn find_error_of_domain(option: &'static str, domain: &str, domains: &Domains) -> Option<InvalidOption> {
    if domains.find_by_name(domain).is_some() {
        return None;
    }
    let known: Vec<&str> = domains.all().iter().take(10).map(|domain| &*domain.name).collect();
    let message = format!("{domain:?} is not configured; configured are {}", known.join(", "));
    Some(InvalidOption::new(option, message))
}

fn check_separator(separator: char, errors: &mut Vec<InvalidOption>) -> u8 {
    match u8::try_from(separator) {
        Ok(byte) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(&byte) => byte,
        _ => {
            let message = format!("{separator:?} cannot part fields; allowed are ',', ';', '|', a tab and the like");
            errors.push(InvalidOption::new("separator", message));
            b','
        }
    }
}

fn collect_taken_columns(take: &[Assignment], errors: &mut Vec<InvalidOption>) -> HashMap<String, RecordField> {
    let mut taken = HashMap::new();
    for Assignment { key: column, value: name } in take {
        match RecordField::from_word(name) {
            Some(field) => _ = taken.insert(fold(column), field),
            None => errors.push(unknown_field("take", name)),
        }
    }
    taken
}

fn collect_named_columns(options: &ImportOptions, errors: &mut Vec<InvalidOption>) -> HashMap<String, Role> {
    let mut named = HashMap::new();
    let is_table = options.format == Format::Csv;
    if !is_table && (!options.column.is_empty() || options.date_format.is_some()) {
        let message = format!("belongs to --format csv; {} has columns and times of its own", options.format.as_str());
        errors.push(InvalidOption::new("column or --date-format", message));
    }
    for Assignment { key: field, value: column } in &options.column {
        match find_role_of_field(field) {
            Some(role) => {
                if named.insert(fold(column), role).is_some() {
                    errors.push(InvalidOption::new("column", format!("{column:?} is given to two fields")));
                }
            }
            None => errors.push(unknown_field("column", field)),
        }
    }
    let has = |role| named.values().any(|known| *known == role);
    if is_table && !(has(Role::Destination) && (has(Role::Code) || has(Role::ShortLink))) {
        let message = "must name the columns of url, and of code or short_link, such as --column 'url=Product link'";
        errors.push(InvalidOption::new("column", message));
    }
    named
}

fn unknown_field(option: &'static str, name: &str) -> InvalidOption {
    let mut known: Vec<&str> = RecordField::ALL.iter().map(|field| field.as_str()).collect();
    if option == "column" {
        known.extend(["code", "short_link", "url", "created_at", "starts_at", "expires_at", "fallback_url", "tags"]);
    }
    InvalidOption::new(option, format!("{name:?} is no field for a column; allowed are {}", known.join(", ")))
}

/// The role of a column of any table.
fn find_role_of_field(field: &str) -> Option<Role> {
    Some(match field {
        "code" => Role::Code,
        "short_link" => Role::ShortLink,
        "url" => Role::Destination,
        "created_at" => Role::CreatedAt,
        "starts_at" => Role::StartsAt,
        "expires_at" => Role::ExpiresAt,
        "fallback_url" => Role::FallbackUrl,
        "tags" => Role::Tags(&['|', ';', ',']),
        "title" => Role::Title,
        name => Role::Field(RecordField::from_word(name)?),
    })
}
