//! The directives of the log: which lines are written. `server.log_level` and `RUST_LOG` have the same form.

use tracing_subscriber::EnvFilter;

/// The levels, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The level of what no directive names.
const DEFAULT_LEVEL: &str = "info";

/// Validates directives, and completes them: if none is a level for the rest, the rest has `info`. A text without
/// directives is `info`.
///
/// # Errors
/// What was found and what is allowed. `tracing_subscriber` would take an unknown level as the name of a module, and
/// log nothing else.
pub fn validate_and_complete_log_directives(text: &str) -> Result<String, String> {
    let mut directives = Vec::new();
    let mut has_level_for_rest = false;
    for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let (target, level) = directive.rsplit_once('=').unwrap_or(("", directive));
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(format!(
                "`{level}` is no level; allowed: {}, and MODULE=LEVEL such as waypost::delivery=debug, with commas \
                 between them",
                LEVELS.join(", ")
            ));
        }
        has_level_for_rest |= target.is_empty();
        directives.push(directive);
    }
    if !has_level_for_rest {
        directives.insert(0, DEFAULT_LEVEL);
    }
    let directives = directives.join(",");
    EnvFilter::try_new(&directives).map(|_| directives).map_err(|error| format!("`{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_modules_with_levels_are_taken_and_the_rest_has_info() {
        for (text, completed) in [
            ("", "info"),
            (" ", "info"),
            ("warn", "warn"),
            ("WARN", "WARN"),
            ("off", "off"),
            ("waypost::delivery=debug", "info,waypost::delivery=debug"),
            ("error, waypost=trace,", "error,waypost=trace"),
            ("librdkafka=off,debug", "librdkafka=off,debug"),
        ] {
            assert_eq!(validate_and_complete_log_directives(text).as_deref(), Ok(completed), "{text}");
        }
    }

    #[test]
    fn an_unknown_level_is_refused_with_those_that_are_known() {
        for bad in ["WARNING", "information", "waypost", "waypost=verbose", "info,wran", "3", "=", "info;debug"] {
            let error = validate_and_complete_log_directives(bad).unwrap_err();
            assert!(error.contains("is no level; allowed: off, error, warn, info, debug, trace"), "{bad}: {error}");
        }
        assert!(validate_and_complete_log_directives("a[b=info").is_err());
    }
}
