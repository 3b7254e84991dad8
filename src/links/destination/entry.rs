//! How a destination enters: its URL is held to every rule, and its skeleton is built.

use url::{Position, Url};

use crate::{
    links::destination::{
        APPEND, CLICK_TOKEN, HAS_ALLOW, HAS_FRAGMENT, HAS_HOLES, HAS_QUERY, HOLES, Hole, IN_PATH, TOKEN_HOLE, query,
    },
    model::link::QueryPolicy,
};

/// The longest URL, in bytes, before and after normalisation. With 4 KiB of incoming parameters a destination stays
/// within what a click keeps of it (12 KiB).
pub const MAX_URL: usize = 8 * 1024;
/// The most holes in one URL.
const MAX_HOLES: usize = 32;
/// Schemes that run code or read files wherever they are opened; no list allows them.
const NEVER: [&str; 8] = ["javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "view-source"];

/// Which destinations may enter.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Schemes beside `http` and `https`, in lower case.
    pub app_schemes: Vec<String>,
    /// If not empty, the hosts `http` and `https` URLs may name; `*.example.com` stands for every host below.
    pub allowed_hosts: Vec<String>,
}

/// Why a URL may not enter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL`].
    #[error("has {0} bytes; allowed are {MAX_URL}")]
    Long(usize),
    /// A control character, or white space at an end.
    #[error("holds a control character, or white space at its start or end")]
    Control,
    /// Not an absolute URL.
    #[error("is not an absolute URL ({0}); it must start with https:// or http://")]
    Malformed(String),
    /// A scheme nobody allowed.
    #[error("has the scheme {found:?}; allowed are https, http{}", allowed.iter().map(|s| format!(", {s}")).collect::<String>())]
    Scheme {
        /// The scheme.
        found: String,
        /// `links.app_schemes`.
        allowed: Vec<String>,
    },
    /// A name or password in front of the host.
    #[error("holds a user name or password; write the host alone")]
    UserInfo,
    /// A host outside the allow-list.
    #[error("names the host {0:?}, which links.allowed_hosts does not list")]
    Host(String),
    /// A hole nobody knows, or a brace that makes none.
    #[error(
        "holds {0:?}; holes are {{click_id}} {{click_token}} {{code}} {{creator}} {{sub1}}…{{sub5}}, and a plain brace is %7B or %7D"
    )]
    Hole(String),
    /// A hole where none may be.
    #[error(
        "has a hole in scheme, host, port or a parameter's name; holes may stand in path, parameter values and fragment"
    )]
    HolePlace,
    /// More than one token, or more holes than allowed.
    #[error("has too many holes; allowed are {MAX_HOLES}, and one {{click_token}}")]
    TooManyHoles,
    /// `{creator}` on a link without one.
    #[error("has {{creator}}, but the link has no creator")]
    NoCreator,
    /// A hole where the URL is used as it is.
    #[error("has a hole; this URL is used as it stands")]
    NoHoles,
    /// The parameter's name is taken.
    #[error(
        "already has a parameter {0:?}, the name of the token's; rename it, use {{click_token}}, or set append_token to false"
    )]
    TokenParam(String),
}

/// A destination as its link names it.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The URL with its holes.
    pub url: &'a str,
    /// Fills `{code}`.
    pub code: &'a str,
    /// Fills `{creator}`; "" for none.
    pub creator: &'a str,
    /// What becomes of the incoming query.
    pub query: QueryPolicy,
    /// If given, only these incoming parameters are taken.
    pub allow: Option<&'a [String]>,
    /// Whether the token may be appended at all.
    pub append_token: bool,
    /// The name of the token's parameter.
    pub token_param: &'a str,
}

/// Checks a scheme that destinations are to be allowed.
pub fn check_app_scheme(scheme: &str) -> Result<(), String> {
    let tail = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(tail) {
        return Err(format!("{scheme:?} is not a scheme in lower case, such as shopapp (without ://)"));
    }
    // The other special schemes of browsers read their hosts by rules of their own.
    if NEVER.contains(&scheme) || matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp") {
        return Err(format!("{scheme:?} is no app's scheme; name the app's own"));
    }
    Ok(())
}

/// Checks `url` as a link's fallback: the rules of a destination, but no holes. Gives its normal form.
pub fn plain_url(url: &str, rules: &Rules) -> Result<String, UrlError> {
    if url.contains(['{', '}']) {
        return Err(UrlError::NoHoles);
    }
    parse(url, url, rules).map(String::from)
}

