//! The text of a URL as a person wrote or pasted it: what no destination means and the parser would take in silence.
//! Each error names the character's place in the URL, from 1.

use std::{borrow::Cow, net::Ipv4Addr};

use url::{Host, Url};

use crate::{links::destination::url_error::UrlError, uri::percent};

/// What browsers and servers never take literally in path, query and fragment, by byte. RFC 3986 §3.3 to §3.5 allows
/// the others; `%` and `#` depend on what stands around them.
const FORBIDDEN_BEHIND_AUTHORITY: [bool; 256] = {
    let forbidden = b" \"<>[\\]^`{|}";
    let mut table = [false; 256];
    let mut at = 0;
    while at < forbidden.len() {
        table[forbidden[at] as usize] = true;
        at += 1;
    }
    table
};

/// Checks for invisible characters, for a second URL behind the first one, and for an `&` as HTML writes it.
pub(super) fn check_no_pasting_mistakes(url: &str) -> Result<(), UrlError> {
    let position = |offset: usize| url[..offset].chars().count() + 1;
    // Nearly every URL: a load checks millions of them.
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some((at, char)) = (!is_plain).then(|| find_invisible_character(url)).flatten() {
        return Err(UrlError::InvisibleCharacter { code_point: char.into(), position: position(at) });
    }
    if let Some(at) = find_second_url(url) {
        return Err(UrlError::SecondUrl { position: position(at) });
    }
    let html_at = |at: usize| HTML_AMPERSANDS.iter().find(|text| starts_with_ignoring_case(&url[at..], text));
    match memchr::memchr_iter(b'&', url.as_bytes()).find_map(|at| html_at(at).map(|text| (at, *text))) {
        Some((at, text)) => Err(UrlError::HtmlAmpersand { text, position: position(at) }),
        None => Ok(()),
    }
}

/// An `&` as HTML writes it.
const HTML_AMPERSANDS: [&str; 4] = ["&amp;", "&#38;", "&#038;", "&#x26;"];

/// The first character that nobody sees, or a space at an end, with its offset.
fn find_invisible_character(url: &str) -> Option<(usize, char)> {
    let len_without_last_spaces = url.trim_end_matches(' ').len();
    let is_wrong = |at: usize, char: char| match char {
        ' ' => at == 0 || at == len_without_last_spaces,
        char => is_invisible(char),
    };
    url.char_indices().find(|(at, char)| is_wrong(*at, *char))
}

/// Whether nobody sees the character, or sees a plain space: controls, white space beside the space, and what Unicode
/// calls formatting or default ignorable (zero-width characters, marks of direction, byte order marks, fillers).
fn is_invisible(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_control();
    }
    char.is_control()
        || char.is_whitespace()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Where a second `http://` or `https://` begins that stands behind a space, or that was pasted to the end of the
/// first URL. One behind `/`, `=` or the like is a value of the first.
fn find_second_url(url: &str) -> Option<usize> {
    let bytes = url.as_bytes();
    let first_colon = memchr::memmem::find(bytes, b"://")?;
    memchr::memmem::find(&bytes[first_colon + 3..], b"://")?;
    let query_at = url.find(['?', '#']).unwrap_or(url.len());
    memchr::memmem::find_iter(bytes, b"://")
        .filter_map(|colon| {
            let name_at = ["https", "http"].iter().find_map(|name| {
                let at = colon.checked_sub(name.len())?;
                bytes[at..colon].eq_ignore_ascii_case(name.as_bytes()).then_some(at)
            })?;
            Some(name_at)
        })
        .find(|at| {
            let before = &bytes[..*at];
            match before {
                [] => false,
                [.., b' '] => true,
                // A shared text in a query: `?text=Look%20https://…`.
                [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    *at <= query_at && matches!(percent::decode(&before[before.len() - 3..]).next(), Some(..=b' '))
                }
                [.., last] if last.is_ascii_alphanumeric() => true,
                [.., last] => *at <= query_at && b",;|\"'<>()[]+".contains(last),
            }
        })
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|front| front.eq_ignore_ascii_case(start.as_bytes()))
}

