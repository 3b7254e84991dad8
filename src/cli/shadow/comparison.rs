//! Compares what the old server did with what this one would do.

use url::Url;

use crate::{
    access_log::LogEntry,
    cli::shadow::new_answer::{CLICK_ID, CLICK_TOKEN, CodeAnswer, NewAnswer},
    links::routes::RouteMismatch,
    model::click::Outcome,
    uri::percent,
    word_enum::word_enum,
};

word_enum! {
    /// What became of one request of the log.
    pub(super) enum ShadowResult {
        /// Both lead to the same destination.
        Same = "same",
        /// The log names no destination, and a live link answers.
        Resolves = "resolves",
        /// The old server did not redirect, and this one does not either.
        FailedBefore = "failed_before",
        /// No GET and no HEAD: no click.
        OtherMethod = "other_method",
        /// `/`, `/robots.txt` and the like.
        FixedPath = "fixed_path",
        /// The destinations differ in scheme, host or port.
        OtherHost = "other_host",
        /// The destinations differ in their paths.
        OtherPath = "other_path",
        /// The destinations differ in their parameters.
        OtherQuery = "other_query",
        /// The link is not live.
        NotLive = "not_live",
        /// A route made a code that no link has.
        NoLink = "no_link",
        /// No link has the code, and no route the path.
        Unknown = "unknown",
        /// A route has the path, and a value of the code is missing.
        Incomplete = "incomplete",
        /// A route has the path, and a value of the code is given twice.
        Ambiguous = "ambiguous",
        /// A route has the path, and a value of the code holds what stands between two values.
        Joiner = "joiner",
        /// A route has the path, and a value of the code holds a character that a code cannot have.
        Character = "character",
        /// A route has the path, and the code would be too long.
        Long = "long",
        /// The old server redirected, and this one shows a page.
        Page = "page",
        /// This server rejects the request.
        Rejected = "rejected",
        /// The line is in no known format.
        Unreadable = "unreadable",
    }
}

impl ShadowResult {
    /// Whether the request is listed: its destination differs, or it leads nowhere, or nobody knows.
    pub(super) const fn is_difference(self) -> bool {
        !matches!(
            self,
            ShadowResult::Same
                | ShadowResult::Resolves
                | ShadowResult::FailedBefore
                | ShadowResult::OtherMethod
                | ShadowResult::FixedPath
        )
    }
}

/// The result of one request, and what this server would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) result: ShadowResult,
    /// Where this server leads to.
    pub(super) destination: Option<String>,
    /// The code that the request asks for.
    pub(super) code: Option<String>,
    /// The route that made the code.
    pub(super) route: Option<String>,
}

impl Comparison {
    /// Of a line that cannot be read.
    pub(super) fn unreadable() -> Comparison {
        Comparison::of(ShadowResult::Unreadable)
    }

    fn of(result: ShadowResult) -> Comparison {
        Comparison { result, destination: None, code: None, route: None }
    }
}

/// Compares a request of the log with this server's answer. The parameters `ignored` of destinations do not count.
pub(super) fn compare(entry: &LogEntry, answer: impl FnOnce() -> NewAnswer, ignored: &[String]) -> Comparison {
    if entry.method != "GET" && entry.method != "HEAD" {
        return Comparison::of(ShadowResult::OtherMethod);
    }
    let mut comparison = match answer() {
        NewAnswer::Rejected => Comparison::of(ShadowResult::Rejected),
        NewAnswer::FixedPath { location } => compare_fixed_path(entry, location, ignored),
        NewAnswer::Code(answer) => Comparison {
            result: compare_code(entry, &answer, ignored),
            destination: (!answer.destination.is_empty()).then_some(answer.destination),
            code: Some(answer.code),
            route: answer.route,
        },
    };
    let has_failed_before = entry.status.is_some_and(|status| status >= 400);
    if has_failed_before && comparison.result.is_difference() {
        comparison.result = ShadowResult::FailedBefore;
    }
    comparison
}

fn compare_fixed_path(entry: &LogEntry, location: Option<String>, ignored: &[String]) -> Comparison {
    let result = match (&entry.location, &location) {
        (Some(old), Some(new)) => compare_destinations(old, new, ignored),
        (Some(_), None) => ShadowResult::Page,
        (None, _) => ShadowResult::FixedPath,
    };
    Comparison { destination: location, ..Comparison::of(result) }
}

