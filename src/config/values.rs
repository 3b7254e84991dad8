//! The values of a configuration before their sections read them. They come from the file, then from the environment,
//! then from flags; a later one replaces an earlier one of the same key.
//!
//! A section reads each of its values alone, so that one run finds every error of every section, and then all valid
//! ones together.

use std::{collections::BTreeMap, ffi::OsString, path::Path, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    environment::Variable,
    errors::{ConfigError, ValueSource},
    origin::{ConfigFile, OverriddenValue},
    type_error::explain_type_error,
};
use crate::invalid_value::InvalidValue;

/// The parts of a key, the section first.
pub(super) type KeyPath = Vec<String>;

/// One value that is not a table, or an empty table.
#[derive(Debug)]
struct ConfigValue {
    value: Value,
    source: ValueSource,
    /// From the environment or a flag: the section's type decides whether the text is a number, a list or a string.
    is_untyped_text: bool,
}

/// All values that were written, and the errors found so far.
#[derive(Debug, Default)]
pub(super) struct ConfigValues {
    values: BTreeMap<KeyPath, ConfigValue>,
    /// The lines on which tables begin, for errors about a key that a table lacks.
    tables: BTreeMap<KeyPath, ValueSource>,
    errors: Vec<ConfigError>,
    overridden: Vec<OverriddenValue>,
    file: Option<ConfigFile>,
}

/// The table whose keys are dotted names themselves. `security.protocol`, `"security.protocol"` and `security_protocol`
/// are one key. Only the suffix of `sasl.password_file`, which names a file that holds the value, keeps its underscore.
const DOTTED_KEYS_TABLE: [&str; 2] = ["kafka", "properties"];

impl ConfigValues {
    /// Adds the values of a file. Every syntax error is recorded; whatever could be parsed is still validated.
    pub(super) fn read_file_and_add_values(&mut self, path: &Path) {
        let file: Arc<Path> = path.into();
        match std::fs::read_to_string(path) {
            Ok(text) => {
                self.parse_toml_and_add_values_and_errors(&file, &text);
                self.file = Some(ConfigFile { path: path.to_owned(), text });
            }
            Err(error) => self.errors.push(ConfigError {
                source: ValueSource::Default,
                key: String::new(),
                message: format!("{}: cannot be read: {error}", path.display()),
            }),
        }
    }

    /// Adds the values of a TOML text; `file` is the name that errors give.
    pub(super) fn parse_toml_and_add_values_and_errors(&mut self, file: &Arc<Path>, text: &str) {
        let source_at = |offset: usize| {
            let before = &text.as_bytes()[..offset.min(text.len())];
            ValueSource::File(file.clone(), 1 + memchr::memchr_iter(b'\n', before).count())
        };
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        for error in &syntax_errors {
            let source = source_at(error.span().map_or(0, |span| span.start));
            self.errors.push(ConfigError { source, key: String::new(), message: single_line(error.message()) });
        }
        self.add_values_of_table(&mut Vec::new(), document.get_ref(), &source_at);
    }

