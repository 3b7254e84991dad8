//! Which URLs a link may have: the rules that every destination and fallback URL is checked against.

use url::{ParseError, Url};

use crate::links::destination::{
    url_error::{MAX_PLACEHOLDERS, MAX_URL_LEN, UrlError},
    written_url,
};

/// Schemes that run code or read files wherever they are opened. No configuration can allow them.
const FORBIDDEN_SCHEMES: [&str; 8] =
    ["javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source"];

/// Which destinations are allowed beyond the fixed rules.
#[derive(Clone, Debug, Default)]
pub struct DestinationPolicy {
    /// Schemes beside `http` and `https`, in lower case.
    pub app_schemes: Vec<String>,
    /// If not empty, the only hosts of `http` and `https` URLs; `*.example.com` stands for every host below.
    pub allowed_hosts: Vec<String>,
}

/// Checks a scheme of `links.app_schemes`.
pub fn validate_app_scheme(scheme: &str) -> Result<(), String> {
    let is_tail_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(is_tail_byte) {
        return Err(format!("{scheme:?} is not a scheme in lower case, such as shopapp (without ://)"));
    }
    // Browsers read the hosts of the other special schemes by rules of their own.
    if FORBIDDEN_SCHEMES.contains(&scheme) || matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp") {
        return Err(format!("{scheme:?} is no app's scheme; name the app's own"));
    }
    Ok(())
}

impl DestinationPolicy {
    /// Checks a link's fallback URL, which has the rules of a destination but no placeholders. Gives the URL's normal
    /// form.
    pub fn check_and_normalize_url_without_placeholders(&self, url: &str) -> Result<String, UrlError> {
        if url.contains(['{', '}']) {
            return Err(UrlError::NoPlaceholdersAllowed);
        }
        self.parse_and_check_url(url, url).map(String::from)
    }

    /// Parses a URL and checks every rule. `written_url` is the URL as a person wrote it, `url_with_marks` the
    /// same with marks instead of placeholders.
    pub(super) fn parse_and_check_url(&self, written_url: &str, url_with_marks: &str) -> Result<Url, UrlError> {
        if written_url.len() > MAX_URL_LEN {
            return Err(UrlError::TooLong(written_url.len()));
        }
        // The parser would remove tabs, line ends and outer spaces without an error; other programs do not remove them.
        written_url::check_no_pasting_mistakes(written_url)?;
        let encoded = written_url::encode_forbidden_bytes(url_with_marks);
        let url = Url::parse(&encoded).map_err(|error| match error {
            ParseError::RelativeUrlWithoutBase => UrlError::Relative,
            error => UrlError::NotAbsolute(error.to_string()),
        })?;
        self.check_scheme_is_allowed_and_absolute(&url, url_with_marks)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        self.check_web_host_is_reachable_and_allowed(written_url, &url)?;
        if url.scheme() == "intent" && !url.fragment().is_some_and(has_browser_fallback) {
            return Err(UrlError::IntentWithoutFallback);
        }
        // Marks are longer than what they stand for; the builder checks the length without them.
        if url.as_str().len() > MAX_URL_LEN + MAX_PLACEHOLDERS * 64 {
            return Err(UrlError::TooLong(url.as_str().len()));
        }
        Ok(url)
    }

    /// Checks that the scheme is allowed and that `//` follows it.
    fn check_scheme_is_allowed_and_absolute(&self, url: &Url, url_with_marks: &str) -> Result<(), UrlError> {
        let (scheme, is_web) = (url.scheme(), is_web(url));
        let is_app = !FORBIDDEN_SCHEMES.contains(&scheme) && self.app_schemes.iter().any(|allowed| allowed == scheme);
        if !is_web && !is_app {
            return Err(UrlError::Scheme { found: scheme.to_owned(), allowed: self.app_schemes.clone() });
        }
        let Some(authority) = url_with_marks[scheme.len()..].strip_prefix("://") else {
            return Err(UrlError::NotAbsolute("no // behind the scheme".to_owned()));
        };
        if is_web && authority.starts_with(['/', '\\']) {
            return Err(UrlError::NotAbsolute("no host behind //".to_owned()));
        }
        Ok(())
    }

    /// Checks that buyers can reach the host, and that `links.allowed_hosts` lists it, if it lists any.
    fn check_web_host_is_reachable_and_allowed(&self, written_url: &str, url: &Url) -> Result<(), UrlError> {
        if !is_web(url) {
            return Ok(());
        }
        let host = url.host_str().unwrap_or_default();
        let is_listed = self.allowed_hosts.iter().any(|allowed| host_matches_name_or_star_pattern(allowed, host));
        written_url::check_host_is_reachable(written_url, url, is_listed)?;
        if !self.allowed_hosts.is_empty() && !is_listed {
            return Err(UrlError::Host(host.to_owned()));
        }
        Ok(())
    }
}

/// Whether the fragment of an `intent:` URL names where a browser goes without the app.
fn has_browser_fallback(fragment: &str) -> bool {
    let fallback = fragment.split(';').find_map(|extra| extra.strip_prefix("S.browser_fallback_url="));
    fallback.is_some_and(|url| !url.is_empty())
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// Checks an `http` or `https` URL without placeholders, as domains have them. Gives the URL's normal form.
pub fn check_and_normalize_web_url(url: &str) -> Result<String, UrlError> {
    DestinationPolicy::default().check_and_normalize_url_without_placeholders(url)
}

/// Whether a host is the one of the pattern, or below it if the pattern starts with `*.`.
pub(in crate::links) fn host_matches_name_or_star_pattern(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            let split = host.len().checked_sub(parent.len()).and_then(|at| host.split_at_checked(at));
            split.is_some_and(|(front, rest)| front.ends_with('.') && rest.eq_ignore_ascii_case(parent))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}