/// Encodes what RFC 3986 forbids behind the authority of a URL (behind `://` of an app's URL), a `%` without two
/// hexadecimal digits and a second `#` included. Non-ASCII characters stay: the parser encodes them. A backslash in the
/// path of a web URL stays too: the parser makes it a slash, as browsers do.
pub(super) fn encode_forbidden_bytes(url: &str) -> Cow<'_, str> {
    let Some(authority_at) = url.find("://").map(|at| at + 3) else { return Cow::Borrowed(url) };
    let scheme = &url[..authority_at - 3];
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    // The host of an app's URL means nothing to the parser, which leaves it as it is.
    let path_at = match url[authority_at..].find(['/', '?', '#', '\\']) {
        _ if !is_web => authority_at,
        at => at.map_or(url.len(), |len| authority_at + len),
    };
    let query_at = url[path_at..].find(['?', '#']).map_or(url.len(), |len| path_at + len);
    let fragment_at = url[path_at..].find('#').map_or(url.len(), |len| path_at + len);
    let bytes = url.as_bytes();
    let is_forbidden = |at: usize| match bytes[at] {
        b'%' => !percent::starts_with_escape(&bytes[at..]),
        b'#' => at > fragment_at,
        b'\\' if is_web && at < query_at => false,
        byte => FORBIDDEN_BEHIND_AUTHORITY[usize::from(byte)],
    };
    if !(path_at..bytes.len()).any(is_forbidden) {
        return Cow::Borrowed(url);
    }
    let mut encoded = bytes[..path_at].to_vec();
    for (at, byte) in bytes.iter().enumerate().skip(path_at) {
        if is_forbidden(at) { percent::push_escape(*byte, &mut encoded) } else { encoded.push(*byte) }
    }
    // Every replaced byte is a character, and escapes are ASCII.
    Cow::Owned(String::from_utf8_lossy(&encoded).into_owned())
}