fn compare_code(entry: &LogEntry, answer: &CodeAnswer, ignored: &[String]) -> ShadowResult {
    match answer.outcome {
        Outcome::NotFound if answer.route.is_some() => ShadowResult::NoLink,
        Outcome::NotFound => match answer.mismatch {
            None | Some(RouteMismatch::Path) => ShadowResult::Unknown,
            Some(RouteMismatch::Incomplete) => ShadowResult::Incomplete,
            Some(RouteMismatch::Ambiguous) => ShadowResult::Ambiguous,
            Some(RouteMismatch::Joiner) => ShadowResult::Joiner,
            Some(RouteMismatch::Character) => ShadowResult::Character,
            Some(RouteMismatch::Long) => ShadowResult::Long,
        },
        Outcome::Redirected => match &entry.location {
            Some(old) => compare_destinations(old, &answer.destination, ignored),
            None => ShadowResult::Resolves,
        },
        Outcome::Fallback
        | Outcome::Passed
        | Outcome::Expired
        | Outcome::NotStarted
        | Outcome::Disabled
        | Outcome::RefusedPrefetch => ShadowResult::NotLive,
    }
}

/// Compares two destinations. The order of parameters and fragments do not count, and what is another for each click.
fn compare_destinations(old: &str, new: &str, ignored: &[String]) -> ShadowResult {
    let (Ok(old), Ok(new)) = (Url::parse(old), Url::parse(new)) else {
        return if old == new { ShadowResult::Same } else { ShadowResult::OtherHost };
    };
    if old.scheme() != new.scheme()
        || old.host() != new.host()
        || old.port_or_known_default() != new.port_or_known_default()
    {
        ShadowResult::OtherHost
    } else if !are_same_paths(&old, &new) {
        ShadowResult::OtherPath
    } else {
        let changing: Vec<String> =
            new.query_pairs().filter(|(_, value)| is_of_one_click(value)).map(|(name, _)| name.into_owned()).collect();
        let is_compared = |name: &String| !ignored.contains(name) && !changing.contains(name);
        let are_same = list_sorted_parameters(&old, is_compared) == list_sorted_parameters(&new, is_compared);
        if are_same { ShadowResult::Same } else { ShadowResult::OtherQuery }
    }
}

/// Whether a value of this server's destination is another for each click.
fn is_of_one_click(value: &str) -> bool {
    value.contains(CLICK_TOKEN) || value.contains(CLICK_ID)
}

/// Whether two paths have the same segments, but for those of `new` that are others for each click.
fn are_same_paths(old: &Url, new: &Url) -> bool {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.path().split('/').collect(), new.path().split('/').collect());
    let decode =
        |segment: &str| String::from_utf8_lossy(&percent::decode(segment.as_bytes()).collect::<Vec<u8>>()).into_owned();
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| *old == new || is_of_one_click(&decode(new)))
}

/// The parameters of a destination that are compared, sorted.
fn list_sorted_parameters(url: &Url, is_compared: impl Fn(&String) -> bool) -> Vec<(String, String)> {
    let mut parameters: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    parameters.retain(|(name, _)| is_compared(name));
    parameters.sort();
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_compared_by_what_counts() {
        let compared = |old: &str, new: &str| compare_destinations(old, new, &["click_id".to_owned()]);
        let old = "https://shop.example.com/x?b=2&a=1&click_id=77#top";
        for (new, expected) in [
            ("https://shop.example.com/x?a=1&b=2&wp={click_token}", ShadowResult::Same),
            ("https://shop.example.com/x?a=1&b={click_id}", ShadowResult::Same),
            ("https://shop.example.com/{click_id}?a=1&b=2", ShadowResult::Same),
            ("https://SHOP.example.com:443/x?a=1&b=%32", ShadowResult::Same),
            ("http://shop.example.com/x?a=1&b=2", ShadowResult::OtherHost),
            ("https://shop.example.com/y?a=1&b=2", ShadowResult::OtherPath),
            ("https://shop.example.com/x?a=1", ShadowResult::OtherQuery),
            ("https://shop.example.com/x?a=1&b=2&b=2", ShadowResult::OtherQuery),
        ] {
            assert_eq!(compared(old, new), expected, "{new}");
        }
        assert_eq!(compared("shopapp://x/y", "shopapp://x/y"), ShadowResult::Same);
        assert_eq!(compared("shopapp://x/y", "shopapp://z/y"), ShadowResult::OtherHost);
    }
}
