//! Versions of links as HTTP names them: `ETag`, `If-Match`, `If-None-Match` (RFC 9110 §13).

use http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;

/// The `ETag` of a version.
pub(in crate::api) fn etag_of_version(version: u64) -> HeaderValue {
    // Digits and quotes are always a header's value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// What `If-Match` or `If-None-Match` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum NamedVersions {
    /// Every version: `*`.
    Any,
    /// These. A tag that is no version of ours is left out, because it never matches.
    Of(Vec<u64>),
}

impl NamedVersions {
    /// Whether they name the version of a link; `None`: there is no link.
    pub(in crate::api) fn contain(&self, version: Option<u64>) -> bool {
        match (self, version) {
            (_, None) => false,
            (NamedVersions::Any, Some(_)) => true,
            (NamedVersions::Of(versions), Some(version)) => versions.contains(&version),
        }
    }
}

/// The conditions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct Conditions {
    /// The link must have one of these versions.
    pub(in crate::api) if_match: Option<NamedVersions>,
    /// The link must have none of these versions.
    pub(in crate::api) if_none_match: Option<NamedVersions>,
}

impl Conditions {
    /// # Errors
    /// A header is no list of entity tags.
    pub(in crate::api) fn of_headers(headers: &HeaderMap) -> Result<Conditions, Problem> {
        // A weak tag matches where no byte has to be the same: a read, not a change.
        Ok(Conditions {
            if_match: parse_entity_tags(headers, &header::IF_MATCH, WeakTags::NeverMatch)?,
            if_none_match: parse_entity_tags(headers, &header::IF_NONE_MATCH, WeakTags::MatchAsStrong)?,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WeakTags {
    MatchAsStrong,
    NeverMatch,
}

fn parse_entity_tags(
    headers: &HeaderMap,
    name: &header::HeaderName,
    weak_tags: WeakTags,
) -> Result<Option<NamedVersions>, Problem> {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    if values.is_empty() {
        return Ok(None);
    }
    let refused = || {
        let message = "is no list of entity tags; send back an ETag with its quotes, such as \"17\"";
        Problem::of_parameter(name.as_str(), message)
    };
    let (mut versions, mut has_tag) = (Vec::new(), false);
    for value in values {
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Some(NamedVersions::Any));
        }
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            let (is_weak, quoted) = tag.strip_prefix("W/").map_or((false, tag), |tag| (true, tag));
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let Some(inner) = inner.filter(|inner| !inner.contains('"')) else {
                return Err(refused());
            };
            has_tag = true;
            if !is_weak || weak_tags == WeakTags::MatchAsStrong {
                versions.extend(inner.parse::<u64>());
            }
        }
    }
    if has_tag { Ok(Some(NamedVersions::Of(versions))) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(value: &str) -> Result<Option<NamedVersions>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        Conditions::of_headers(&headers).map(|conditions| conditions.if_match)
    }

    #[test]
    fn tags_are_read_as_versions() {
        assert_eq!(if_match("\"17\", \"18\"").unwrap(), Some(NamedVersions::Of(vec![17, 18])));
        assert_eq!(if_match("*").unwrap(), Some(NamedVersions::Any));
        assert_eq!(if_match("W/\"17\", \"foreign\"").unwrap(), Some(NamedVersions::Of(vec![])));
        assert!(if_match("17").is_err() && if_match("\"17").is_err() && if_match(" , ").is_err());
        assert!(NamedVersions::Any.contain(Some(1)) && !NamedVersions::Any.contain(None));
    }
}
