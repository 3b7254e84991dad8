//! What a request asks for: a code on a host, or a fixed path; or why the request is rejected. Reads the request line
//! and the host alone.

use http::{HeaderMap, Method, Request, StatusCode, Version, header};

use crate::{
    links::{
        domains::{Domain, Domains},
        routes::Route,
    },
    model::code,
    uri::{host::find_valid_host_of_authority, percent},
    word_enum::word_enum,
};

/// The longest request target, bytes. Longer ones are rejected.
pub const MAX_TARGET_LEN: usize = 4096;

/// The most bytes kept of a path segment: one more than the longest code has, so that a longer segment is no code.
pub const MAX_SEGMENT_LEN: usize = code::MAX + 1;

/// What a request asks for.
#[derive(Debug)]
pub enum RequestTarget<'a> {
    /// A code, by GET or HEAD.
    Code(RequestedCode<'a>),
    /// A path that is the same on each host.
    Fixed(FixedPath, RequestedHost<'a>),
    /// Nothing that can be answered.
    Rejected(RequestRejection),
}

/// The host that a request names.
#[derive(Clone, Copy, Debug)]
pub struct RequestedHost<'a> {
    /// The host without its port, as the client sent it.
    pub name: &'a [u8],
    /// The domain that answers for the host.
    pub domain: &'a Domain,
}

/// A code that a request asks for.
#[derive(Debug)]
pub struct RequestedCode<'a> {
    /// The host.
    pub host: RequestedHost<'a>,
    /// The path without its first slash, percent-decoded once.
    pub code: CodeSegment<'a>,
    /// The raw query without `?`, as it is recorded; empty if there is none.
    pub query: &'a [u8],
    /// The query that the destination is built from. It differs from `query` where the request has the shape of another
    /// tracker's URL.
    pub destination_query: &'a [u8],
    /// Whether the method is HEAD.
    pub is_head: bool,
    /// Whether something was glued to the code in the path, and left out.
    pub is_repaired: bool,
    /// The route that made the code of another tracker's URL.
    pub route: Option<&'a Route>,
}

/// A path that is no code on any host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedPath {
    /// `/`
    Root,
    /// `/robots.txt`
    Robots,
    /// `/favicon.ico`
    Favicon,
    /// `/.well-known/…`
    WellKnown,
}

word_enum! {
    /// Why a request is rejected before its code is read, in the order of the checks. The word is a metric's label
    /// value.
    pub enum RequestRejection {
        /// The method is neither GET nor HEAD.
        Method = "method",
        /// `Host` is missing, sent twice or malformed.
        Host = "host",
        /// The target is longer than [`MAX_TARGET_LEN`].
        TargetTooLong = "uri",
        /// The target is neither a path nor an absolute URL: `*` and `host:port` belong to OPTIONS and CONNECT (RFC
        /// 9112 §3.2).
        TargetForm = "form",
        /// The host is not configured, and such hosts are refused (`unknown_hosts`).
        UnknownHost = "unknown_host",
    }
}

impl RequestRejection {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            RequestRejection::Method => StatusCode::METHOD_NOT_ALLOWED,
            RequestRejection::Host | RequestRejection::TargetForm => StatusCode::BAD_REQUEST,
            RequestRejection::TargetTooLong => StatusCode::URI_TOO_LONG,
            RequestRejection::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    /// The body of the answer: one line for a person.
    pub const fn explanation_for_client(self) -> &'static str {
        match self {
            RequestRejection::Method => "only GET and HEAD are answered here\n",
            RequestRejection::Host => "exactly one valid Host header is needed\n",
            RequestRejection::TargetTooLong => "the request target is longer than 4096 bytes\n",
            RequestRejection::TargetForm => "the request target is neither a path nor a whole URL\n",
            RequestRejection::UnknownHost => "this host is not served here\n",
        }
    }
}

