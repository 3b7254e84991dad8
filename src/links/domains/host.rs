//! Names of hosts as the configuration writes them and as browsers send them.

/// The longest host, in bytes.
pub(super) const MAX_HOST: usize = 255;

/// Parses a configured host into the form that browsers send: lower case, punycode. `*` stays as it is.
///
/// # Errors
/// The name is none of a host, and what is allowed.
pub fn parse_host_or_asterisk(name: &str) -> Result<String, String> {
    if name == "*" {
        return Ok(name.to_owned());
    }
    let host = url::Host::parse(name.trim_end_matches('.')).map_err(|error| {
        format!("is not a host name ({error}); allowed are names such as go.example.com, without port, and \"*\"")
    })?;
    match host.to_string() {
        host if host.len() <= MAX_HOST && !host.contains('*') => Ok(host),
        _ => Err("is not a host name; \"*\" stands alone, for every host that is not configured".to_owned()),
    }
}

/// Whether `host` is `domain` or lies below it. Both are in lower case.
pub(super) fn is_same_or_subdomain(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}
