//! Hosts: of an authority (`host[:port]`, as in `Host`), and of a whole URL.

/// The longest host name, bytes (RFC 1035 §2.3.4). A longer authority is refused.
pub const MAX_HOST_LEN: usize = 255;

/// The host of an authority `host[:port]`. `None` unless the host is a registered name, an IPv4 address or an IPv6
/// address in brackets, and the port has at most five digits.
pub fn find_valid_host_of_authority(authority: &[u8]) -> Option<&[u8]> {
    if authority.len() > MAX_HOST_LEN {
        return None;
    }
    let host_len = if authority.first() == Some(&b'[') {
        find_len_of_leading_bracketed_ipv6(authority)?
    } else {
        find_len_of_leading_name_or_ipv4(authority)?
    };
    let (host, port) = authority.split_at(host_len);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_port.then_some(host)
}

/// The length of `[IPv6 address]` at the start of an authority, brackets included. Only the characters are checked.
fn find_len_of_leading_bracketed_ipv6(authority: &[u8]) -> Option<usize> {
    let after_bracket = authority.strip_prefix(b"[")?;
    let len = after_bracket.iter().position(|byte| *byte == b']')?;
    let is_address = after_bracket[..len].iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    (is_address && len > 0).then_some("[]".len() + len)
}

/// The length of a registered name or an IPv4 address at the start of an authority.
fn find_len_of_leading_name_or_ipv4(authority: &[u8]) -> Option<usize> {
    let len = authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len());
    let is_name =
        authority[..len].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (is_name && len > 0).then_some(len)
}

/// Scheme and host of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemeAndHost<'a> {
    /// The bytes before `://`.
    pub scheme: &'a [u8],
    /// The bytes between `://` and the path, without the port. Not validated; empty in `file:///x`.
    pub host: &'a [u8],
}

/// Finds scheme and host of a URL `scheme://host[:port]…`. `None` if the URL has no `://`.
pub fn find_scheme_and_host(url: &[u8]) -> Option<SchemeAndHost<'_>> {
    // A search for three bytes costs more to set up than the scheme is long.
    let scheme_len = memchr::memchr_iter(b':', url).find(|at| url[*at..].starts_with(b"://"))?;
    let rest = &url[scheme_len + 3..];
    let authority = &rest[..rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len())];
    let host = match memchr::memrchr(b':', authority) {
        // A colon inside brackets belongs to an IPv6 address.
        Some(colon) if !authority[colon..].contains(&b']') => &authority[..colon],
        _ => authority,
    };
    Some(SchemeAndHost { scheme: &url[..scheme_len], host })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_authority_gives_its_host_without_the_port() {
        for (authority, host) in [
            ("a", "a"),
            ("go.example.com", "go.example.com"),
            ("go.example.com:8080", "go.example.com"),
            ("go.example.com.:80", "go.example.com."),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(find_valid_host_of_authority(authority.as_bytes()), Some(host.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn an_authority_that_is_no_host_is_refused() {
        for bad in ["", ":80", "a b", "a:b", "a:123456", "[::1", "[]", "[x]", "a/b", "u@a", "a,b", "\u{fc}"] {
            assert_eq!(find_valid_host_of_authority(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(find_valid_host_of_authority(&[b'a'; MAX_HOST_LEN + 1]), None);
    }

    #[test]
    fn a_url_gives_its_scheme_and_its_host_without_the_port() {
        for (url, scheme, host) in [
            ("https://shop.example.com/view", "https", "shop.example.com"),
            ("http://shop.example.com:8443?x=http://y/", "http", "shop.example.com"),
            ("https://[2001:db8::1]:8443/", "https", "[2001:db8::1]"),
            ("https://[2001:db8::1]/", "https", "[2001:db8::1]"),
            ("android-app://com.google.android.gm/", "android-app", "com.google.android.gm"),
            ("file:///x", "file", ""),
        ] {
            let expected = SchemeAndHost { scheme: scheme.as_bytes(), host: host.as_bytes() };
            assert_eq!(find_scheme_and_host(url.as_bytes()), Some(expected), "{url}");
        }
        assert_eq!(find_scheme_and_host(b"about:blank"), None);
    }

    proptest! {
        #[test]
        fn a_validated_host_starts_its_authority_and_holds_no_other_bytes(authority in "[a-z.:\\[\\]0-9@/ -]{0,40}") {
            if let Some(host) = find_valid_host_of_authority(authority.as_bytes()) {
                prop_assert!(authority.as_bytes().starts_with(host) && !host.is_empty());
                prop_assert!(host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte)));
            }
        }
    }
}
