//! One request as an access log has it.

use crate::uri::host::find_valid_host_of_authority;

/// One request of an access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// The host that was asked, without its port.
    pub host: Option<String>,
    /// The method.
    pub method: String,
    /// Path and query, as the client sent them.
    pub target: String,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Where the answer led to.
    pub location: Option<String>,
}

impl LogEntry {
    /// Sets method and target from a request line `METHOD TARGET [HTTP/…]`. An absolute target names the host too.
    /// `None` if the text is no request line.
    pub(super) fn set_request_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_version = words.next().is_none_or(|version| version.starts_with("HTTP/"));
        if !is_method || !is_version || words.next().is_some() {
            return None;
        }
        self.method = method.to_owned();
        self.set_target(target)
    }

    /// Sets the target, which is a path or a whole URL.
    pub(super) fn set_target(&mut self, target: &str) -> Option<()> {
        if target.starts_with('/') {
            self.target = target.to_owned();
            return Some(());
        }
        let (scheme, rest) = target.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        self.set_host(&rest[..at]);
        let slash = if rest[at..].starts_with('/') { "" } else { "/" };
        self.target = format!("{slash}{}", &rest[at..]);
        Some(())
    }

    /// Sets the host, unless the text is none. Gives whether it is one.
    pub(super) fn set_host(&mut self, authority: &str) -> bool {
        let host = find_valid_host_of_authority(authority.as_bytes()).and_then(|host| str::from_utf8(host).ok());
        let host = host.filter(|host| *host != "-" && *host != "_");
        if let Some(host) = host {
            self.host = Some(host.to_owned());
        }
        host.is_some()
    }

    /// Sets where the answer led to, unless the text is no absolute URL.
    pub(super) fn set_location(&mut self, text: &str) {
        if is_absolute_url(text) {
            self.location = Some(text.to_owned());
        }
    }
}

/// Whether a text is an absolute URL, of an app perhaps.
pub(super) fn is_absolute_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme_byte)
        && !rest.is_empty()
}
