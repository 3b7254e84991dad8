//! Which code on which host a request asks for, or why it asks for none. Reads the request line and `Host` alone.

use http::{HeaderMap, Method, Request, StatusCode, Version, header};

/// The longest request target that is answered, bytes (design §5; the event keeps 1 KiB of the query).
pub const MAX_TARGET: usize = 4096;
/// The longest host, bytes (RFC 1035 §2.3.4).
const MAX_HOST: usize = 255;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A code, by GET or HEAD.
    Code(Asked<'a>),
    /// One of the fixed paths of a host.
    Fixed(Fixed, &'a [u8]),
    /// Nothing that can be answered: the status and why.
    Refused(StatusCode, Refusal),
}

/// A code asked for on a host.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The host without its port, as sent.
    pub host: &'a [u8],
    /// The one path segment, percent-decoded once; 64 bytes at most, else cut (no code is longer).
    pub code: Segment<'a>,
    /// The raw query without `?`; empty if none.
    pub query: &'a [u8],
    /// Whether the method is HEAD.
    pub head: bool,
}

/// Paths that are no codes (design §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// `/`
    Root,
    /// `/robots.txt`
    Robots,
    /// `/favicon.ico`
    Favicon,
    /// `/.well-known/…`
    WellKnown,
}

/// Why a request is refused before its code is looked at; a label value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Neither GET nor HEAD.
    Method,
    /// `Host` missing, sent twice or malformed.
    Host,
    /// The target is longer than [`MAX_TARGET`].
    Uri,
    /// The target is neither a path nor an absolute URL: `*` and `host:port` belong to OPTIONS and CONNECT (RFC 9112 §3.2).
    Form,
}

impl Refusal {
    /// Every reason, in the order of its counter.
    pub const ALL: [Refusal; 4] = [Refusal::Method, Refusal::Host, Refusal::Uri, Refusal::Form];
    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refusal::Method => "method",
            Refusal::Host => "host",
            Refusal::Uri => "uri",
            Refusal::Form => "form",
        }
    }
    /// The body: one line for whoever tries by hand.
    pub const fn line(self) -> &'static str {
        match self {
            Refusal::Method => "only GET and HEAD are answered here\n",
            Refusal::Host => "exactly one valid Host header is needed\n",
            Refusal::Uri => "the request target is longer than 4096 bytes\n",
            Refusal::Form => "the request target is neither a path nor a whole URL\n",
        }
    }
}

/// A path segment: borrowed as it came, or decoded into place. Bytes beyond the longest code are cut to one more than
/// that, so that a longer segment stays no code.
#[derive(Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Without a percent sign: as sent.
    Raw(&'a [u8]),
    /// Decoded once.
    Decoded([u8; 65], usize),
}

impl Segment<'_> {
    /// The bytes to look up and to record.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Segment::Raw(bytes) => bytes,
            Segment::Decoded(bytes, len) => &bytes[..*len],
        }
    }
}

/// Reads a request, in the order of design §5: method, `Host`, size, fixed paths, code.
pub fn read<B>(request: &Request<B>) -> Target<'_> {
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => return Target::Refused(StatusCode::METHOD_NOT_ALLOWED, Refusal::Method),
    };
    let uri = request.uri();
    let authority = uri.authority().map(|authority| authority.as_str());
    let host = match request.version() {
        Version::HTTP_2 => host_of_two(request.headers(), authority),
        _ => host(request.headers(), authority),
    };
    let Some(host) = host else {
        return Target::Refused(StatusCode::BAD_REQUEST, Refusal::Host);
    };
    let path = uri.path();
    let query = uri.query().unwrap_or_default();
    // The `?` is a byte of it too; of an absolute-form target the authority was bounded above.
    if uri.path_and_query().map_or(0, |target| target.as_str().len()) > MAX_TARGET {
        return Target::Refused(StatusCode::URI_TOO_LONG, Refusal::Uri);
    }
    let Some(segments) = path.strip_prefix('/') else {
        return Target::Refused(StatusCode::BAD_REQUEST, Refusal::Form);
    };
    match path {
        "/" => Target::Fixed(Fixed::Root, host),
        "/robots.txt" => Target::Fixed(Fixed::Robots, host),
        "/favicon.ico" => Target::Fixed(Fixed::Favicon, host),
        _ if path.starts_with("/.well-known/") => Target::Fixed(Fixed::WellKnown, host),
        _ => {
            let code = segment(segments.as_bytes());
            Target::Code(Asked { host, code, query: query.as_bytes(), head })
        }
    }
}

/// The host asked for, without its port. Exactly one valid `Host` must have come (RFC 9112 §3.2); the authority of an
/// absolute-form target then takes its place (§3.2.2).
fn host<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Option<&'a [u8]> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (only, second) = (hosts.next()?, hosts.next());
    if second.is_some() {
        return None;
    }
    let sent = without_port(only.as_bytes())?;
    match authority {
        Some(authority) => without_port(authority.as_bytes()),
        None => Some(sent),
    }
}

/// The host asked for by HTTP/2: `:authority`, or `Host` in its place; if both came, they say the same (RFC 9113 §8.3.1).
fn host_of_two<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Option<&'a [u8]> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (authority.map(str::as_bytes), hosts.next().map(|host| host.as_bytes()), hosts.next()) {
        (Some(only), None, _) | (None, Some(only), None) => without_port(only),
        (Some(authority), Some(host), None) if authority.eq_ignore_ascii_case(host) => without_port(authority),
        _ => None,
    }
}

