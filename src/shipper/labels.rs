//! Labels: what a click seems to be, each with its reason. Keep and label, never drop.
//!
//! Who it was, first that fits:
//!
//! 1. `prefetch`: the request said so.
//! 2. `head`: a HEAD request, which nobody's tap is.
//! 3. `probe`, `preview`, `bot`: the agent says so (`agents`), or there is none, or it is neither a browser's nor an app's.
//! 4. `non_navigation`: `Sec-Fetch-Dest` names an image, a frame, a script.
//! 5. `human`.
//!
//! Whether it counts (one verdict, or every consumer computes another): a human, on a live link that is no test, and not
//! the same tap twice.

use std::hash::BuildHasher;

use aho_corasick::BuildError;

use super::{
    agents::{Agent, Agents, Kind},
    duplicate::Verdict,
    params::Params,
    source,
};
use crate::model::click::{Carrier, Click, Flags, Method, Outcome, Text};

/// The version of the rules in this module, `agents` and `source`; grows whenever a verdict can differ.
pub(super) const VERSION: u64 = 1;

/// Who clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A person, as far as can be told.
    Human,
    /// A crawler, a scanner, a script.
    Bot,
    /// Somebody's chat or feed draws a card of the page.
    Preview,
    /// A browser fetched it ahead of a tap that may never come.
    Prefetch,
    /// A HEAD request.
    Head,
    /// An image, a frame, a script: not a page that somebody opened.
    NonNavigation,
    /// A monitor.
    Probe,
}

impl Class {
    /// Every class, for the metric that counts them; in the order of the discriminants.
    pub(super) const ALL: [Class; 7] =
        [Class::Human, Class::Bot, Class::Preview, Class::Prefetch, Class::Head, Class::NonNavigation, Class::Probe];

    /// The word in events and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Class::Human => "human",
            Class::Bot => "bot",
            Class::Preview => "preview",
            Class::Prefetch => "prefetch",
            Class::Head => "head",
            Class::NonNavigation => "non_navigation",
            Class::Probe => "probe",
        }
    }
}

/// The labels that depend on the click alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) class: Class,
    pub(super) class_reason: &'static str,
    pub(super) source: &'static str,
    pub(super) source_reason: &'static str,
    pub(super) in_app: bool,
    /// Empty if unknown.
    pub(super) in_app_name: &'static str,
}

/// Computes labels; built once, by the shipper's thread.
pub(super) struct Labeller {
    agents: Agents,
    /// Agents read lately, by their hash: one pass of the automaton costs ten times a look here. Two agents of one 64-bit hash
    /// (seeded, so that nobody can make them) would share a label.
    memo: Vec<(u64, Agent)>,
    hasher: foldhash::quality::RandomState,
}

/// Agents remembered: 300 KB, of which only those in use take a cache's room.
const MEMO: usize = 4096;

impl Labeller {
    /// Builds the agents' automaton.
    pub(super) fn new() -> Result<Labeller, BuildError> {
        let agents = Agents::new()?;
        let hasher = foldhash::quality::RandomState::default();
        // As if the empty agent had just been read everywhere.
        let memo = vec![(hasher.hash_one([0u8; 0].as_slice()), agents.read(b"")); MEMO];
        Ok(Labeller { agents, memo, hasher })
    }

    fn agent(&mut self, agent: &[u8]) -> Agent {
        let hash = self.hasher.hash_one(agent);
        let place = &mut self.memo[hash as usize % MEMO];
        if place.0 != hash {
            *place = (hash, self.agents.read(agent));
        }
        place.1
    }

    /// Labels one click.
    pub(super) fn read(&mut self, click: &Click<'_>, params: &Params<'_>) -> Labels {
        let agent = self.agent(click.text(Text::UserAgent));
        let package = click.text(Text::AppPackage);
        let packaged = source::of_package(package);
        let (class, class_reason) = class(click, &agent);
        let (source, source_reason) = origin(click, params, &agent);
        let app = packaged.or(agent.app);
        Labels {
            class,
            class_reason,
            source,
            source_reason,
            in_app: app.is_some() || agent.webview || !package.is_empty() && !source::is_browser_package(package),
            in_app_name: app.map_or("", |app| app.name),
        }
    }
}

fn class(click: &Click<'_>, agent: &Agent) -> (Class, &'static str) {
    if click.flags.has(Flags::PREFETCH) {
        return (Class::Prefetch, "prefetch_header");
    }
    if click.method == Method::Head {
        return (Class::Head, "head_method");
    }
    let name = click.text(Text::UserAgent);
    let app = click.carrier == Carrier::App;
    match agent.kind {
        Some((Kind::Probe, reason)) => return (Class::Probe, reason),
        Some((Kind::Preview, reason)) => return (Class::Preview, reason),
        Some((Kind::Bot, reason)) => return (Class::Bot, reason),
        Some((Kind::Tool, reason)) if !app && !is_browser(name) => return (Class::Bot, reason),
        _ => {}
    }
    if click.flags.has(Flags::NON_NAVIGATION) {
        return (Class::NonNavigation, "sec_fetch_dest");
    }
    if app {
        return (Class::Human, "app_resolve");
    }
    if name.is_empty() {
        return (Class::Bot, "no_user_agent");
    }
    // A stranger's agent gets the benefit of the doubt if it came with what only browsers send.
    let like_a_browser = !click.text(Text::AcceptLanguage).is_empty() || !click.text(Text::SecFetch).is_empty();
    if agent.app.is_none() && !is_browser(name) && !like_a_browser {
        return (Class::Bot, "not_a_browser");
    }
    (Class::Human, "browser")
}

