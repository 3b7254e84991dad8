//! The variables of the environment: which of them set a key, and which are mistakes.

use std::ffi::OsStr;

/// What a variable is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Variable<'a> {
    /// It sets the key of this name (`SECTION__KEY`) to this value.
    SetsKey { name: &'a str, key: &'a str, value: &'a str },
    /// It is not ours.
    Foreign,
    /// It is meant for us and sets nothing.
    Mistake { name: String, message: String },
}

/// The prefix of variables that set a key.
const PREFIX: &str = "WAYPOST__";

/// Variables of the command line, the build, the demonstration and the tests. A process that they start inherits them;
/// `cargo run` and `cargo test` hand on what the build script sets.
const NOT_OF_THE_CONFIGURATION: [&str; 12] = [
    "WAYPOST_API_KEY",
    "WAYPOST_CONFIG",
    "WAYPOST_BIN",
    "WAYPOST_BLESS",
    "WAYPOST_COMMIT",
    "WAYPOST_CRASH_CYCLES",
    "WAYPOST_DEMO_KAFKA",
    "WAYPOST_LOOM_PREEMPTIONS",
    "WAYPOST_MODEL_SEED",
    "WAYPOST_TEST_CLOCK",
    "WAYPOST_VERSION_WITH_COMMIT",
    "WAYPOST_WRITE_DOCS",
];

impl<'a> Variable<'a> {
    /// Classifies a variable. `sections` are the sections of the configuration.
    pub(super) fn classify(name: &'a OsStr, value: &'a OsStr, sections: &[&str]) -> Variable<'a> {
        let shown = name.to_string_lossy();
        if !shown.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("WAYPOST_")) {
            return Variable::Foreign;
        }
        let mistake = |message: String| Variable::Mistake { name: shown.clone().into_owned(), message };
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            return mistake("is not UTF-8; write name and value in UTF-8".to_owned());
        };
        if NOT_OF_THE_CONFIGURATION.contains(&name) || is_service_link_of_kubernetes(name, value) {
            return Variable::Foreign;
        }
        match name.strip_prefix(PREFIX) {
            Some(key) if !key.bytes().any(|byte| byte.is_ascii_lowercase()) => Variable::SetsKey { name, key, value },
            _ => mistake(format!(
                "sets nothing; a key is set by WAYPOST__SECTION__KEY in upper case with two underscores{}",
                suggest_name(name, sections)
            )),
        }
    }
}

/// The name that was meant, if the variable names a section.
fn suggest_name(name: &str, sections: &[&str]) -> String {
    let rest = name["WAYPOST_".len()..].trim_start_matches('_').to_ascii_uppercase();
    let meant = sections.iter().find_map(|section| {
        let key = rest.strip_prefix(&section.to_ascii_uppercase())?.strip_prefix('_')?;
        Some(format!(", such as {PREFIX}{}__{}", section.to_ascii_uppercase(), key.trim_start_matches('_')))
    });
    meant.unwrap_or_default()
}

/// Whether Kubernetes wrote the variable for a service whose name begins with `waypost`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, `…_SERVICE_PORT_NAME`, `…_PORT` and `…_PORT_NUMBER_PROTOCOL…`.
fn is_service_link_of_kubernetes(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_number = || value.parse::<u16>().is_ok();
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<std::net::IpAddr>().is_ok();
    }
    if name.contains("_SERVICE_PORT") {
        return is_number();
    }
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    // `WAYPOST_PORT_9100_TCP`, `…_TCP_PROTO`, `…_TCP_PORT`, `…_TCP_ADDR`
    let Some((_, rest)) = name.rsplit_once("_PORT_").or_else(|| {
        let name = name.strip_suffix("_PORT")?;
        name.rsplit_once("_PORT_")
    }) else {
        return false;
    };
    let mut parts = rest.split('_');
    let number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    number && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    const SECTIONS: [&str; 3] = ["server", "edge", "tls"];

    fn classify<'a>(name: &'a str, value: &'a str) -> Variable<'a> {
        Variable::classify(OsStr::new(name), OsStr::new(value), &SECTIONS)
    }

    #[test]
    fn a_variable_with_two_underscores_in_upper_case_sets_its_key() {
        let set = Variable::SetsKey { name: "WAYPOST__EDGE__WORKERS", key: "EDGE__WORKERS", value: "2" };
        assert_eq!(classify("WAYPOST__EDGE__WORKERS", "2"), set);
        for foreign in ["HOME", "WAYPOST", "WAYPOSTX__EDGE", "MY_WAYPOST_EDGE", "WAYPOST_CONFIG", "WAYPOST_BIN"] {
            assert_eq!(classify(foreign, "x"), Variable::Foreign, "{foreign}");
        }
    }

    #[test]
    fn a_variable_that_is_meant_for_us_and_sets_nothing_is_a_mistake_with_the_name_that_was_meant() {
        for (name, meant) in [
            ("WAYPOST_EDGE_WORKERS", ", such as WAYPOST__EDGE__WORKERS"),
            ("WAYPOST_EDGE__WORKERS", ", such as WAYPOST__EDGE__WORKERS"),
            ("waypost__edge__workers", ", such as WAYPOST__EDGE__WORKERS"),
            ("WAYPOST__edge__workers", ", such as WAYPOST__EDGE__WORKERS"),
            ("Waypost_Edge_Workers", ", such as WAYPOST__EDGE__WORKERS"),
            ("WAYPOST_TLS_HTTPS_PORT", ", such as WAYPOST__TLS__HTTPS_PORT"),
            ("WAYPOST_LOG", "with two underscores"),
        ] {
            let Variable::Mistake { message, .. } = classify(name, "8443") else { panic!("{name}") };
            assert!(message.ends_with(meant), "{name}: {message}");
        }
        let bytes = OsStr::from_bytes(b"caf\xe9");
        for (name, value) in
            [(OsStr::new("WAYPOST__EDGE__ID"), bytes), (OsStr::from_bytes(b"WAYPOST__EDGE\xe9"), bytes)]
        {
            let Variable::Mistake { message, .. } = Variable::classify(name, value, &SECTIONS) else { panic!() };
            assert!(message.starts_with("is not UTF-8"), "{message}");
        }
    }

    #[test]
    fn service_links_of_kubernetes_are_not_ours() {
        for (name, value) in [
            ("WAYPOST_SERVICE_HOST", "10.0.0.1"),
            ("WAYPOST_SERVICE_PORT", "80"),
            ("WAYPOST_SERVICE_PORT_HTTP", "80"),
            ("WAYPOST_PORT", "tcp://10.0.0.1:80"),
            ("WAYPOST_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("WAYPOST_PORT_80_TCP_PROTO", "tcp"),
            ("WAYPOST_PORT_80_TCP_PORT", "80"),
            ("WAYPOST_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("WAYPOST_ADMIN_SERVICE_HOST", "fd00::1"),
            ("WAYPOST_ADMIN_PORT_9100_TCP_ADDR", "10.0.0.1"),
        ] {
            assert_eq!(classify(name, value), Variable::Foreign, "{name}");
        }
        for (name, value) in [("WAYPOST_SERVICE_HOST", "yes"), ("WAYPOST_PORT", "80"), ("WAYPOST_PORT_HTTP", "80")] {
            assert!(matches!(classify(name, value), Variable::Mistake { .. }), "{name}");
        }
    }
}
