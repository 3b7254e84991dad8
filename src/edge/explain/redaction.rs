//! Leaves tokens and invented ids out of an explanation.

use http::{HeaderName, header};

/// What an explanation does not show, each with what stands in its place.
pub(super) struct Redaction {
    /// Texts that only this explanation made.
    pub(super) replacements: Vec<(String, &'static str)>,
}

/// What stands in place of a token.
pub(super) const TOKEN: &str = "{click_token}";

impl Redaction {
    /// A text without tokens and invented ids.
    pub(super) fn redact(&self, text: &str) -> String {
        let found = self.replacements.iter().filter(|(hidden, _)| !hidden.is_empty());
        found.fold(text.to_owned(), |text, (hidden, shown)| text.replace(hidden, shown))
    }

    /// The value of a header without tokens.
    pub(super) fn redact_header(&self, name: &HeaderName, value: &str) -> String {
        match (name, value.split_once('=')) {
            (&header::SET_COOKIE, Some((cookie, rest))) => match rest.find(';') {
                Some(end) if end > 0 => format!("{cookie}={TOKEN}{}", &rest[end..]),
                _ => value.to_owned(),
            },
            _ => self.redact(value),
        }
    }
}
