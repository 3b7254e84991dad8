//! The range of `--from` and `--to`.

use std::fmt::Display;

use crate::config::{ConfigError, ConfigErrors, ValueSource};

/// Checks that `--from` is not after `--to`, if both are given.
///
/// # Errors
/// It is; nothing lies between the two.
pub(super) fn check_from_is_not_after_to<T: PartialOrd + Display>(
    from: Option<T>,
    to: Option<T>,
) -> Result<(), ConfigErrors> {
    match (from, to) {
        (Some(from), Some(to)) if from > to => Err(ConfigErrors(vec![ConfigError {
            source: ValueSource::Flag("--from"),
            key: String::new(),
            message: format!("{from} is after --to {to}, so no click can be between them; exchange the two"),
        }])),
        _ => Ok(()),
    }
}
