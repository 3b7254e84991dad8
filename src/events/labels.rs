//! Labels: what made a request, where it came from, and whether it counts; each with its reason. Every click is kept
//! and labelled.
//!
//! The class is the first of these that fits:
//!
//! 1. `prefetch`: the request said so.
//! 2. `head`: a HEAD request, which no tap makes.
//! 3. `probe`, `preview`, `bot`: the user agent says so (`client::user_agent`).
//! 4. `non_navigation`: `Sec-Fetch-Dest` names an image, a frame or a script.
//! 5. `bot`: the user agent is absent, or is no browser's and no app's. Other headers do not help: scrapers send a
//!    browser's.
//! 6. `human`.
//!
//! A click counts if a person made it, on a live link that is not a test link, and it does not repeat a tap. The event
//! carries this decision, so that every consumer counts the same clicks.

use std::hash::BuildHasher;

use aho_corasick::BuildError;

use super::duplicates::DuplicateVerdict;
use crate::{
    client::{
        query_params::QueryParams,
        source::{InAppBrowser, find_in_app_browser, find_source_with_reason},
        user_agent::{
            UserAgentMatcher,
            agent_traits::{AgentKind, AgentTraits},
        },
    },
    model::click::{Carrier, Click, Flags, Method, Outcome, Text},
    word_enum::word_enum,
};

/// The version of the rules in this module, `client::source` and `client::user_agent`. It grows with every change that
/// can change a label.
pub(super) const LABELS_VERSION: u64 = 2;

word_enum! {
    /// What made the request.
    pub(crate) enum ClickClass {
        /// A person, as far as can be told.
        Human = "human",
        /// A crawler, a scanner, a script.
        Bot = "bot",
        /// A chat or a feed that draws a preview of the page.
        Preview = "preview",
        /// A browser that fetches the page before a tap that may never come.
        Prefetch = "prefetch",
        /// A HEAD request.
        Head = "head",
        /// An image, a frame, a script: not a page that somebody opened.
        NonNavigation = "non_navigation",
        /// A monitor.
        Probe = "probe",
    }
}

/// The labels that depend on the click alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClickLabels {
    pub(crate) class: ClickClass,
    pub(super) class_reason: &'static str,
    pub(super) source: &'static str,
    pub(super) source_reason: &'static str,
    pub(super) in_app: bool,
    /// Empty if unknown.
    pub(super) in_app_name: &'static str,
}

/// Whether a click counts, and why or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Countability {
    pub(super) countable: bool,
    pub(super) reason: &'static str,
}

/// Computes labels. Built once, for the delivery thread.
pub(crate) struct ClickLabeller {
    matcher: &'static UserAgentMatcher,
    /// Traits of recent user agents, by the hash of the user agent: a lookup costs a tenth of a pass of the automaton.
    /// Two user agents with the same 64-bit hash would share labels; the hash is seeded, so nobody can construct them.
    traits_cache: Vec<(u64, AgentTraits)>,
    hasher: foldhash::quality::RandomState,
}

/// Entries of the cache: 300 KB, of which only the used ones occupy the CPU's cache.
const TRAITS_CACHE_LEN: usize = 4096;

impl ClickLabeller {
    /// A labeller that has seen no click. Builds the process's automaton of user agents, unless that is done.
    pub(super) fn new() -> Result<ClickLabeller, BuildError> {
        let matcher = UserAgentMatcher::shared()?;
        let hasher = foldhash::quality::RandomState::default();
        // Every entry begins with the traits of the empty user agent, so that no entry is ever unset.
        let empty = (hasher.hash_one([0u8; 0].as_slice()), matcher.find_agent_traits(b""));
        Ok(ClickLabeller { matcher, traits_cache: vec![empty; TRAITS_CACHE_LEN], hasher })
    }

    fn find_agent_traits_cached(&mut self, user_agent: &[u8]) -> AgentTraits {
        let hash = self.hasher.hash_one(user_agent);
        let entry = &mut self.traits_cache[hash as usize % TRAITS_CACHE_LEN];
        if entry.0 != hash {
            *entry = (hash, self.matcher.find_agent_traits(user_agent));
        }
        entry.1
    }

    /// Computes the labels that depend on the click alone.
    pub(super) fn compute_labels(&mut self, click: &Click<'_>, params: &QueryParams<'_>) -> ClickLabels {
        let agent = self.find_agent_traits_cached(click.text(Text::UserAgent));
        let package = click.text(Text::AppPackage);
        let (class, class_reason) = classify_with_reason(click, &agent);
        let (source, source_reason) = find_source_with_reason(package, click.text(Text::Referer), params, &agent);
        let InAppBrowser { is_in_app, name } = find_in_app_browser(package, &agent);
        ClickLabels { class, class_reason, source, source_reason, in_app: is_in_app, in_app_name: name }
    }
}