    fn add_values_of_table(
        &mut self,
        path: &mut KeyPath,
        table: &DeTable<'_>,
        source_at: &impl Fn(usize) -> ValueSource,
    ) {
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            let source = source_at(name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => {
                    self.tables.insert(path.clone(), source);
                    self.add_values_of_table(path, inner, source_at);
                }
                DeValue::Array(entries)
                    if path.len() == 1 && entries.iter().all(|entry| entry.get_ref().is_table()) =>
                {
                    self.add_values_of_tables_by_number(path, entries, source_at);
                }
                _ => match Value::deserialize(toml::de::ValueDeserializer::from(value.clone())) {
                    Ok(value) => {
                        let value = ConfigValue { value, source, is_untyped_text: false };
                        self.values.insert(to_dotted_kafka_property_key(path), value);
                    }
                    Err(error) => self.errors.push(ConfigError {
                        source,
                        key: format_toml_key(path),
                        message: single_line(error.message()),
                    }),
                },
            }
            path.pop();
        }
    }

    /// Adds the values of a section that is a list of tables: the second table's `path` has the key `SECTION.2.path`.
    fn add_values_of_tables_by_number(
        &mut self,
        path: &mut KeyPath,
        tables: &[Spanned<DeValue<'_>>],
        source_at: &impl Fn(usize) -> ValueSource,
    ) {
        for (number, table) in (1..).zip(tables) {
            let DeValue::Table(inner) = table.get_ref() else { continue };
            path.push(u32::to_string(&number));
            let source = source_at(table.span().start);
            if inner.is_empty() {
                let value = ConfigValue { value: Value::Table(Table::new()), source, is_untyped_text: false };
                self.values.insert(path.clone(), value);
            } else {
                self.tables.insert(path.clone(), source);
                self.add_values_of_table(path, inner, source_at);
            }
            path.pop();
        }
    }

    /// Adds the environment variables `WAYPOST__SECTION__KEY`. Another variable that begins like them is an error.
    pub(super) fn add_values_of_environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
        sections: &[&str],
    ) {
        for (name, value) in variables {
            match Variable::classify(&name, &value, sections) {
                Variable::Foreign => {}
                Variable::SetsKey { name, key, value } => {
                    let path = to_dotted_kafka_property_key(&self.find_key_path_of_variable(key));
                    self.set_text_over_earlier_source(path, value, ValueSource::Environment(name.to_owned()));
                }
                Variable::Mistake { name, message } => {
                    let source = ValueSource::Environment(name);
                    self.errors.push(ConfigError { source, key: String::new(), message });
                }
            }
        }
    }

    /// Sets the value of a variable or a flag, and remembers the place whose value it overrides.
    fn set_text_over_earlier_source(&mut self, path: KeyPath, text: &str, source: ValueSource) {
        let value = ConfigValue { value: Value::String(text.to_owned()), source, is_untyped_text: true };
        let overrides = value.source.clone();
        if let Some(earlier) = self.values.insert(path.clone(), value) {
            let (key, written) = (format_toml_key(&path), earlier.source);
            self.overridden.push(OverriddenValue { key, written, overrides });
        }
    }

    /// The values that a variable or a flag overrides, in the order in which they were overridden.
    pub(super) fn take_overridden_values(&mut self) -> Vec<OverriddenValue> {
        std::mem::take(&mut self.overridden)
    }

    /// The text of the file, if one was read.
    pub(super) fn take_file(&mut self) -> Option<ConfigFile> {
        self.file.take()
    }

    /// The key that a variable sets. A host is matched against the file's hosts with `.` and `-` written as `_`; if no
    /// host of the file matches, every `_` stands for a dot. `DEFAULT` is the host `*`.
    fn find_key_path_of_variable(&self, name_without_prefix: &str) -> KeyPath {
        let mut path: KeyPath = name_without_prefix.split("__").map(str::to_lowercase).collect();
        if path.first().is_some_and(|section| section == "domains") && path.len() > 1 {
            let flatten = |host: &str| host.to_lowercase().replace(['.', '-'], "_");
            let known = self.values.keys().chain(self.tables.keys());
            let mut hosts = known.filter(|key| key.len() > 1 && key[0] == "domains").map(|key| &key[1]);
            path[1] = match hosts.find(|host| flatten(host) == flatten(&path[1])) {
                Some(host) => host.clone(),
                None if path[1] == "default" => "*".to_owned(),
                None => path[1].replace('_', "."),
            };
        }
        path
    }

    /// Adds the value of a flag.
    pub(super) fn set_value_from_flag(&mut self, flag: &'static str, key: &[&str], text: String) {
        let path = key.iter().map(|part| (*part).to_owned()).collect();
        self.set_text_over_earlier_source(path, &text, ValueSource::Flag(flag));
    }

    /// Records an error for each section that is not in `known`.
    pub(super) fn add_errors_of_unknown_sections(&mut self, known: &[&str]) {
        let unknown: Vec<_> = self.values.iter().filter(|(path, _)| !known.contains(&path[0].as_str())).collect();
        let mut reported = Vec::new();
        for (path, value) in unknown {
            // One error for a section of the file, not one for each of its keys; each variable is an error of its own.
            if matches!(value.source, ValueSource::File(..)) && reported.contains(&&path[0]) {
                continue;
            }
            reported.push(&path[0]);
            let table = self.tables.get(&path[..1]).filter(|_| matches!(value.source, ValueSource::File(..)));
            self.errors.push(ConfigError {
                source: table.unwrap_or(&value.source).clone(),
                key: format_toml_key(&path[..1]),
                message: format!("unknown section; allowed: {}", known.join(", ")),
            });
        }
    }

    /// Reads one section: each value alone, then the valid ones together, then the section's own rules. `validate`
    /// returns each invalid key, relative to the section, with what was found and what is allowed.
    pub(super) fn parse_and_validate_section<T: Default + DeserializeOwned>(
        &mut self,
        name: &str,
        list_invalid_values: impl Fn(&T) -> Vec<InvalidValue>,
    ) -> T {
        let mut merged = Table::new();
        let mut all_valid = true;
        for (path, value) in self.values.iter().filter(|(path, _)| path[0] == name) {
            if path.len() == 1 && value.value.as_table().is_some_and(Table::is_empty) {
                continue;
            }
            match value.convert_to_form_accepted_by_section_type::<T>(&path[1..]) {
                Ok(parsed) => insert_at_path_creating_tables(&mut merged, &path[1..], parsed),
                Err(message) => {
                    all_valid = false;
                    self.errors.push(ConfigError { source: value.source.clone(), key: format_toml_key(path), message });
                }
            }
        }
        match T::deserialize(Value::Table(merged)) {
            Ok(section) => {
                for InvalidValue { key, message } in list_invalid_values(&section) {
                    let source = self.find_source_of_key_or_nearest_table(name, &key);
                    self.errors.push(ConfigError { source, key: full_key(name, &key), message });
                }
                section
            }
            Err(error) => {
                // Values that are valid alone do not fit together. Where one was refused already, this error only
                // repeats that one.
                if all_valid {
                    let source = self.find_source_of_key_or_nearest_table(name, "");
                    let message = explain_type_error(error.message());
                    self.errors.push(ConfigError { source, key: name.to_owned(), message });
                }
                T::default()
            }
        }
    }

    /// Where a key was written, or else the nearest table around it.
    pub(super) fn find_source_of_key_or_nearest_table(&self, section: &str, key: &str) -> ValueSource {
        let mut wanted = full_key(section, key).replace('"', "");
        loop {
            let value = self.values.iter().find(|(path, _)| path.join(".") == wanted).map(|(_, value)| &value.source);
            let table = self.tables.iter().find(|(path, _)| path.join(".") == wanted).map(|(_, source)| source);
            if let Some(source) = value.or(table) {
                return source.clone();
            }
            match wanted.rfind('.') {
                Some(dot) => wanted.truncate(dot),
                None => return ValueSource::Default,
            }
        }
    }

    /// Where exactly this key was written; [`ValueSource::Default`] if nowhere.
    pub(super) fn find_exact_source_or_default(&self, path: &[String]) -> ValueSource {
        let inside_list = |written: &KeyPath| path.starts_with(written);
        let written = self.values.iter().rfind(|(written, _)| inside_list(written));
        written.map_or(ValueSource::Default, |(_, value)| value.source.clone())
    }

    /// Every error, in the order of the file, then the environment, then the flags.
    pub(super) fn take_errors_in_source_order(&mut self) -> Vec<ConfigError> {
        self.errors.sort_by_key(|error| match &error.source {
            ValueSource::File(_, line) => (0, *line),
            ValueSource::Environment(_) => (1, 0),
            ValueSource::Flag(_) => (2, 0),
            ValueSource::Default => (3, 0),
        });
        std::mem::take(&mut self.errors)
    }
}

