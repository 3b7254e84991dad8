//! Errors about one field, each with its place in the field's value.

use super::RecordError;

/// Collects the errors about a field, each with its place in it.
pub(super) struct FieldErrors<'e> {
    pub(super) field: &'static str,
    pub(super) errors: &'e mut Vec<RecordError>,
}

impl FieldErrors<'_> {
    /// Adds an error about the value at `pointer`, a JSON pointer that starts at the field's value.
    pub(super) fn add(&mut self, pointer: &str, message: impl Into<String>) {
        self.errors.push(RecordError::new(self.field, message).inside(pointer));
    }
}