/// The class, and the sign that decides it.
fn classify_with_reason(click: &Click<'_>, agent: &AgentTraits) -> (ClickClass, &'static str) {
    if click.flags.has(Flags::PREFETCH) {
        return (ClickClass::Prefetch, "prefetch_header");
    }
    if click.method == Method::Head {
        return (ClickClass::Head, "head_method");
    }
    match agent.kind {
        Some((AgentKind::Probe, reason)) => return (ClickClass::Probe, reason),
        Some((AgentKind::Preview, reason)) => return (ClickClass::Preview, reason),
        Some((AgentKind::Bot, reason)) => return (ClickClass::Bot, reason),
        Some((AgentKind::Tool | AgentKind::Unrecognised, _)) | None => {}
    }
    if click.flags.has(Flags::NON_NAVIGATION) {
        return (ClickClass::NonNavigation, "sec_fetch_dest");
    }
    if click.text(Text::UserAgent).is_empty() {
        return (ClickClass::Bot, "no_user_agent");
    }
    // Any agent that is no library's: the network stack of an app, or the name that the app gave itself.
    if click.carrier == Carrier::App {
        return (ClickClass::Human, "app_resolve");
    }
    match agent.kind {
        Some((_, reason)) => (ClickClass::Bot, reason),
        None => (ClickClass::Human, "browser"),
    }
}

/// Decides whether a click counts.
pub(super) fn decide_countable(
    class: ClickClass,
    outcome: Outcome,
    is_test_link: bool,
    duplicate: DuplicateVerdict,
) -> Countability {
    let not_countable = |reason| Countability { countable: false, reason };
    if class != ClickClass::Human {
        return not_countable(class.as_str());
    }
    match outcome {
        Outcome::Redirected if is_test_link => not_countable("test_link"),
        // Address and agent alone can be two people: such a repeat is marked, and counts.
        Outcome::Redirected if duplicate == DuplicateVerdict::Visitor => not_countable("duplicate"),
        Outcome::Redirected => Countability { countable: true, reason: "human" },
        Outcome::RefusedPrefetch => not_countable("prefetch"),
        _ => not_countable("orphan"),
    }
}

