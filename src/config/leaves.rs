//! One value of the configuration at a time: where it was written, and whether its section takes it.
//!
//! A *leaf* is a value that is not a table (or a table without keys). Leaves come from the file, then from the
//! environment, then from flags; a later one replaces an earlier one of the same key. A section is read by handing it
//! each leaf alone, so that every mistake of every section is found in one run, and then all good ones together.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use serde::{Deserialize, de::DeserializeOwned};
use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file, on this line (from 1).
    File(Arc<Path>, usize),
    /// In this variable of the environment.
    Variable(String),
    /// After this flag of the command line.
    Flag(&'static str),
    /// Nowhere: a default, or a key that is missing.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path, line) => write!(f, "{}:{line}: ", path.display()),
            Origin::Variable(name) => write!(f, "{name}: "),
            Origin::Flag(flag) => write!(f, "{flag}: "),
            Origin::Default => Ok(()),
        }
    }
}

/// One mistake of the configuration: where, which key, and what was found and is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written.
    pub origin: Origin,
    /// The whole key, such as `edge.limits.uri`; empty where the file itself is broken.
    pub key: String,
    /// What was found and what is allowed.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

type Key = Vec<String>;

#[derive(Debug)]
struct Leaf {
    value: Value,
    origin: Origin,
    /// From the environment: the section's type decides whether the text is a number, a list or a text.
    untyped: bool,
}

/// All leaves that were written, and the mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    leaves: BTreeMap<Key, Leaf>,
    /// The lines on which tables begin, for mistakes about what is missing in one.
    tables: BTreeMap<Key, Origin>,
    mistakes: Vec<Mistake>,
}

/// The table whose keys are themselves dotted names. `security.protocol`, `"security.protocol"` and `security_protocol`
/// are one key; only the end of `sasl.password_file`, which names a file that holds the value, keeps its underscore.
const DOTTED: [&str; 2] = ["kafka", "properties"];

impl Leaves {
    /// Adds the leaves of a file. Every syntax error is a mistake; what could be read is still checked.
    pub(super) fn read_file(&mut self, path: &Path) {
        let name: Arc<Path> = path.into();
        match std::fs::read_to_string(path) {
            Ok(text) => self.read_text(&name, &text),
            Err(error) => self.mistakes.push(Mistake {
                origin: Origin::Default,
                key: String::new(),
                what: format!("{}: cannot be read: {error}", path.display()),
            }),
        }
    }

