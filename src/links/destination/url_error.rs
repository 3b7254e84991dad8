//! Why a URL of a link or a domain is refused, and the bounds that the reasons name.

/// The longest URL, bytes, before and after normalisation. With 4 KiB of incoming parameters a destination stays within
/// what a click keeps of it (12 KiB).
pub const MAX_URL_LEN: usize = 8 * 1024;
/// The most placeholders in one URL.
pub(super) const MAX_PLACEHOLDERS: usize = 32;
/// The most `{click_token}` in one URL. A token can have some 500 bytes, and proxies bound the head of an answer.
pub(super) const MAX_TOKEN_PLACEHOLDERS: usize = 4;

/// Why a URL is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than [`MAX_URL_LEN`].
    #[error("has {0} bytes; allowed are {MAX_URL_LEN}")]
    TooLong(usize),
    /// A control character, white space at an end, or another character that nobody sees.
    #[error(
        "holds {} (U+{code_point:04X}) at character {position}; remove it{}",
        name_invisible_character(*code_point),
        suggest_escape_of_character(*code_point)
    )]
    InvisibleCharacter {
        /// The character.
        code_point: u32,
        /// Its place in the URL, from 1.
        position: usize,
    },
    /// A second URL was pasted behind the first one.
    #[error("holds a second URL at character {position}; a link has one, and one in a parameter's value is encoded")]
    SecondUrl {
        /// Where the second one starts, from 1.
        position: usize,
    },
    /// An `&` that was copied from HTML.
    #[error("holds {text} at character {position}, which is how HTML writes &; write & alone")]
    HtmlAmpersand {
        /// The text.
        text: &'static str,
        /// Its place in the URL, from 1.
        position: usize,
    },
    /// A host that no buyer reaches.
    #[error("names the host {host:?}, wrong at character {position}: {why}")]
    HostName {
        /// Host and port as they are written.
        host: String,
        /// The place of the mistake in the URL, from 1.
        position: usize,
        /// What is wrong, and what is allowed.
        why: &'static str,
    },
    /// No scheme, or no scheme and no host.
    #[error("is not an absolute URL (relative URL without a base); it must start with https:// or http://")]
    Relative,
    /// Not an absolute URL for another reason.
    #[error("is not an absolute URL ({0}); it must start with https:// or http://")]
    NotAbsolute(String),
    /// A scheme that is not allowed.
    #[error(
        "has the scheme {found:?}; allowed are https, http{}",
        allowed.iter().map(|scheme| format!(", {scheme}")).collect::<String>()
    )]
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
    /// An `intent:` URL that leaves buyers without the app at an error.
    #[error("is an intent: URL without S.browser_fallback_url=, where buyers without the app go")]
    IntentWithoutFallback,
    /// A placeholder of an unknown name, or a brace that belongs to none.
    #[error(
        "holds {0:?}; placeholders are {{click_id}} {{click_token}} {{code}} {{creator}} {{sub1}}…{{sub5}} {{device}} \
         {{os}} {{country}} {{language}} {{source}} {{query:NAME}} {{domain}} {{click_ms}}, \
         and a plain brace is %7B or %7D"
    )]
    UnknownPlaceholder(String),
    /// A placeholder where none is allowed.
    #[error(
        "has a placeholder in scheme, host, port or a parameter's name; \
         placeholders may stand in path, parameter values and fragment"
    )]
    PlaceholderPosition,
    /// More placeholders than allowed.
    #[error(
        "has too many placeholders; allowed are {MAX_PLACEHOLDERS}, \
         {MAX_TOKEN_PLACEHOLDERS} {{click_token}} among them, and 8 names of {{query:NAME}}"
    )]
    TooManyPlaceholders,
    /// `{creator}` on a link without one.
    #[error("has {{creator}}, but the link has no creator")]
    NoCreator,
    /// A placeholder in a URL that is used as it is.
    #[error("has a placeholder; this URL is used as it stands")]
    NoPlaceholdersAllowed,
    /// A stored parameter has the name of the token's.
    #[error(
        "already has a parameter {0:?}, the name of the token's; \
         rename it, use {{click_token}}, or set append_token to false"
    )]
    TokenParam(String),
}

impl UrlError {
    /// The name of the broken rule, for programs.
    pub fn rule(&self) -> &'static str {
        match self {
            UrlError::TooLong(_) => "url-long",
            UrlError::InvisibleCharacter { code_point: 0..=0x1f | 0x7f..=0x9f, .. } => "url-control",
            UrlError::InvisibleCharacter { code_point, .. } => match name_invisible_character(*code_point) {
                "white space" => "url-space",
                _ => "url-invisible",
            },
            UrlError::SecondUrl { .. } => "url-second",
            UrlError::HtmlAmpersand { .. } => "url-entity",
            UrlError::Relative => "url-relative",
            UrlError::HostName { .. } | UrlError::NotAbsolute(_) => "url-malformed",
            UrlError::Scheme { .. } | UrlError::IntentWithoutFallback => "url-scheme",
            UrlError::UserInfo => "url-userinfo",
            UrlError::Host(_) => "url-host",
            UrlError::UnknownPlaceholder(_)
            | UrlError::PlaceholderPosition
            | UrlError::TooManyPlaceholders
            | UrlError::NoCreator
            | UrlError::NoPlaceholdersAllowed => "url-placeholder",
            UrlError::TokenParam(_) => "url-token-param",
        }
    }
}

/// The usual name of a character that [`UrlError::InvisibleCharacter`] names.
fn name_invisible_character(code_point: u32) -> &'static str {
    match code_point {
        0x20 | 0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028..=0x2029 | 0x202f | 0x205f | 0x3000 | 9..=13 => "white space",
        0..=0x9f => "a control character",
        0xfeff => "a byte order mark",
        0x200e | 0x200f | 0x61c | 0x202a..=0x202e | 0x2066..=0x2069 => "an invisible mark of direction",
        _ => "an invisible character",
    }
}

/// How to write a character that is meant.
fn suggest_escape_of_character(code_point: u32) -> String {
    let char = char::from_u32(code_point).filter(|char| !char.is_ascii()).map(String::from).unwrap_or_default();
    let escape: String = char.bytes().map(|byte| format!("%{byte:02X}")).collect();
    if escape.is_empty() { escape } else { format!(", or write {escape} if it is meant") }
}
