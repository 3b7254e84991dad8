//! A request as somebody describes it: a URL, headers, a method, a time and the client's address.

use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};

/// A request to explain.
#[derive(Clone, Debug)]
pub struct ExplainedRequest {
    /// Method, target and headers, `Host` included.
    pub(super) request: Request<()>,
    /// The time of the request, milliseconds since the epoch.
    pub(super) at_ms: u64,
    /// Whether the request comes over TLS.
    pub(super) is_https: bool,
    /// The other end of the connection; `None`: this machine.
    pub(super) client: Option<IpAddr>,
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDescription {
    /// `url`, `method` or `headers`.
    pub part: &'static str,
    /// What was found, and what is allowed.
    pub message: String,
}

impl ExplainedRequest {
    /// This request, over a connection from `client`, which can be a proxy.
    #[must_use]
    pub fn from_client(self, client: Option<IpAddr>) -> ExplainedRequest {
        ExplainedRequest { client, ..self }
    }

    /// The request of a URL such as `https://go.example.com/mug?sub1=reel`, at `at_ms`, milliseconds since the epoch. A
    /// header `Host` takes the place of the URL's host.
    ///
    /// # Errors
    /// The first part that no request can have.
    pub fn describe<'a>(
        url: &str,
        method: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        at_ms: u64,
    ) -> Result<ExplainedRequest, InvalidDescription> {
        let invalid = |part, message: String| InvalidDescription { part, message };
        let uri: Uri = url.parse().map_err(|error| invalid("url", format!("{url:?} is no URL: {error}")))?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let (Some(authority), true) = (uri.authority(), is_web) else {
            return Err(invalid("url", format!("{url:?} is no URL of http or https; write https://HOST/CODE")));
        };
        let is_https = uri.scheme_str() == Some("https");
        let method: Method = method.parse().map_err(|_| invalid("method", format!("{method:?} is no method")))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::builder().method(method).uri(target).body(());
        let mut request = request.map_err(|error| invalid("url", error.to_string()))?;
        let host = HeaderValue::from_str(authority.as_str());
        request.headers_mut().insert(header::HOST, host.map_err(|error| invalid("url", error.to_string()))?);
        for (name, value) in headers {
            let form = || invalid("headers", format!("{name:?}: {value:?} is no header; write a name and its value"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| form())?;
            let value = HeaderValue::from_str(value).map_err(|_| form())?;
            if name == header::HOST {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        Ok(ExplainedRequest { request, at_ms, is_https, client: None })
    }
}