    pub(super) fn read_text(&mut self, file: &Arc<Path>, text: &str) {
        let at = |offset: usize| {
            let before = &text.as_bytes()[..offset.min(text.len())];
            Origin::File(file.clone(), 1 + memchr::memchr_iter(b'\n', before).count())
        };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let origin = at(error.span().map_or(0, |span| span.start));
            self.mistakes.push(Mistake { origin, key: String::new(), what: one_line(error.message()) });
        }
        self.walk(&mut Vec::new(), document.get_ref(), &at);
    }

    fn walk(&mut self, path: &mut Key, table: &DeTable<'_>, at: &impl Fn(usize) -> Origin) {
        for (name, value) in table {
            path.push(name.get_ref().to_string());
            let origin = at(name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => {
                    self.tables.insert(path.clone(), origin);
                    self.walk(path, inner, at);
                }
                _ => match Value::deserialize(toml::de::ValueDeserializer::from(value.clone())) {
                    Ok(value) => self.insert(joined(path), Leaf { value, origin, untyped: false }),
                    Err(error) => {
                        self.mistakes.push(Mistake { origin, key: dotted(path), what: one_line(error.message()) })
                    }
                },
            }
            path.pop();
        }
    }

    /// Adds what the environment says: `WAYPOST__SECTION__KEY`.
    pub(super) fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix("WAYPOST__") else { continue };
            let path = joined(&self.key_of_variable(rest));
            self.insert(path, Leaf { value: Value::String(text), origin: Origin::Variable(name), untyped: true });
        }
    }

    /// The key a variable stands for. A host is matched against the file's hosts with `.` and `-` written as `_`, else
    /// every `_` in it is a dot; `DEFAULT` is the host `*`.
    fn key_of_variable(&self, rest: &str) -> Key {
        let mut path: Key = rest.split("__").map(str::to_lowercase).collect();
        if path.first().is_some_and(|section| section == "domains") && path.len() > 1 {
            let flat = |host: &str| host.to_lowercase().replace(['.', '-'], "_");
            let known = self.leaves.keys().chain(self.tables.keys());
            let mut hosts = known.filter(|key| key.len() > 1 && key[0] == "domains").map(|key| &key[1]);
            path[1] = match hosts.find(|host| flat(host) == flat(&path[1])) {
                Some(host) => host.clone(),
                None if path[1] == "default" => "*".to_owned(),
                None => path[1].replace('_', "."),
            };
        }
        path
    }

    /// Adds the value of a flag.
    pub(super) fn flag(&mut self, flag: &'static str, key: &[&str], value: Value) {
        let path = key.iter().map(|part| (*part).to_owned()).collect();
        self.insert(path, Leaf { value, origin: Origin::Flag(flag), untyped: true });
    }

    fn insert(&mut self, path: Key, leaf: Leaf) {
        self.leaves.insert(path, leaf);
    }

    /// Refuses sections that nobody reads.
    pub(super) fn refuse_unknown_sections(&mut self, known: &[&str]) {
        let unknown: Vec<_> = self.leaves.iter().filter(|(path, _)| !known.contains(&path[0].as_str())).collect();
        let mut seen = Vec::new();
        for (path, leaf) in unknown {
            // One mistake a section, not one for each of its keys; but each variable is a mistake of its own.
            if matches!(leaf.origin, Origin::File(..)) && seen.contains(&&path[0]) {
                continue;
            }
            seen.push(&path[0]);
            let table = self.tables.get(&path[..1]).filter(|_| matches!(leaf.origin, Origin::File(..)));
            self.mistakes.push(Mistake {
                origin: table.unwrap_or(&leaf.origin).clone(),
                key: dotted(&path[..1]),
                what: format!("unknown section; allowed: {}", known.join(", ")),
            });
        }
    }

    /// Reads one section: each leaf alone, then the good ones together, then its own rules.
    pub(super) fn section<T: Default + DeserializeOwned>(
        &mut self,
        name: &str,
        rules: impl Fn(&T) -> Vec<(String, String)>,
    ) -> T {
        let mut merged = Table::new();
        let mut good = true;
        for (path, leaf) in self.leaves.iter().filter(|(path, _)| path[0] == name) {
            if path.len() == 1 && leaf.value.as_table().is_some_and(Table::is_empty) {
                continue;
            }
            match leaf.typed::<T>(&path[1..]) {
                Ok(value) => insert(&mut merged, &path[1..], value),
                Err(what) => {
                    good = false;
                    self.mistakes.push(Mistake { origin: leaf.origin.clone(), key: dotted(path), what });
                }
            }
        }
        match T::deserialize(Value::Table(merged)) {
            Ok(section) => {
                for (key, what) in rules(&section) {
                    let origin = self.origin_of(name, &key);
                    self.mistakes.push(Mistake { origin, key: whole(name, &key), what });
                }
                section
            }
            Err(error) => {
                // Leaves that are good alone do not fit together; where one was already refused, this is its echo.
                if good {
                    let origin = self.origin_of(name, "");
                    self.mistakes.push(Mistake { origin, key: name.to_owned(), what: one_line(error.message()) });
                }
                T::default()
            }
        }
    }

    /// Where the key of a rule was written: itself, else the nearest table around it.
    fn origin_of(&self, section: &str, key: &str) -> Origin {
        let mut wanted = whole(section, key).replace('"', "");
        loop {
            let leaf = self.leaves.iter().find(|(path, _)| path.join(".") == wanted).map(|(_, leaf)| &leaf.origin);
            let table = self.tables.iter().find(|(path, _)| path.join(".") == wanted).map(|(_, origin)| origin);
            if let Some(origin) = leaf.or(table) {
                return origin.clone();
            }
            match wanted.rfind('.') {
                Some(dot) => wanted.truncate(dot),
                None => return Origin::Default,
            }
        }
    }

    /// Everything found, in the order of the file, then the environment, then the flags.
    pub(super) fn into_mistakes(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|mistake| match &mistake.origin {
            Origin::File(_, line) => (0, *line),
            Origin::Variable(_) => (1, 0),
            Origin::Flag(_) => (2, 0),
            Origin::Default => (3, 0),
        });
        self.mistakes
    }
}

impl Leaf {
    /// The value as the section takes it, or why it does not.
    fn typed<T: DeserializeOwned>(&self, path: &[String]) -> Result<Value, String> {
        let alone = |value: &Value| {
            let mut table = Table::new();
            insert(&mut table, path, value.clone());
            // A value in place of a section is handed over as it is: the section's type refuses it in its words.
            let whole = if path.is_empty() { value.clone() } else { Value::Table(table) };
            T::deserialize(whole).map(|_| value.clone()).map_err(|error| one_line(error.message()))
        };
        let first = alone(&self.value);
        let (Err(as_text), true) = (&first, self.untyped) else { return first };
        let text = self.value.as_str().unwrap_or_default();
        let parsed = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        if let Some(value) = parsed {
            return alone(&value);
        }
        let parts = text.split(',').map(|part| Value::String(part.trim().to_owned())).collect();
        alone(&Value::Array(parts)).map_err(|_| as_text.clone())
    }
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            // An empty table declares a name; it never takes away what was written below that name.
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
                insert(inner, rest, value);
            }
        }
    }
}

/// The path, with the parts below [`DOTTED`] joined to one key.
fn joined(path: &[String]) -> Key {
    if path.len() <= DOTTED.len() || path.iter().zip(DOTTED).any(|(part, name)| part != name) {
        return path.to_vec();
    }
    let (table, name) = path.split_at(DOTTED.len());
    let name = name.join(".");
    let (name, end) = name.strip_suffix("_file").map_or((&*name, ""), |name| (name, "_file"));
    table.iter().cloned().chain([name.replace('_', ".") + end]).collect()
}

/// The key as it is written in a file: parts that are not bare words are quoted.
fn dotted(path: &[String]) -> String {
    let bare = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let parts: Vec<_> = path.iter().map(|p| if bare(p) { p.clone() } else { format!("\"{p}\"") }).collect();
    parts.join(".")
}

fn whole(section: &str, key: &str) -> String {
    if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ").replace("unknown field", "unknown key")
}