/// Every browser in use, in-app ones included, starts like this; Opera Mini and UC's proxies are the old exceptions.
fn is_browser(agent: &[u8]) -> bool {
    agent.starts_with(b"Mozilla/") || agent.starts_with(b"Opera/") || agent.starts_with(b"UCWEB/")
}

/// The platform and how it is known, surest first: the app that shows the page, the page that held the link, an ad
/// click id, a share mark, what the link's own query says. `fbclid` is last: Instagram's and Facebook's are alike.
fn origin(click: &Click<'_>, params: &Params<'_>, agent: &Agent) -> (&'static str, &'static str) {
    if let Some(app) = source::of_package(click.text(Text::AppPackage)) {
        return (app.source, "app_package");
    }
    if let Some(app) = agent.app {
        return (app.source, "user_agent");
    }
    let referer = source::of_referer(click.text(Text::Referer));
    if let Some(source) = referer.filter(|source| *source != "web") {
        return (source, "referer");
    }
    let ad = params.ad.as_ref();
    if let Some(ad) = ad.filter(|ad| ad.name != "fbclid") {
        return (ad.source, "ad_click_id");
    }
    if params.instagram_share {
        return ("instagram", "share_id");
    }
    if let Some(source) = source::of_utm_source(params.utm_source) {
        return (source, "utm_source");
    }
    if params.utm_medium.eq_ignore_ascii_case(b"email") {
        return ("email", "utm_medium");
    }
    if let Some(ad) = ad {
        return (ad.source, "ad_click_id");
    }
    match referer {
        Some(source) => (source, "referer"),
        None => ("direct", "no_referer"),
    }
}

/// Whether the click counts, and why or why not.
pub(super) fn countable(class: Class, outcome: Outcome, test: bool, duplicate: Verdict) -> (bool, &'static str) {
    if class != Class::Human {
        return (false, class.as_str());
    }
    match outcome {
        Outcome::Redirected => {}
        Outcome::RefusedPrefetch => return (false, "prefetch"),
        _ => return (false, "orphan"),
    }
    if test {
        (false, "test_link")
    } else if duplicate.is_duplicate() {
        (false, "duplicate")
    } else {
        (true, "human")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_tap_of_a_human_on_a_live_link_that_is_no_test_counts() {
        let count = |class, outcome, test, verdict| countable(class, outcome, test, verdict);
        assert_eq!(count(Class::Human, Outcome::Redirected, false, Verdict::First), (true, "human"));
        assert_eq!(count(Class::Human, Outcome::Redirected, false, Verdict::Visitor), (false, "duplicate"));
        assert_eq!(count(Class::Human, Outcome::Redirected, true, Verdict::First), (false, "test_link"));
        assert_eq!(count(Class::Human, Outcome::RefusedPrefetch, false, Verdict::First), (false, "prefetch"));
        for outcome in
            Outcome::ALL.iter().filter(|outcome| !matches!(outcome, Outcome::Redirected | Outcome::RefusedPrefetch))
        {
            assert_eq!(count(Class::Human, *outcome, false, Verdict::First), (false, "orphan"), "{outcome:?}");
        }
        for class in Class::ALL.iter().filter(|class| **class != Class::Human) {
            assert!(!count(*class, Outcome::Redirected, false, Verdict::First).0, "{class:?}");
        }
        for (index, class) in Class::ALL.iter().enumerate() {
            assert_eq!(*class as usize, index);
        }
    }

    #[test]
    fn the_surest_sign_of_the_platform_wins() {
        let mut labeller = Labeller::new().unwrap();
        let mut source = |package: &'static str, agent: &'static str, referer: &'static str, query: &'static str| {
            let mut click = crate::shipper::event::tests::click();
            click.texts[Text::AppPackage as usize] = package.as_bytes();
            click.texts[Text::UserAgent as usize] = agent.as_bytes();
            click.texts[Text::Referer as usize] = referer.as_bytes();
            click.texts[Text::Query as usize] = query.as_bytes();
            let labels = labeller.read(&click, &Params::of(query.as_bytes()));
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

    /// A line of the corpus: what a request said, and what it has to be called.
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
    fn recorded_agents_and_header_sets_get_the_class_source_and_app_of_the_corpus() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agents.jsonl");
        let corpus = std::fs::read_to_string(path).unwrap();
        let mut labeller = Labeller::new().unwrap();
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
            let facts = crate::client::Facts::read(&headers);
            let mut fetch = [0; 64];
            let mut click = crate::shipper::event::tests::click();
            click.texts[Text::UserAgent as usize] = facts.user_agent;
            click.texts[Text::Referer as usize] = facts.referer;
            click.texts[Text::AcceptLanguage as usize] = facts.accept_language;
            click.texts[Text::AppPackage as usize] = facts.app_package;
            click.texts[Text::SecFetch as usize] = facts.sec_fetch(&mut fetch);
            click.texts[Text::Query as usize] = b"";
            click.flags = Flags::default();
            click.flags.set_if(Flags::PREFETCH, facts.prefetch);
            click.flags.set_if(Flags::NON_NAVIGATION, facts.non_navigation);
            if recorded.method == "HEAD" {
                click.method = Method::Head;
            }
            if facts.accept == b"application/vnd.waypost.click+json" {
                click.carrier = Carrier::App;
            }
            let labels = labeller.read(&click, &Params::default());
            let got = (labels.class.as_str(), labels.source, labels.in_app_name);
            if got != (&recorded.class, &recorded.source, &recorded.in_app_name) {
                wrong.push(format!("{got:?} ({}): {line}", labels.class_reason));
            }
        }
        assert!(corpus.lines().count() >= 100);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