impl ConfigValue {
    /// The value in the form that the section's type accepts, or why the type refuses it.
    fn convert_to_form_accepted_by_section_type<T: DeserializeOwned>(&self, path: &[String]) -> Result<Value, String> {
        let try_value = |value: &Value| {
            let mut table = Table::new();
            insert_at_path_creating_tables(&mut table, path, value.clone());
            // A value in place of a section is passed on as it is: the section's type refuses it in its own words.
            let section = if path.is_empty() { value.clone() } else { Value::Table(table) };
            T::deserialize(section).map(|_| value.clone()).map_err(|error| explain_type_error(error.message()))
        };
        let as_written = try_value(&self.value);
        let (Err(text_error), true) = (&as_written, self.is_untyped_text) else { return as_written };
        let text = self.value.as_str().unwrap_or_default();
        let parsed = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        if let Some(value) = parsed {
            // Of a list or a table the error about its entries says more; else the text is what was written.
            let is_text_meant = !matches!(value, Value::Array(_) | Value::Table(_));
            return try_value(&value).map_err(|error| if is_text_meant { text_error.clone() } else { error });
        }
        let parts = text.split(',').map(|part| Value::String(part.trim().to_owned())).collect();
        // Where a list is wanted, the error about its entries says more.
        try_value(&Value::Array(parts))
            .map_err(|list_error| if text_error.contains("allowed: a list") { list_error } else { text_error.clone() })
    }
}

fn insert_at_path_creating_tables(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            // An empty table declares a name; it never removes a value that was written below that name.
            if !(value.as_table().is_some_and(Table::is_empty) && table.contains_key(last)) {
                table.insert(last.clone(), value);
            }
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Some(inner) = inner.as_table_mut() {
                insert_at_path_creating_tables(inner, rest, value);
            }
        }
    }
}

/// The path, with the parts below [`DOTTED_KEYS_TABLE`] joined to one key.
fn to_dotted_kafka_property_key(path: &[String]) -> KeyPath {
    let prefix = DOTTED_KEYS_TABLE;
    if path.len() <= prefix.len() || path.iter().zip(prefix).any(|(part, name)| part != name) {
        return path.to_vec();
    }
    let (table, name) = path.split_at(prefix.len());
    let name = name.join(".");
    let (name, suffix) = name.strip_suffix("_file").map_or((&*name, ""), |name| (name, "_file"));
    table.iter().cloned().chain([name.replace('_', ".") + suffix]).collect()
}

/// The key as a TOML file writes it: parts that are not bare keys are quoted.
pub(super) fn format_toml_key(path: &[String]) -> String {
    let is_bare = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let parts: Vec<_> = path.iter().map(|p| if is_bare(p) { p.clone() } else { format!("\"{p}\"") }).collect();
    parts.join(".")
}

fn full_key(section: &str, key: &str) -> String {
    if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") }
}

fn single_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
