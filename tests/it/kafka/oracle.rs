//! Compares the answers that buyers got with the records in the topics.

use std::{
    collections::{HashMap, HashSet},
    process::Output,
};

use serde_json::Value;

use super::{reader::Record, site::Answers};
use crate::dsl::{Site, until};

/// The tokens given to one command: an argument list is bounded.
const TOKENS: usize = 2_000;

/// Asserts that the records hold every answered click as it was answered, and no click that was never answered; a
/// repeat is equal to its first. Returns the number of repeats.
pub(crate) fn assert_records_match_answers(site: &Site, answers: &Answers, records: &[Record]) -> usize {
    let mut clicks: HashMap<String, Value> = HashMap::new();
    let mut repeats = 0;
    for record in records {
        let mut event = record.json();
        // Of the lane, not of the click: how far it was when the record was sent.
        event.as_object_mut().unwrap().remove("safe");
        let id = event["click_id"].as_str().unwrap().to_owned();
        if let Some(first) = clicks.get(&id) {
            assert_eq!(*first, event, "a repeat is the same click");
            repeats += 1;
        } else {
            clicks.insert(id, event);
        }
    }
    let answers: Vec<(&u64, &String)> = answers.iter().collect();
    let tokens: Vec<String> = answers.iter().map(|(_, location)| token(location)).collect();
    for ((number, location), (token, id)) in answers.iter().zip(tokens.iter().zip(click_ids_of(site, &tokens))) {
        let event = clicks.remove(&id).unwrap_or_else(|| panic!("click {number}, {id}, was answered and is not there"));
        let sent = event["destination"].as_str().unwrap().replace("{click_token}", token);
        assert_eq!(sent, **location, "{event}");
        assert_eq!(event["sub1"], number.to_string());
        assert_eq!((&event["outcome"], &event["status"]), (&"redirected".into(), &302.into()));
    }
    assert!(clicks.is_empty(), "there and never answered: {clicks:?}");
    repeats
}

/// Waits until `waypost clicks audit` finds the topics of this site complete.
pub(crate) fn wait_until_audit_is_complete(site: &Site, address: &str) {
    let mut said = String::new();
    until("an audit that finds everything", || {
        let Output { status, stdout, stderr } =
            site.command(&["clicks", "audit", "--kafka", address]).output().unwrap();
        let now = [stdout, stderr].concat();
        if said.as_bytes() != now {
            said = String::from_utf8_lossy(&now).into_owned();
            println!("{said}");
        }
        (status.code() == Some(0)).then_some(())
    });
}

fn token(location: &str) -> String {
    let url = url::Url::parse(location).unwrap();
    url.query_pairs().find(|(name, _)| name == "wp").unwrap().1.into_owned()
}

/// The click ids in these tokens, which the command `token verify` decodes.
fn click_ids_of(site: &Site, tokens: &[String]) -> Vec<String> {
    let mut ids = Vec::new();
    for tokens in tokens.chunks(TOKENS) {
        let mut command = site.command(&["token", "verify", "--json", "--data-dir"]);
        let Output { status, stdout, stderr } = command.arg(site.data()).args(tokens).output().unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let lines = String::from_utf8(stdout).unwrap();
        ids.extend(
            lines
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["click_id"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), tokens.len(), "every click has an id of its own");
    ids
}
