//! Finds host names and e-mail addresses in a user agent. Machines tell their operator by them.

use super::shape::AgentShape;

/// The ends of host names that occur in user agents. Few, since versions and models have dots too.
const TOP_LEVEL_DOMAINS: &[&[u8]] =
    &[b"com", b"net", b"org", b"io", b"co", b"ai", b"dev", b"info", b"biz", b"edu", b"gov"];

/// Further ends, outside the agents of phones, which name builds and regions like these.
const OTHER_TOP_LEVEL_DOMAINS: &[&[u8]] = &[
    b"app",
    b"me",
    b"cc",
    b"ly",
    b"gg",
    b"de",
    b"ru",
    b"fr",
    b"uk",
    b"eu",
    b"jp",
    b"cn",
    b"us",
    b"nl",
    b"pl",
    b"it",
    b"es",
    b"ch",
    b"at",
    b"se",
    b"no",
    b"fi",
    b"dk",
    b"br",
    b"in",
    b"ca",
    b"au",
    b"kr",
    b"tw",
    b"cz",
    b"tech",
    b"cloud",
    b"site",
    b"online",
    b"xyz",
    b"network",
    b"party",
    b"observer",
    b"agency",
    b"tools",
    b"systems",
    b"services",
    b"solutions",
    b"science",
    b"world",
];

/// The starts of packages (`com.google.GooglePlus`): a host name turned round.
const PACKAGE_STARTS: &[&[u8]] = &[b"com", b"net", b"org", b"jp", b"de"];

/// Whether a word of the agent is a host name or an e-mail address, outside the names of devices.
pub(super) fn has_host_name_or_mail_address(shape: &AgentShape<'_>, is_handheld_or_tv: bool) -> bool {
    let agent = shape.user_agent();
    let is_of_word = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._-@".contains(byte);
    // Most dots are a version's. A label begins behind a host's.
    let dots = memchr::memchr_iter(b'.', agent).filter(|dot| agent.get(dot + 1).is_some_and(u8::is_ascii_alphabetic));
    dots.into_iter().any(|dot| {
        let start = dot - agent[..dot].iter().rev().take_while(is_of_word).count();
        let end = dot + agent[dot..].iter().take_while(is_of_word).count();
        !shape.is_in_device_name(start) && is_host_name_or_mail_address(&agent[start..end], is_handheld_or_tv)
    })
}

fn is_host_name_or_mail_address(word: &[u8], is_handheld_or_tv: bool) -> bool {
    let word = word.strip_suffix(b".").unwrap_or(word);
    let is_mail_address = word.contains(&b'@');
    let host = word.rsplit(|byte| *byte == b'@').next().unwrap_or(word);
    let mut labels = host.rsplit(|byte| *byte == b'.');
    let (top_level, name) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    if name.is_empty() || host.contains(&b'_') {
        return false;
    }
    let is = |known: &[&[u8]], label: &[u8]| known.iter().any(|known| known.eq_ignore_ascii_case(label));
    if is_mail_address {
        return top_level.len() >= 2 && top_level.iter().all(u8::is_ascii_alphabetic);
    }
    let first = host.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is_package = labels.next().is_some() && is(PACKAGE_STARTS, first);
    let is_name = name.len() >= 2 && name.iter().any(u8::is_ascii_alphabetic);
    let is_top_level_domain =
        is(TOP_LEVEL_DOMAINS, top_level) || !is_handheld_or_tv && is(OTHER_TOP_LEVEL_DOMAINS, top_level);
    is_name && is_top_level_domain && !is_package
}
