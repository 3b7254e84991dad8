//! The gate on user agents that others collected: the shares of machines, people and in-app browsers that get the right
//! labels.

use std::{fmt::Write, path::Path};

use super::{ClickClass, ClickLabeller};
use crate::{
    client::query_params::QueryParams,
    model::click::{Flags, Text},
};

/// The part of the corpus whose licences allow a copy.
const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agent_corpus/agents.jsonl");
/// The whole corpus, where it lies beside the checkout.
const WHOLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpora/agents.jsonl");

/// An agent of the corpus.
#[derive(serde::Deserialize)]
struct CollectedAgent {
    agent: String,
    class: String,
    kind: String,
    in_app: Option<String>,
    source: Option<String>,
    package: Option<String>,
}

impl CollectedAgent {
    fn is_machine(&self) -> bool {
        self.class == "machine"
    }
}

/// The headers that come with an agent.
#[derive(Clone, Copy, PartialEq)]
enum SentHeaders {
    /// What a browser sends at a tap.
    OfBrowser,
    /// None that is recorded.
    None,
}

/// How many agents of a group got the right label, and the others.
#[derive(Default)]
struct Score {
    right: usize,
    wrong: Vec<String>,
}

impl Score {
    fn count(&mut self, is_right: bool, line: impl FnOnce() -> String) {
        match is_right {
            true => self.right += 1,
            false => self.wrong.push(line()),
        }
    }

    /// Says what is wrong if more than `permille_wrong` of the group is.
    fn complain_above(&self, what: &str, permille_wrong: f64, complaints: &mut String) {
        let all = self.right + self.wrong.len();
        let permille = 1000.0 * self.wrong.len() as f64 / all as f64;
        println!("{what}: {} of {all} wrong, {permille:.2} in a thousand", self.wrong.len());
        if permille > permille_wrong || all == 0 {
            let _ = writeln!(
                complaints,
                "{what}: {permille:.2} in a thousand of {all} are wrong:\n{}",
                self.wrong.join("\n")
            );
        }
    }
}

fn class_source_and_app(
    labeller: &mut ClickLabeller,
    collected: &CollectedAgent,
    headers: SentHeaders,
) -> (ClickClass, &'static str, &'static str) {
    let mut click = crate::events::encoder::tests::click();
    click.flags = Flags::default();
    for text in [Text::Referer, Text::AcceptLanguage, Text::SecFetch, Text::Query, Text::AppPackage] {
        click.texts[text as usize] = b"";
    }
    click.texts[Text::UserAgent as usize] = collected.agent.as_bytes();
    if headers == SentHeaders::OfBrowser {
        click.texts[Text::AcceptLanguage as usize] = b"en-US,en;q=0.9";
        click.texts[Text::SecFetch as usize] = b"navigate/document/?1";
        click.texts[Text::AppPackage as usize] = collected.package.as_deref().unwrap_or_default().as_bytes();
    }
    let labels = labeller.compute_labels(&click, &QueryParams::default());
    (labels.class, labels.source, labels.in_app_name)
}

fn check_shares(corpus: &Path) {
    let mut labeller = ClickLabeller::new().unwrap();
    let [mut machines, mut disguised, mut people, mut look_alikes, mut in_app] = [(); 5].map(|()| Score::default());
    for line in std::fs::read_to_string(corpus).unwrap().lines() {
        let collected: CollectedAgent = serde_json::from_str(line).unwrap();
        let mut label = |headers| class_source_and_app(&mut labeller, &collected, headers);
        let (class, source, app) = label(SentHeaders::OfBrowser);
        let is_right = (class != ClickClass::Human) == collected.is_machine();
        if collected.is_machine() {
            disguised.count(is_right, || line.to_owned());
            machines.count(label(SentHeaders::None).0 != ClickClass::Human, || line.to_owned());
            continue;
        }
        let group = if collected.kind == "look_alike" { &mut look_alikes } else { &mut people };
        group.count(is_right, || format!("{class:?}: {line}"));
        if let Some(expected) = &collected.in_app {
            let is_app = app == expected && Some(source) == collected.source.as_deref();
            in_app.count(is_app, || format!("{app} {source}: {line}"));
        }
    }
    let mut complaints = String::new();
    machines.complain_above("machines", 10.0, &mut complaints);
    disguised.complain_above("machines with a browser's headers", 10.0, &mut complaints);
    people.complain_above("people", 0.5, &mut complaints);
    look_alikes.complain_above("people who look like machines", 25.0, &mut complaints);
    in_app.complain_above("in-app browsers", 20.0, &mut complaints);
    assert!(complaints.is_empty(), "{}\n{complaints}", corpus.display());
}

#[test]
fn of_the_collected_agents_99_percent_of_machines_and_almost_all_people_get_their_class() {
    check_shares(Path::new(COPY));
}

#[test]
fn of_the_whole_corpus_beside_the_checkout_the_same_shares_get_their_class() {
    match Path::new(WHOLE).exists() {
        true => check_shares(Path::new(WHOLE)),
        false => eprintln!("not run: {WHOLE} is not there"),
    }
}