/// A path segment, percent-decoded once, of at most [`MAX_SEGMENT_LEN`] bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum CodeSegment<'a> {
    /// A segment without an escape: as the client sent it.
    Raw(&'a [u8]),
    /// A decoded segment, at the start of the buffer, and its length.
    Decoded([u8; MAX_SEGMENT_LEN], usize),
}

impl CodeSegment<'_> {
    /// Decodes a segment once, if it has an escape. A broken escape stays as it is: no code holds a percent sign.
    fn decode_percent_once_and_truncate(raw: &[u8]) -> CodeSegment<'_> {
        if memchr::memchr(b'%', raw).is_none() {
            return CodeSegment::Raw(&raw[..raw.len().min(MAX_SEGMENT_LEN)]);
        }
        let mut decoded = [0; MAX_SEGMENT_LEN];
        let mut len = 0;
        for byte in percent::decode(raw).take(MAX_SEGMENT_LEN) {
            decoded[len] = byte;
            len += 1;
        }
        CodeSegment::Decoded(decoded, len)
    }

    /// The decoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            CodeSegment::Raw(bytes) => bytes,
            CodeSegment::Decoded(bytes, len) => &bytes[..*len],
        }
    }
}

impl<'a> RequestTarget<'a> {
    /// Reads a request and finds its domain. The checks have an order: method, host, length of the target, form of the
    /// target, whether the host is served.
    pub fn reject_or_classify_and_find_domain<B>(request: &'a Request<B>, domains: &'a Domains) -> RequestTarget<'a> {
        let is_head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return RequestTarget::Rejected(RequestRejection::Method),
        };
        let Some(name) = find_valid_host(request) else {
            return RequestTarget::Rejected(RequestRejection::Host);
        };
        let uri = request.uri();
        // The `?` counts too. The authority of an absolute target was checked with the host.
        if uri.path_and_query().map_or(0, |target| target.as_str().len()) > MAX_TARGET_LEN {
            return RequestTarget::Rejected(RequestRejection::TargetTooLong);
        }
        let path = uri.path();
        let Some(segment) = path.strip_prefix('/') else {
            return RequestTarget::Rejected(RequestRejection::TargetForm);
        };
        let Some(domain) = domains.find_serving_host(name) else {
            return RequestTarget::Rejected(RequestRejection::UnknownHost);
        };
        let host = RequestedHost { name, domain };
        let query = uri.query().unwrap_or_default().as_bytes();
        match FixedPath::from_path(path) {
            Some(fixed_path) if !is_root_of_route(fixed_path, query, domain) => RequestTarget::Fixed(fixed_path, host),
            _ => RequestTarget::Code(RequestedCode {
                host,
                code: CodeSegment::decode_percent_once_and_truncate(segment.as_bytes()),
                query,
                destination_query: query,
                is_head,
                is_repaired: false,
                route: None,
            }),
        }
    }

    /// The host; a rejected request has none.
    pub(super) fn host(&self) -> Option<&RequestedHost<'a>> {
        match self {
            RequestTarget::Code(code) => Some(&code.host),
            RequestTarget::Fixed(_, host) => Some(host),
            RequestTarget::Rejected(_) => None,
        }
    }
}

/// Whether a request for `/` has the shape of a route. Its code is then made from the query.
#[cold]
fn is_root_of_route(fixed_path: FixedPath, query: &[u8], domain: &Domain) -> bool {
    fixed_path == FixedPath::Root && domain.routes.find_match(b"/", query).is_some()
}

impl FixedPath {
    fn from_path(path: &str) -> Option<FixedPath> {
        match path {
            "/" => Some(FixedPath::Root),
            "/robots.txt" => Some(FixedPath::Robots),
            "/favicon.ico" => Some(FixedPath::Favicon),
            _ if path.starts_with("/.well-known/") => Some(FixedPath::WellKnown),
            _ => None,
        }
    }
}

