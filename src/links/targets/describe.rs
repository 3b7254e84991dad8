//! A condition and what it saw, in words, for an explanation.

use std::fmt::Write;

use crate::{
    links::{
        facts::Facts,
        targets::{
            Targets,
            condition::{CompiledCondition, ConditionKind},
        },
    },
    model::{
        device::{DeviceClass, Os},
        link::target::Visitor,
    },
};

impl CompiledCondition<'_> {
    /// What the condition asks and what it saw: `os is ios: saw android: no`.
    pub fn describe(&self, targets: &Targets<'_>, facts: &Facts<'_>) -> String {
        let verdict = self.judge(facts);
        let (asked, saw) = (self.describe_asked(targets), self.describe_seen(targets, facts));
        let answer = match (verdict.is_unknown, verdict.holds) {
            (true, _) => "no, because it is unknown",
            (false, true) => "yes",
            (false, false) => "no",
        };
        format!("{}{asked}: saw {saw}: {answer}", if self.is_negated { "not: " } else { "" })
    }

    fn describe_asked(&self, targets: &Targets<'_>) -> String {
        let of = |name: &str, words: Vec<String>| format!("{name} is {}", words.join(" or "));
        match self.kind {
            ConditionKind::Os => of("os", self.words_of_bits(Os::ALL.iter().map(|os| os.as_str().to_owned()))),
            ConditionKind::Device => {
                of("device", self.words_of_bits(DeviceClass::ALL.iter().map(|class| class.as_str().to_owned())))
            }
            ConditionKind::Split => of("split", self.words_of_bits(targets.variant_names().map(lossy))),
            ConditionKind::InApp => "in an app's own browser".to_owned(),
            ConditionKind::App => of("in_app", self.texts().map(lossy).collect()),
            ConditionKind::Source => of("source", self.texts().map(lossy).collect()),
            ConditionKind::Country => of("country", self.texts().map(lossy).collect()),
            ConditionKind::Region => of("region", self.texts().map(lossy).collect()),
            ConditionKind::Language => of("language", self.texts().map(lossy).collect()),
            ConditionKind::Time => "the time is in the window".to_owned(),
            ConditionKind::Visitor => {
                let visitor = self.operand.first().and_then(|number| Visitor::ALL.get(usize::from(*number)));
                of("visitor", visitor.map(|visitor| visitor.as_str().to_owned()).into_iter().collect())
            }
            ConditionKind::Query => self.describe_asked_parameter(),
        }
    }

    fn describe_asked_parameter(&self) -> String {
        let mut texts = self.texts().map(lossy);
        let name = texts.next().unwrap_or_default();
        let values: Vec<String> = texts.collect();
        match values.is_empty() {
            true => format!("query has {name}"),
            false => format!("query has {name} = {}", values.join(" or ")),
        }
    }

    fn describe_seen(&self, targets: &Targets<'_>, facts: &Facts<'_>) -> String {
        let or_unknown = |text: &[u8]| if text.is_empty() { "unknown".to_owned() } else { lossy(text) };
        match self.kind {
            ConditionKind::Os => facts.os.as_str().to_owned(),
            ConditionKind::Device => facts.device.as_str().to_owned(),
            ConditionKind::Split => {
                targets.variant_names().nth(usize::from(facts.variant)).map(lossy).unwrap_or_default()
            }
            ConditionKind::InApp | ConditionKind::App => match (facts.is_in_app, facts.app) {
                (false, _) => "no app".to_owned(),
                (true, "") => "an unknown app".to_owned(),
                (true, app) => app.to_owned(),
            },
            ConditionKind::Source => facts.source.to_owned(),
            ConditionKind::Country => or_unknown(facts.country.as_ref().map_or(&[][..], |country| country)),
            ConditionKind::Region => {
                let mut text = facts.country.as_ref().map_or(String::new(), |country| lossy(country));
                if !facts.region.is_empty() {
                    let _ = write!(text, "-{}", lossy(facts.region));
                }
                or_unknown(text.as_bytes())
            }
            ConditionKind::Language => or_unknown(facts.language.as_bytes()),
            ConditionKind::Time => {
                let time = i64::try_from(facts.now_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
                time.map_or_else(|| facts.now_ms.to_string(), |time| time.to_string())
            }
            ConditionKind::Visitor => facts.visitor.as_str().to_owned(),
            ConditionKind::Query => self.found_value(facts).map_or("no such parameter".to_owned(), lossy),
        }
    }

    fn words_of_bits(&self, words: impl Iterator<Item = String>) -> Vec<String> {
        let bits = self.operand.first_chunk::<2>().map_or(0, |bits| u16::from_le_bytes(*bits));
        words.enumerate().filter(|(at, _)| *at < 16 && bits & 1 << at != 0).map(|(_, word)| word).collect()
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