/// Checks `url` as an `http` or `https` URL without holes, as domains name them. Gives its normal form.
pub fn plain_web_url(url: &str) -> Result<String, UrlError> {
    plain_url(url, &Rules::default())
}

/// Checks the destination and appends its skeleton's bytes to `out`. `cookie_reaches` says whether the attribution
/// cookie is sent to a host by itself.
pub fn build(
    destination: &Destination<'_>,
    rules: &Rules,
    cookie_reaches: impl Fn(&str) -> bool,
    out: &mut Vec<u8>,
) -> Result<(), UrlError> {
    let template = Template::read(destination)?;
    let url = parse(destination.url, &template.marked, rules)?;
    let (text, holes) = template.split(&url)?;
    let has = |yes: bool, flag: u8| if yes { flag } else { 0 };
    let insert_at = memchr::memchr(b'#', text.as_bytes()).unwrap_or(text.len());
    let has_query = text[..insert_at].contains('?');
    let token_hole = holes.iter().any(|hole| hole.what & !IN_PATH == CLICK_TOKEN);
    // The cookie is Secure, so it never reaches plain http; apps have no cookie at all.
    let reached = url.scheme() == "https" && url.host_str().is_some_and(cookie_reaches);
    let append = destination.append_token && !token_hole && !reached;
    if append && has_query {
        let stored = query::stored(text.as_bytes(), insert_at);
        if query::parts(text.as_bytes(), stored)
            .any(|part| query::same_name(part.name, destination.token_param.as_bytes()))
        {
            return Err(UrlError::TokenParam(destination.token_param.to_owned()));
        }
    }
    let fragment = insert_at < text.len();
    out.push(
        destination.query as u8
            | has(!holes.is_empty(), HAS_HOLES)
            | has(append, APPEND)
            | has(destination.allow.is_some(), HAS_ALLOW)
            | has(fragment, HAS_FRAGMENT)
            | has(has_query, HAS_QUERY)
            | has(token_hole, TOKEN_HOLE),
    );
    if fragment {
        out.extend_from_slice(&(insert_at as u16).to_le_bytes());
    }
    if !holes.is_empty() {
        out.push(holes.len() as u8);
        for hole in &holes {
            out.extend_from_slice(&hole.at.to_le_bytes());
            out.push(hole.what);
        }
    }
    if let Some(names) = destination.allow {
        let names = names.join("&");
        out.extend_from_slice(&(names.len() as u16).to_le_bytes());
        out.extend_from_slice(names.as_bytes());
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The rules every URL is held to. `written` is what people wrote, `marked` the same with marks in place of holes.
fn parse(written: &str, marked: &str, rules: &Rules) -> Result<Url, UrlError> {
    if written.len() > MAX_URL {
        return Err(UrlError::Long(written.len()));
    }
    // The parser would drop tabs, line ends and outer spaces silently; what is dropped here is seen by other readers.
    if written.chars().any(char::is_control) || written.trim() != written {
        return Err(UrlError::Control);
    }
    let url = Url::parse(marked).map_err(|error| UrlError::Malformed(error.to_string()))?;
    let scheme = url.scheme();
    let web = matches!(scheme, "http" | "https");
    if !web && (NEVER.contains(&scheme) || !rules.app_schemes.iter().any(|allowed| allowed == scheme)) {
        return Err(UrlError::Scheme { found: scheme.to_owned(), allowed: rules.app_schemes.clone() });
    }
    let Some(authority) = marked[scheme.len()..].strip_prefix("://") else {
        return Err(UrlError::Malformed("no // behind the scheme".to_owned()));
    };
    if web && authority.starts_with(['/', '\\']) {
        return Err(UrlError::Malformed("no host behind //".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    let host = url.host_str().unwrap_or_default();
    if web && !rules.allowed_hosts.is_empty() && !rules.allowed_hosts.iter().any(|allowed| host_matches(allowed, host))
    {
        return Err(UrlError::Host(host.to_owned()));
    }
    if url.as_str().len() > MAX_URL + MAX_HOLES * 64 {
        return Err(UrlError::Long(url.as_str().len()));
    }
    Ok(url)
}

fn host_matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix("*.") {
        Some(above) => {
            let front = host.len().checked_sub(above.len()).map(|at| host.split_at_checked(at));
            matches!(front, Some(Some((front, rest))) if front.ends_with('.') && rest.eq_ignore_ascii_case(above))
        }
        None => allowed.eq_ignore_ascii_case(host),
    }
}

/// A URL whose holes are replaced by marks that no normalisation touches.
struct Template {
    marked: String,
    mark: String,
    count: usize,
}

impl Template {
    fn read(destination: &Destination<'_>) -> Result<Template, UrlError> {
        let url = destination.url;
        if let Some(at) = url.find("://") {
            let behind = url[at + 3..].find(['/', '?', '#', '\\']).map_or(url.len(), |len| at + 3 + len);
            if url[..behind].contains('{') {
                return Err(UrlError::HolePlace);
            }
        }
        if memchr::memchr2(b'{', b'}', url.as_bytes()).is_none() {
            return Ok(Template { marked: url.to_owned(), mark: String::new(), count: 0 });
        }
        let mut mark = "Wp0Hole".to_owned();
        while url.contains(&mark) || destination.creator.contains(&mark) || destination.code.contains(&mark) {
            mark.push('Q');
        }
        let mut template = Template { marked: String::with_capacity(url.len() + 32), mark, count: 0 };
        let mut rest = url;
        while let Some(at) = rest.find(['{', '}']) {
            template.marked.push_str(&rest[..at]);
            let end = rest[at..].find('}').map(|end| at + end);
            let name = match end {
                Some(end) if end > at => &rest[at + 1..end],
                _ => return Err(UrlError::Hole(rest[at..].chars().take(20).collect())),
            };
            template.hole(name, destination)?;
            rest = &rest[at + name.len() + 2..];
        }
        template.marked.push_str(rest);
        Ok(template)
    }

    fn hole(&mut self, name: &str, destination: &Destination<'_>) -> Result<(), UrlError> {
        match name {
            "code" => self.marked.push_str(destination.code),
            "creator" if destination.creator.is_empty() => return Err(UrlError::NoCreator),
            "creator" => {
                let mut encoded = Vec::new();
                query::encode_value(destination.creator.bytes(), &mut encoded);
                self.marked.extend(encoded.iter().map(|byte| char::from(*byte)));
            }
            _ => {
                let Some(what) = HOLES.iter().position(|hole| *hole == name) else {
                    return Err(UrlError::Hole(format!("{{{name}}}")));
                };
                self.count += 1;
                if self.count > MAX_HOLES {
                    return Err(UrlError::TooManyHoles);
                }
                self.marked.push_str(&self.mark);
                self.marked.push(char::from(b'a' + what as u8));
            }
        }
        Ok(())
    }

    /// The normal form without its marks, and where they stood.
    fn split(&self, url: &Url) -> Result<(String, Vec<Hole>), UrlError> {
        let full = url.as_str();
        if self.count == 0 && full.len() <= MAX_URL {
            return Ok((full.to_owned(), Vec::new()));
        }
        let path = url[..Position::BeforePath].len()..url[..Position::AfterPath].len();
        let query_end = url[..Position::AfterQuery].len();
        let mut text = String::with_capacity(full.len());
        let mut holes: Vec<Hole> = Vec::with_capacity(self.count);
        let mut from = 0;
        while let Some(at) = full[from..].find(&self.mark).map(|at| from + at) {
            text.push_str(&full[from..at]);
            from = at + self.mark.len() + 1;
            let in_name = (path.end..query_end).contains(&at) && {
                let part = full[path.end..at].rsplit(['?', '&']).next().unwrap_or_default();
                !part.contains('=')
            };
            if at < path.start || in_name {
                return Err(UrlError::HolePlace);
            }
            let what = full.as_bytes().get(from - 1).map_or(0, |letter| letter.wrapping_sub(b'a'));
            holes.push(Hole { at: text.len() as u16, what: what | if at < path.end { IN_PATH } else { 0 } });
        }
        text.push_str(&full[from..]);
        if holes.len() != self.count {
            return Err(UrlError::HolePlace);
        }
        if holes.iter().filter(|hole| hole.what & !IN_PATH == CLICK_TOKEN).count() > 1 {
            return Err(UrlError::TooManyHoles);
        }
        if text.len() > MAX_URL {
            return Err(UrlError::Long(text.len()));
        }
        Ok((text, holes))
    }
}
