//! An invalid value in a section of the configuration. Each section lists its own, and `config` adds where each was
//! written.

/// A key whose value is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidValue {
    /// The key, below the section that lists it, such as `limits.max_requests`; empty: the section as a whole.
    pub key: String,
    /// What was found and what is allowed.
    pub message: String,
}

impl InvalidValue {
    /// The value of `key`, with what was found and what is allowed.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> InvalidValue {
        InvalidValue { key: key.into(), message: message.into() }
    }

    /// The same value, seen from the table around: `key` becomes `table.key`.
    pub fn below(self, table: &str) -> InvalidValue {
        InvalidValue { key: format!("{table}.{}", self.key), ..self }
    }
}
