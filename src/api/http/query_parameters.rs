//! The query parameters of a request. An unknown one is refused, because a filter with a typing error would match
//! everything.

use jiff::Timestamp;

use super::problem::{FieldError, Problem, ProblemKind};
use crate::uri::{percent, query::split_into_pairs};

/// The parameters that were given, each once.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct QueryParameters(Vec<(String, String)>);

impl QueryParameters {
    /// Reads the parameters of a query that may have those of `allowed`.
    ///
    /// # Errors
    /// All that are unknown, given twice, or no text.
    pub(in crate::api) fn parse(query: Option<&str>, allowed: &[&str]) -> Result<QueryParameters, Problem> {
        let mut given: Vec<(String, String)> = Vec::new();
        let mut errors = Vec::new();
        let decode = |bytes: &[u8]| String::from_utf8(percent::decode_form(bytes).collect());
        for pair in split_into_pairs(query.unwrap_or_default().as_bytes()).filter(|pair| !pair.whole.is_empty()) {
            let (Ok(name), Ok(value)) = (decode(pair.name()), decode(pair.value())) else {
                errors.push(FieldError::outside_body("query", "holds bytes that are no text in UTF-8"));
                continue;
            };
            if !allowed.contains(&&*name) {
                let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                errors.push(FieldError::outside_body(&name, format!("is unknown; allowed here: {known}")));
            } else if given.iter().any(|(known, _)| *known == name) {
                errors.push(FieldError::outside_body(&name, "is given twice"));
            } else {
                given.push((name, value));
            }
        }
        if errors.is_empty() {
            Ok(QueryParameters(given))
        } else {
            Err(Problem::of_errors(ProblemKind::Malformed, errors))
        }
    }

    /// Parameters that stand elsewhere than in a query.
    pub(in crate::api) fn of_pairs(pairs: Vec<(String, String)>) -> QueryParameters {
        QueryParameters(pairs)
    }

    /// The value of a parameter.
    pub(in crate::api) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A number within bounds; `default` if it is absent.
    ///
    /// # Errors
    /// It is no such number.
    pub(in crate::api) fn number(
        &self,
        name: &str,
        allowed: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_digits && allowed.contains(number));
        number.ok_or_else(|| {
            let (low, high) = (allowed.start(), allowed.end());
            Problem::of_parameter(name, format!("is {text:?}; allowed are {low} to {high}"))
        })
    }

    /// One of these words; `None` if it is absent.
    ///
    /// # Errors
    /// It is another word.
    pub(in crate::api) fn word<T: Copy>(
        &self,
        name: &str,
        words: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let mut known = Vec::new();
        for (word, value) in words {
            if word == text {
                return Ok(Some(value));
            }
            known.push(word);
        }
        Err(Problem::of_parameter(name, format!("is {text:?}; allowed are {}", known.join(", "))))
    }

    /// A time in RFC 3339 as milliseconds since the epoch; `None` if it is absent.
    ///
    /// # Errors
    /// It is no time.
    pub(in crate::api) fn time_ms(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<Timestamp>() {
            // Whatever was before 1970 is older than every link.
            Ok(time) => Ok(Some(u64::try_from(time.as_millisecond()).unwrap_or(0))),
            Err(_) => {
                let message = format!("is {text:?}; allowed is RFC 3339, such as 2026-11-01T00:00:00Z");
                Err(Problem::of_parameter(name, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_repeated_parameters_are_refused_by_name() {
        let problem = QueryParameters::parse(Some("limit=5&limmit=6&limit=7"), &["limit"]).unwrap_err();
        let text = problem.to_json().to_string();
        assert!(text.contains("limmit: is unknown") && text.contains("limit: is given twice"), "{text}");
        let query = QueryParameters::parse(Some("tag=a+b%26&limit=007"), &["limit", "tag"]).unwrap();
        assert_eq!((query.get("tag"), query.number("limit", 1..=9, 1).unwrap()), (Some("a b&"), 7));
        assert!(query.number("limit", 8..=9, 1).is_err());
    }
}
