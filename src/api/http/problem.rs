//! Answers to what goes wrong, as RFC 9457 forms them. The table of all problems stands here: word, status, title.

use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::response::{ApiResponse, ResponseBody, response_of_type};

macro_rules! problems_table {
    ($($(#[$doc:meta])* $kind:ident = $word:literal, $status:ident, $title:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(in crate::api) enum ProblemKind { $($(#[$doc])* $kind),* }

        impl ProblemKind {
            /// The last part of the problem's type.
            const fn word(self) -> &'static str {
                match self { $(ProblemKind::$kind => $word),* }
            }

            /// The status of the answer.
            pub(in crate::api) const fn status(self) -> StatusCode {
                match self { $(ProblemKind::$kind => StatusCode::$status),* }
            }

            const fn title(self) -> &'static str {
                match self { $(ProblemKind::$kind => $title),* }
            }
        }
    };
}

problems_table! {
    Malformed = "malformed", BAD_REQUEST, "The request cannot be read";
    Unauthorized = "unauthorized", UNAUTHORIZED, "An API key is needed";
    ScopeMissing = "scope-missing", FORBIDDEN, "The API key lacks a scope";
    NotFound = "not-found", NOT_FOUND, "There is no such thing";
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "The answer has no form that the client accepts";
    BodyTooSlow = "body-too-slow", REQUEST_TIMEOUT, "The body did not arrive in time";
    Exists = "exists", CONFLICT, "The link exists";
    CodeReserved = "code-reserved", CONFLICT, "The code belonged to another link";
    Unchangeable = "unchangeable", CONFLICT, "A field that never changes would change";
    /// A domain, a host or a time that this server does not take now.
    NotAcceptedHere = "not-accepted-here", CONFLICT, "This server does not take the link as it is set up now";
    SourceIsConfiguration = "source-is-configuration", CONFLICT, "The configuration defines the domain";
    SourceIsFile = "source-is-file", CONFLICT, "The links come from a file";
    ActTaken = "act-taken", CONFLICT, "The act is somebody else's";
    ActEnded = "act-ended", CONFLICT, "The change has ended";
    RequestInFlight = "request-in-flight", CONFLICT, "The first request with this key is not answered yet";
    VersionDiffers = "version-differs", PRECONDITION_FAILED, "The link has another version";
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body has another media type";
    Invalid = "invalid", UNPROCESSABLE_ENTITY, "The body breaks a rule";
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The key was used with another request";
    Frozen = "frozen", LOCKED, "Links are frozen";
    VersionNeeded = "version-needed", PRECONDITION_REQUIRED, "The link exists, so If-Match is needed";
    Busy = "busy", SERVICE_UNAVAILABLE, "The server has no room for the request";
    TooSlow = "too-slow", SERVICE_UNAVAILABLE, "The read took too long";
    TopicUnavailable = "topic-unavailable", SERVICE_UNAVAILABLE, "The topic of links cannot be written";
    WriterFenced = "writer-fenced", SERVICE_UNAVAILABLE, "Another edge writes to the topic of links";
    StoreFailing = "store-failing", SERVICE_UNAVAILABLE, "The catalog cannot be read or written";
}

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct FieldError {
    /// The field, the parameter or the header.
    pub(in crate::api) field: String,
    /// Where it stands in the body, as a JSON pointer; `None`: not in the body.
    pub(in crate::api) pointer: Option<String>,
    /// What was found and what is allowed.
    pub(in crate::api) message: String,
}

impl FieldError {
    /// A mistake in a field of the body's object.
    pub(in crate::api) fn in_body(field: &str, message: impl Into<String>) -> FieldError {
        let pointer = format!("/{}", field.replace('~', "~0").replace('/', "~1"));
        FieldError { field: field.to_owned(), pointer: Some(pointer), message: message.into() }
    }

    /// This mistake inside the field's value; `inside` is a JSON pointer that starts there.
    pub(in crate::api) fn inside(self, inside: &str) -> FieldError {
        FieldError { pointer: self.pointer.map(|pointer| pointer + inside), ..self }
    }

    /// A mistake in a query parameter or a header.
    pub(in crate::api) fn outside_body(name: &str, message: impl Into<String>) -> FieldError {
        FieldError { field: name.to_owned(), pointer: None, message: message.into() }
    }

    fn to_json(&self) -> Value {
        let mut value = json!({"field": self.field, "message": self.message});
        if let Some(pointer) = &self.pointer {
            value["pointer"] = pointer.as_str().into();
        }
        value
    }
}

/// A problem with what it says.
#[derive(Clone, Debug)]
pub(in crate::api) struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Vec<FieldError>,
    /// More members of the object.
    members: Map<String, Value>,
    headers: Vec<(header::HeaderName, String)>,
}

impl Problem {
    /// A problem; `detail` says what was found and what to do.
    pub(in crate::api) fn new(kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem { kind, detail: detail.into(), errors: Vec::new(), members: Map::new(), headers: Vec::new() }
    }

    /// A problem of these mistakes.
    pub(in crate::api) fn of_errors(kind: ProblemKind, errors: Vec<FieldError>) -> Problem {
        let texts: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Problem { errors, ..Problem::new(kind, texts.join("; ")) }
    }

    /// A problem of one parameter or header.
    pub(in crate::api) fn of_parameter(name: &str, message: impl Into<String>) -> Problem {
        Problem::of_errors(ProblemKind::Malformed, vec![FieldError::outside_body(name, message)])
    }

    /// There is nothing at this address, or nothing that the key reaches.
    pub(in crate::api) fn not_found() -> Problem {
        Problem::new(ProblemKind::NotFound, "nothing that this API key reaches has this address")
    }

    /// This problem with one more member.
    pub(in crate::api) fn with_member(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// This problem with one more header.
    pub(in crate::api) fn with_header(mut self, name: header::HeaderName, value: impl Into<String>) -> Problem {
        self.headers.push((name, value.into()));
        self
    }

    /// The status of the answer.
    pub(in crate::api) const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The object of RFC 9457.
    pub(in crate::api) fn to_json(&self) -> Value {
        let errors: Vec<Value> = self.errors.iter().map(FieldError::to_json).collect();
        let mut object = self.members.clone();
        object.insert("type".to_owned(), format!("urn:waypost:problem:{}", self.kind.word()).into());
        object.insert("title".to_owned(), self.kind.title().into());
        object.insert("status".to_owned(), self.kind.status().as_u16().into());
        object.insert("detail".to_owned(), self.detail.as_str().into());
        object.insert("errors".to_owned(), errors.into());
        Value::Object(object)
    }

    /// The answer.
    pub(in crate::api) fn into_response(self) -> ApiResponse {
        let body = ResponseBody::whole(self.to_json().to_string());
        let mut response = response_of_type(self.status(), "application/problem+json", body);
        let headers = response.headers_mut();
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => _ = headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1")),
            StatusCode::REQUEST_TIMEOUT => _ = headers.insert(header::CONNECTION, HeaderValue::from_static("close")),
            _ => {}
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}