/// `host[:port]` without the port, if it is a registered name, an IPv4 address or a bracketed IPv6 address.
fn without_port(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.len() > MAX_HOST {
        return None;
    }
    let name_len = if bytes.first() == Some(&b'[') {
        let close = bytes.iter().position(|byte| *byte == b']')?;
        let inside = &bytes[1..close];
        let address = inside.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        (address && !inside.is_empty()).then_some(close + 1)?
    } else {
        let name = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
        let valid = bytes[..name].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        (valid && name > 0).then_some(name)?
    };
    let (name, port) = bytes.split_at(name_len);
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    port_fits.then_some(name)
}

/// Decodes a segment once, if it needs it. A broken escape stays as it is: no code holds a percent sign.
fn segment(raw: &[u8]) -> Segment<'_> {
    const KEPT: usize = 65;
    if memchr::memchr(b'%', raw).is_none() {
        return Segment::Raw(&raw[..raw.len().min(KEPT)]);
    }
    let mut decoded = [0; KEPT];
    let mut len = 0;
    for byte in percent_encoding::percent_decode(raw).take(KEPT) {
        decoded[len] = byte;
        len += 1;
    }
    Segment::Decoded(decoded, len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(method: &str, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap()
    }

    fn refusal(method: &str, uri: &str, hosts: &[&str]) -> Option<Refusal> {
        match read(&request(method, uri, hosts)) {
            Target::Refused(_, refusal) => Some(refusal),
            _ => None,
        }
    }

    #[test]
    fn method_comes_before_host_and_host_before_size() {
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        assert_eq!(refusal("POST", &long, &[]), Some(Refusal::Method));
        assert_eq!(refusal("GET", &long, &[]), Some(Refusal::Host));
        assert_eq!(refusal("GET", &long, &["a"]), Some(Refusal::Uri));
    }

    #[test]
    fn exactly_one_valid_host_is_asked_for() {
        for good in ["a", "go.example.com", "go.example.com:8080", "[::1]", "[::1]:80", "127.0.0.1:1", "a_b"] {
            assert_eq!(refusal("GET", "/x", &[good]), None, "{good}");
        }
        for bad in ["", ":80", "a b", "a:b", "a:123456", "[::1", "[]", "[x]", "a/b", "u@a", "a,b"] {
            assert_eq!(refusal("GET", "/x", &[bad]), Some(Refusal::Host), "{bad}");
        }
        assert_eq!(refusal("GET", "/x", &["a", "a"]), Some(Refusal::Host));
        assert_eq!(refusal("GET", "/x", &[&"a".repeat(256)]), Some(Refusal::Host));
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let request = request("GET", "http://b.example:81/x", &["a.example"]);
        assert!(matches!(read(&request), Target::Code(Asked { host: b"b.example", .. })));
        assert_eq!(refusal("GET", "http://u@b.example/x", &["a"]), Some(Refusal::Host));
    }

    #[test]
    fn an_http2_request_names_its_host_once_or_twice_alike() {
        let asked = |authority: Option<&str>, hosts: &[&str]| {
            let uri = authority.map_or("/x".to_owned(), |authority| format!("https://{authority}/x"));
            let mut request = request("GET", &uri, hosts);
            *request.version_mut() = Version::HTTP_2;
            match read(&request) {
                Target::Code(asked) => Some(String::from_utf8(asked.host.to_vec()).unwrap()),
                _ => None,
            }
        };
        let a = Some("a".to_owned());
        assert_eq!(asked(Some("a:81"), &[]), a);
        assert_eq!(asked(None, &["a"]), a);
        assert_eq!(asked(Some("a"), &["A"]), a);
        for (authority, hosts) in
            [(Some("a"), &["b"][..]), (Some("a"), &["a:81"]), (Some("a"), &["a", "a"]), (None, &[]), (Some("u@a"), &[])]
        {
            assert_eq!(asked(authority, hosts), None, "{authority:?} {hosts:?}");
        }
    }

    #[test]
    fn forms_of_other_methods_are_refused() {
        for target in ["*", "b.example", "b.example:443"] {
            assert_eq!(refusal("GET", target, &["a"]), Some(Refusal::Form), "{target}");
        }
        assert_eq!(read(&request("GET", "http://b.example", &["a"])), Target::Fixed(Fixed::Root, b"b.example"));
    }

    #[test]
    fn a_code_is_decoded_once_and_never_twice() {
        for (path, code) in [("/a%2Db", &b"a-b"[..]), ("/a%252D", b"a%2D"), ("/a%zz", b"a%zz"), ("/a/b", b"a/b")] {
            let request = request("GET", path, &["a"]);
            let Target::Code(asked) = read(&request) else { panic!("{path}") };
            assert_eq!(asked.code.as_bytes(), code);
        }
    }

    #[test]
    fn fixed_paths_are_no_codes() {
        for (path, fixed) in [
            ("/", Fixed::Root),
            ("/?a=b", Fixed::Root),
            ("/robots.txt", Fixed::Robots),
            ("/favicon.ico", Fixed::Favicon),
            ("/.well-known/assetlinks.json", Fixed::WellKnown),
        ] {
            assert_eq!(read(&request("GET", path, &["a"])), Target::Fixed(fixed, b"a"));
        }
    }

    proptest! {
        #[test]
        fn any_target_is_read_without_a_panic(target in "/[ -~&&[^ ]]{0,100}", host in "[ -~]{0,40}") {
            if let Ok(request) = Request::builder().uri(&target).header("host", &host).body(())
                && let Target::Code(asked) = read(&request)
            {
                prop_assert!(asked.code.as_bytes().len() <= 65);
                prop_assert!(asked.host.len() <= MAX_HOST);
            }
        }
    }
}