/// The valid host that a request names, without its port.
#[inline]
pub(super) fn find_valid_host<B>(request: &Request<B>) -> Option<&[u8]> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    match request.version() {
        Version::HTTP_2 => find_valid_http2_host(request.headers(), authority),
        _ => find_valid_http1_host(request.headers(), authority),
    }
}

/// The host of an HTTP/1 request. Exactly one valid `Host` is required (RFC 9112 §3.2); the authority of an absolute
/// target then takes its place (§3.2.2).
#[inline]
fn find_valid_http1_host<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Option<&'a [u8]> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (only, second) = (hosts.next()?, hosts.next());
    if second.is_some() {
        return None;
    }
    let host = find_valid_host_of_authority(only.as_bytes())?;
    match authority {
        Some(authority) => find_valid_host_of_authority(authority.as_bytes()),
        None => Some(host),
    }
}

/// The host of an HTTP/2 request: `:authority`, or `Host` in its place. If both are there, they are equal (RFC 9113
/// §8.3.1).
fn find_valid_http2_host<'a>(headers: &'a HeaderMap, authority: Option<&'a str>) -> Option<&'a [u8]> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (authority.map(str::as_bytes), hosts.next().map(|host| host.as_bytes()), hosts.next()) {
        (Some(only), None, _) | (None, Some(only), None) => find_valid_host_of_authority(only),
        (Some(authority), Some(host), None) if are_same_authority(authority, host) => {
            find_valid_host_of_authority(authority)
        }
        _ => None,
    }
}

/// Whether two authorities are the same but for case and a default port (RFC 9110 §4.2.3).
fn are_same_authority(one: &[u8], other: &[u8]) -> bool {
    strip_default_port(one).eq_ignore_ascii_case(strip_default_port(other))
}

