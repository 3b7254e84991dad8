//! Where a value stands in a request: `path:NAME`, `query:NAME` or `pair:NAME`.

/// Where a value stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueSource {
    /// The segment of the path that `{NAME}` of the route's path takes.
    PathSegment(Box<str>),
    /// The query parameter of this name. Case counts.
    QueryParameter(Box<str>),
    /// The pair of this name in the rest of the path. Case counts.
    PathPair(Box<str>),
}

impl ValueSource {
    /// Parses `path:NAME`, `query:NAME` or `pair:NAME`.
    ///
    /// # Errors
    /// What was found and what is allowed.
    pub(super) fn parse(text: &str) -> Result<ValueSource, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let source: fn(Box<str>) -> ValueSource = match kind {
            "path" => ValueSource::PathSegment,
            "query" => ValueSource::QueryParameter,
            "pair" => ValueSource::PathPair,
            _ => return Err(format!("has {text:?}; allowed are path:NAME, query:NAME and pair:NAME")),
        };
        if name.is_empty() {
            return Err(format!("has {text:?} without a name; write {kind}:NAME"));
        }
        Ok(source(name.into()))
    }
}