#[cfg(test)]
mod agent_corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_tap_of_a_person_on_a_live_link_that_is_not_a_test_link_counts() {
        let decide = |class, outcome, is_test_link, verdict| {
            let Countability { countable, reason } = decide_countable(class, outcome, is_test_link, verdict);
            (countable, reason)
        };
        let first = DuplicateVerdict::First;
        assert_eq!(decide(ClickClass::Human, Outcome::Redirected, false, first), (true, "human"));
        let repeated = DuplicateVerdict::Visitor;
        assert_eq!(decide(ClickClass::Human, Outcome::Redirected, false, repeated), (false, "duplicate"));
        let perhaps_repeated = DuplicateVerdict::AddressAgent;
        assert_eq!(decide(ClickClass::Human, Outcome::Redirected, false, perhaps_repeated), (true, "human"));
        assert_eq!(decide(ClickClass::Human, Outcome::Redirected, true, first), (false, "test_link"));
        assert_eq!(decide(ClickClass::Human, Outcome::RefusedPrefetch, false, first), (false, "prefetch"));
        for outcome in
            Outcome::ALL.iter().filter(|outcome| !matches!(outcome, Outcome::Redirected | Outcome::RefusedPrefetch))
        {
            assert_eq!(decide(ClickClass::Human, *outcome, false, first), (false, "orphan"), "{outcome:?}");
        }
        for class in ClickClass::ALL.iter().filter(|class| **class != ClickClass::Human) {
            assert!(!decide(*class, Outcome::Redirected, false, first).0, "{class:?}");
        }
    }

    #[test]
    fn the_surest_sign_of_the_platform_wins() {
        let mut labeller = ClickLabeller::new().unwrap();
        let mut source = |package: &'static str, agent: &'static str, referer: &'static str, query: &'static str| {
            let mut click = crate::events::encoder::tests::click();
            click.texts[Text::AppPackage as usize] = package.as_bytes();
            click.texts[Text::UserAgent as usize] = agent.as_bytes();
            click.texts[Text::Referer as usize] = referer.as_bytes();
            click.texts[Text::Query as usize] = query.as_bytes();
            let labels = labeller.compute_labels(&click, &QueryParams::parse_known_params(query.as_bytes()));
            (labels.source, labels.source_reason, labels.in_app_name)
        };
        let threads =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Barcelona 330.0.0.26.103";
        assert_eq!(source("com.instagram.android", threads, "", ""), ("instagram", "app_package", "instagram"));
        assert_eq!(source("", threads, "https://l.instagram.com/", ""), ("threads", "user_agent", "threads"));
        assert_eq!(source("", "", "https://m.youtube.com/watch?v=1", "gclid=1"), ("youtube", "referer", ""));
        assert_eq!(source("", "", "android-app://com.google.android.gm/", ""), ("email", "referer", ""));
        assert_eq!(source("", "", "https://mail.google.com/", ""), ("email", "referer", ""));
        assert_eq!(source("", "", "https://www.google.co.kr/", ""), ("google", "referer", ""));
        assert_eq!(source("", "", "https://notinstagram.com/", "ttclid=1"), ("tiktok", "ad_click_id", ""));
        assert_eq!(source("", "", "", "igsh=abc&fbclid=1"), ("instagram", "share_id", ""));
        assert_eq!(source("", "", "", "utm_source=IG&fbclid=1"), ("instagram", "utm_source", ""));
        assert_eq!(source("", "", "", "utm_source=lists&utm_medium=email"), ("email", "utm_medium", ""));
        assert_eq!(source("", "", "", "fbclid=1"), ("facebook", "ad_click_id", ""));
        assert_eq!(source("", "", "https://example.org/post", ""), ("web", "referer", ""));
        assert_eq!(source("", "", "about:blank", ""), ("direct", "no_referer", ""));
    }

    /// A line of the corpus: what a request said, and its expected labels.
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Recorded {
        class: String,
        source: String,
        #[serde(default)]
        in_app_name: String,
        #[serde(default)]
        method: String,
        headers: std::collections::BTreeMap<String, String>,
    }

    #[test]
    fn user_agents_and_headers_of_the_corpus_get_their_class_source_and_app() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agents.jsonl");
        let corpus = std::fs::read_to_string(path).unwrap();
        let mut labeller = ClickLabeller::new().unwrap();
        let mut wrong = Vec::new();
        for line in corpus.lines() {
            let recorded: Recorded = serde_json::from_str(line).unwrap();
            let headers: http::HeaderMap = recorded
                .headers
                .iter()
                .map(|(name, value)| {
                    (name.parse::<http::HeaderName>().unwrap(), value.parse::<http::HeaderValue>().unwrap())
                })
                .collect();
            let facts = crate::client::request_facts::RequestFacts::read_all_headers(&headers);
            let mut fetch = [0; 64];
            let mut click = crate::events::encoder::tests::click();
            click.texts[Text::UserAgent as usize] = facts.user_agent;
            click.texts[Text::Referer as usize] = facts.referer;
            click.texts[Text::AcceptLanguage as usize] = facts.accept_language;
            click.texts[Text::AppPackage as usize] = facts.app_package;
            click.texts[Text::SecFetch as usize] = facts.write_sec_fetch(&mut fetch);
            click.texts[Text::Query as usize] = b"";
            click.flags = Flags::default();
            click.flags.set_if(Flags::PREFETCH, facts.is_prefetch);
            click
                .flags
                .set_if(Flags::NON_NAVIGATION, facts.navigation == crate::client::request_facts::Navigation::NoTab);
            if recorded.method == "HEAD" {
                click.method = Method::Head;
            }
            if recorded.headers.get("accept").is_some_and(|accept| accept == "application/vnd.waypost.click+json") {
                click.carrier = Carrier::App;
            }
            let labels = labeller.compute_labels(&click, &QueryParams::default());
            let mut agent = Vec::new();
            crate::client::reduced_agent::push_reduced_agent(facts.user_agent, &mut agent);
            click.texts[Text::UserAgent as usize] = &agent;
            let reduced = labeller.compute_labels(&click, &QueryParams::default());
            let is_person = |labels: &ClickLabels| labels.class == ClickClass::Human;
            if (is_person(&reduced), reduced.in_app_name) != (is_person(&labels), labels.in_app_name) {
                wrong.push(format!("reduced: {} {}: {line}", reduced.class.as_str(), reduced.in_app_name));
            }
            let got = (labels.class.as_str(), labels.source, labels.in_app_name);
            if got != (&recorded.class, &recorded.source, &recorded.in_app_name) {
                wrong.push(format!("{got:?} ({}): {line}", labels.class_reason));
            }
        }
        assert!(corpus.lines().count() >= 100);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