/// An authority without an empty port and the default ports of `https` and `http`. Behind a proxy that ends TLS the
/// scheme of a request is either of them.
fn strip_default_port(authority: &[u8]) -> &[u8] {
    let ports: [&[u8]; 3] = [b":443", b":80", b":"];
    ports.iter().find_map(|port| authority.strip_suffix(*port)).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{links::domains::Config, uri::host::MAX_HOST_LEN};

    fn request(method: &str, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap()
    }

    fn domains() -> Domains {
        Domains::new(&Config::default()).unwrap()
    }

    fn rejection(method: &str, uri: &str, hosts: &[&str]) -> Option<RequestRejection> {
        match RequestTarget::reject_or_classify_and_find_domain(&request(method, uri, hosts), &domains()) {
            RequestTarget::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }

    fn fixed_path(uri: &str) -> Option<(FixedPath, Vec<u8>)> {
        match RequestTarget::reject_or_classify_and_find_domain(&request("GET", uri, &["a"]), &domains()) {
            RequestTarget::Fixed(fixed_path, host) => Some((fixed_path, host.name.to_vec())),
            _ => None,
        }
    }

    #[test]
    fn method_comes_before_host_and_host_before_size() {
        let long = format!("/{}", "a".repeat(MAX_TARGET_LEN));
        assert_eq!(rejection("POST", &long, &[]), Some(RequestRejection::Method));
        assert_eq!(rejection("GET", &long, &[]), Some(RequestRejection::Host));
        assert_eq!(rejection("GET", &long, &["a"]), Some(RequestRejection::TargetTooLong));
    }

    #[test]
    fn exactly_one_valid_host_is_required() {
        for good in ["a", "go.example.com", "go.example.com:8080", "[::1]", "[::1]:80", "127.0.0.1:1", "a_b"] {
            assert_eq!(rejection("GET", "/x", &[good]), None, "{good}");
        }
        for bad in ["", ":80", "a b", "a:b", "a:123456", "[::1", "[]", "[x]", "a/b", "u@a", "a,b"] {
            assert_eq!(rejection("GET", "/x", &[bad]), Some(RequestRejection::Host), "{bad}");
        }
        assert_eq!(rejection("GET", "/x", &["a", "a"]), Some(RequestRejection::Host));
        assert_eq!(rejection("GET", "/x", &[&"a".repeat(256)]), Some(RequestRejection::Host));
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let request = request("GET", "http://b.example:81/x", &["a.example"]);
        let domains = domains();
        let RequestTarget::Code(code) = RequestTarget::reject_or_classify_and_find_domain(&request, &domains) else {
            panic!("no code")
        };
        assert_eq!(code.host.name, b"b.example");
        assert_eq!(rejection("GET", "http://u@b.example/x", &["a"]), Some(RequestRejection::Host));
    }

    #[test]
    fn an_http2_request_names_its_host_once_or_twice_alike() {
        let host_of = |authority: Option<&str>, hosts: &[&str]| {
            let uri = authority.map_or("/x".to_owned(), |authority| format!("https://{authority}/x"));
            let mut request = request("GET", &uri, hosts);
            *request.version_mut() = Version::HTTP_2;
            match RequestTarget::reject_or_classify_and_find_domain(&request, &domains()) {
                RequestTarget::Code(code) => Some(String::from_utf8(code.host.name.to_vec()).unwrap()),
                _ => None,
            }
        };
        let a = Some("a".to_owned());
        assert_eq!(host_of(Some("a:81"), &[]), a);
        assert_eq!(host_of(None, &["a"]), a);
        for (authority, host) in
            [("a", "A"), ("a", "a:443"), ("a:443", "a"), ("a", "a:80"), ("a:", "a"), ("a:443", "A:443")]
        {
            assert_eq!(host_of(Some(authority), &[host]), a, "{authority} {host}");
        }
        for (authority, hosts) in
            [(Some("a"), &["b"][..]), (Some("a"), &["a:81"]), (Some("a"), &["a", "a"]), (None, &[]), (Some("u@a"), &[])]
        {
            assert_eq!(host_of(authority, hosts), None, "{authority:?} {hosts:?}");
        }
    }

    #[test]
    fn target_forms_of_other_methods_are_rejected() {
        for target in ["*", "b.example", "b.example:443"] {
            assert_eq!(rejection("GET", target, &["a"]), Some(RequestRejection::TargetForm), "{target}");
        }
        assert_eq!(fixed_path("http://b.example"), Some((FixedPath::Root, b"b.example".to_vec())));
    }

    #[test]
    fn a_code_is_decoded_once_and_never_twice() {
        for (path, code) in [("/a%2Db", &b"a-b"[..]), ("/a%252D", b"a%2D"), ("/a%zz", b"a%zz"), ("/a/b", b"a/b")] {
            let request = request("GET", path, &["a"]);
            let domains = domains();
            let RequestTarget::Code(requested) = RequestTarget::reject_or_classify_and_find_domain(&request, &domains)
            else {
                panic!("{path}")
            };
            assert_eq!(requested.code.as_bytes(), code);
        }
    }

    #[test]
    fn fixed_paths_are_no_codes() {
        for (path, fixed) in [
            ("/", FixedPath::Root),
            ("/?a=b", FixedPath::Root),
            ("/robots.txt", FixedPath::Robots),
            ("/favicon.ico", FixedPath::Favicon),
            ("/.well-known/assetlinks.json", FixedPath::WellKnown),
        ] {
            assert_eq!(fixed_path(path), Some((fixed, b"a".to_vec())));
        }
    }

    proptest! {
        #[test]
        fn any_target_is_read_without_a_panic(target in "/[ -~&&[^ ]]{0,100}", host in "[ -~]{0,40}") {
            let request = Request::builder().uri(&target).header("host", &host).body(());
            let domains = domains();
            if let Ok(request) = &request
                && let RequestTarget::Code(requested) =
                    RequestTarget::reject_or_classify_and_find_domain(request, &domains)
            {
                prop_assert!(requested.code.as_bytes().len() <= 65);
                prop_assert!(requested.host.name.len() <= MAX_HOST_LEN);
            }
        }
    }
}