/// Checks that the host of a web URL is one that buyers can reach: a name of at least two labels, `localhost`, or an
/// address in its usual form. A name of one label that `is_listed` holds is the operator's own.
pub(super) fn check_host_is_reachable(written: &str, url: &Url, is_listed: bool) -> Result<(), UrlError> {
    let authority_at = written.find("://").map_or(0, |at| at + 3);
    let rest = &written[authority_at..];
    let authority = &rest[..rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len())];
    let error = |offset: usize, why: &'static str| {
        let position = written[..authority_at + offset].chars().count() + 1;
        Err(UrlError::HostName { host: authority.to_owned(), position, why })
    };
    if authority.ends_with(':') {
        return error(authority.len() - 1, "a port is missing behind the colon");
    }
    match url.host() {
        Some(Host::Ipv4(address)) => {
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            match host.parse::<Ipv4Addr>() {
                Ok(written) if written == address => Ok(()),
                _ => error(0, "browsers read the number as an address; write a name, or four numbers with dots"),
            }
        }
        Some(Host::Ipv6(_)) => Ok(()),
        Some(Host::Domain(name)) => match find_mistake_in_name(name, authority, is_listed) {
            Some((offset, why)) => error(offset, why),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

/// Where in the written authority its host is no name that buyers can reach, bytes, and why.
fn find_mistake_in_name(name: &str, authority: &str, is_listed: bool) -> Option<(usize, &'static str)> {
    if name.split('.').any(str::is_empty) {
        return Some((find_empty_label(authority), "a part between the dots is empty"));
    }
    let is_name_char = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    if let Some(bad) = name.chars().find(|char| !is_name_char(*char)) {
        return Some((authority.find(bad).unwrap_or(0), "a name has letters, digits, hyphens and dots"));
    }
    if name.len() > 253 || name.split('.').any(|label| label.len() > 63) {
        return Some((0, "a name has at most 253 characters, and 63 between two dots"));
    }
    if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        return Some((0, "no part of a name starts or ends with a hyphen"));
    }
    let is_reachable = name.contains('.') || name == "localhost" || is_listed;
    (!is_reachable)
        .then_some((0, "a name such as shop.example.com is needed; links.allowed_hosts may list a short one"))
}

/// Where a label of the written host is empty, bytes. An ideographic full stop separates labels too.
fn find_empty_label(authority: &str) -> usize {
    if authority.starts_with('.') {
        return 0;
    }
    authority.find("..").map(|at| at + 1).or_else(|| authority.rfind('.')).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::links::destination::policy::{DestinationPolicy, check_and_normalize_web_url};

    fn refusal(url: &str) -> String {
        check_and_normalize_web_url(url).expect_err(url).to_string()
    }

    #[test]
    fn a_character_that_nobody_sees_is_refused_at_its_place() {
        for (url, expected) in [
            ("https://shop.example.com/a\u{200b}", "an invisible character (U+200B) at character 27; remove it"),
            ("\u{200e}https://shop.example.com/", "an invisible mark of direction (U+200E) at character 1"),
            ("\u{feff}https://shop.example.com/", "a byte order mark (U+FEFF) at character 1"),
            ("https://shop.\u{ad}example.com/", "(U+00AD) at character 14"),
            ("https://shop.example.com/\u{e4}\u{2060}b?c", "or write %E2%81%A0 if it is meant"),
            ("https://shop.example.com/?q=a\u{a0}b", "white space (U+00A0) at character 30"),
            ("https://shop.example.com/\u{3000}", "white space (U+3000) at character 26"),
            ("https://shop.example.com/#a\u{2028}", "white space (U+2028) at character 28"),
            ("https://shop.example.com/\u{202e}moc", "an invisible mark of direction (U+202E)"),
            ("https://shop.example.com/\u{e0041}", "an invisible character (U+E0041)"),
            ("https://shop.example.com/\u{85}", "U+0085"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(expected), "{url:?}: {refusal}");
        }
    }

    #[test]
    fn a_second_url_is_refused_unless_it_is_a_value_of_the_first() {
        for (url, position) in [
            ("https://shop.example.com/a https://shop.example.com/b", 28),
            ("https://shop.example.com/?a=1 HTTP://shop.example.com/b", 31),
            ("https://shop.example.com/ahttps://shop.example.com/b", 27),
            ("https://shop.example.com/?id=5https://shop.example.com/?id=5", 31),
            ("https://shop.example.com/a,https://shop.example.com/b", 28),
            ("https://shop.example.com/a%20https://shop.example.com/b", 30),
            ("https://shop.example.com/a(https://shop.example.com/b)", 28),
        ] {
            assert!(refusal(url).contains(&format!("holds a second URL at character {position};")), "{}", refusal(url));
        }
        for good in [
            "https://track.example.com/deep?url=https://shop.example.com/",
            "https://archive.example.com/web/2026/https://shop.example.com/",
            "https://wa.example/?text=Look%20https://shop.example.com/",
            "https://shop.example.com/login;return=https://shop.example.com/",
            "https://shop.example.com/?urls=https://a.example/,https://b.example/",
        ] {
            assert_eq!(check_and_normalize_web_url(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn an_ampersand_of_html_is_refused_at_its_place() {
        for text in ["&amp;", "&AMP;", "&#38;", "&#x26;"] {
            let refusal = refusal(&format!("https://shop.example.com/?a=1{text}b=2"));
            assert!(refusal.contains("at character 30, which is how HTML writes &"), "{refusal}");
        }
    }

    #[test]
    fn a_host_that_no_buyer_reaches_is_refused_at_its_place() {
        for (url, expected) in [
            ("https://https://shop.example.com/", "the host \"https:\", wrong at character 14: a port is missing"),
            ("https://https//shop.example.com/", "wrong at character 9: a name such as shop.example.com is needed"),
            ("https://www.http://shop.example.com/", "a port is missing"),
            ("https://shop,example.com/", "the host \"shop,example.com\", wrong at character 13: a name has letters"),
            ("https://shop%2Cexample.com/", "a name has letters, digits, hyphens and dots"),
            ("https://shop;example.com/", "wrong at character 13"),
            ("https://shop'example.com/", "wrong at character 13"),
            ("https://shop..example.com/", "wrong at character 14: a part between the dots is empty"),
            ("https://shop.example.com./", "wrong at character 25: a part between the dots is empty"),
            ("https://.example.com/", "wrong at character 9: a part between the dots is empty"),
            ("https://shop.example.com.:8443/", "wrong at character 25: a part between the dots is empty"),
            ("https://shop\u{3002}\u{3002}com/", "wrong at character 9: a part between the dots is empty"),
            ("https://shop\u{3002}/", "wrong at character 9: a part between the dots is empty"),
            ("https://12345/", "the host \"12345\", wrong at character 9: browsers read the number as an address"),
            ("https://0x7f.1/", "browsers read the number as an address"),
            ("https://010.1.1.1/", "browsers read the number as an address"),
            ("https://shop/", "a name such as shop.example.com is needed"),
            ("https://undefined/x", "a name such as shop.example.com is needed"),
            ("https://-shop.example.com/", "no part of a name starts or ends with a hyphen"),
            ("https://shop-.example.com/", "no part of a name starts or ends with a hyphen"),
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains(expected), "{url}: {refusal}");
        }
        let long = format!("https://{}.example.com/", "a".repeat(64));
        assert!(refusal(&long).contains("at most 253 characters, and 63"));
        for good in
            ["https://127.0.0.1:8443/", "https://[2001:db8::1]/", "http://localhost:3000/", "https://a_b.example/"]
        {
            assert_eq!(check_and_normalize_web_url(good).as_deref(), Ok(good));
        }
        let own = DestinationPolicy { app_schemes: Vec::new(), allowed_hosts: vec!["shop".to_owned()] };
        assert_eq!(own.check_and_normalize_url_without_placeholders("http://shop/").as_deref(), Ok("http://shop/"));
    }

    #[test]
    fn what_rfc_3986_does_not_allow_is_encoded() {
        for (url, expected) in [
            (
                "https://a.example/x|y^z[1]`?p|q^r[2]`#f|g^h[3]`",
                "https://a.example/x%7Cy%5Ez%5B1%5D%60?p%7Cq%5Er%5B2%5D%60#f%7Cg%5Eh%5B3%5D%60",
            ),
            (
                "https://a.example/a b\"<>?c d\"<>#e f\"<>",
                "https://a.example/a%20b%22%3C%3E?c%20d%22%3C%3E#e%20f%22%3C%3E",
            ),
            ("https://a.example/100%?off=5%&x=%zz#1%", "https://a.example/100%25?off=5%25&x=%25zz#1%25"),
            ("https://a.example/%7C?%5b#%20", "https://a.example/%7C?%5b#%20"),
            ("https://a.example/a\\b?c\\d#e\\f", "https://a.example/a/b?c%5Cd#e%5Cf"),
            ("https://a.example/#one#two", "https://a.example/#one%23two"),
            ("https://a.example|b.example/", ""),
            (
                "https://a.example/-._~!$&'()*+,;=:@/?-._~!$&()*+,;=:@/?#-._~!$&'()*+,;=:@/?",
                "https://a.example/-._~!$&'()*+,;=:@/?-._~!$&()*+,;=:@/?#-._~!$&'()*+,;=:@/?",
            ),
        ] {
            assert_eq!(check_and_normalize_web_url(url).unwrap_or_default(), expected, "{url}");
        }
        let app = DestinationPolicy { app_schemes: vec!["shopapp".to_owned()], allowed_hosts: Vec::new() };
        let opened = app.check_and_normalize_url_without_placeholders("shopapp://item/a b|c?d[e]=^`");
        assert_eq!(opened.as_deref(), Ok("shopapp://item/a%20b%7Cc?d%5Be%5D=%5E%60"));
    }

    proptest! {
        #[test]
        fn each_url_that_is_taken_has_only_characters_of_rfc_3986(
            rest in "[ -~\u{e4}\u{20ac}\u{1f600}]{0,40}",
            front in prop::sample::select(&["https://a.example/", "https://a.example/?", "https://a.example/#",
                "https://a.example", "shopapp://x/", "shopapp://", "HTTP://a.example/?a=%"][..]),
        ) {
            let policy = DestinationPolicy { app_schemes: vec!["shopapp".to_owned()], allowed_hosts: Vec::new() };
            if let Ok(url) = policy.check_and_normalize_url_without_placeholders(&format!("{front}{rest}")) {
                let behind = url.split_once("://").unwrap().1;
                let bytes = behind.as_bytes();
                for (at, byte) in bytes.iter().enumerate() {
                    let allowed = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?#".contains(byte)
                        || *byte == b'%' && crate::uri::percent::starts_with_escape(&bytes[at..]);
                    prop_assert!(allowed, "{url}");
                }
                prop_assert!(behind.matches('#').count() <= 1, "{url}");
                // The text is taken again and stays as it is.
                let again = policy.check_and_normalize_url_without_placeholders(&url);
                prop_assert_eq!(again, Ok(url));
            }
        }
    }
}
