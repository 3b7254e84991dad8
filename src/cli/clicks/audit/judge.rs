//! Whether a click is missing, judged from what lies on the topics alone. `deploy/schemas/completeness.md` has the rule for
//! whoever wants to judge without us.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;

/// A lane that still takes clicks speaks at least each 10 s: one that is silent for longer may have answered what nobody saw.
const SILENT_MS: u64 = 30_000;

/// What of a click counts here.
#[derive(Debug, Deserialize)]
pub(super) struct Click<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    edge: Cow<'a, str>,
    lane: u16,
    epoch: u64,
    seq: u64,
    safe: u64,
}

/// A place in a lane's topic: everything before number `next` of `epoch`, and every earlier epoch.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    epoch: u64,
    next: u64,
}

/// What a lane says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Statement {
    edge: String,
    lane: u16,
    epoch: u64,
    kind: String,
    at_ms: u64,
    /// Absent in statements of earlier builds, as `dead_lettered` is.
    #[serde(default)]
    unrecorded: u64,
    ended: Vec<End>,
    topics: BTreeMap<String, Stands>,
}

#[derive(Clone, Debug, Deserialize)]
struct End {
    epoch: u64,
    cut: bool,
    next_seq: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Deserialize)]
struct Stands {
    next_seq: u64,
    safe: Mark,
    delivered: Mark,
    quarantined: Vec<Gone>,
    #[serde(default)]
    dead_lettered: Vec<Gone>,
    complete_to_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Gone {
    epoch: u64,
    from: u64,
    to: u64,
}

/// Numbers of an epoch, `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Span {
    pub(super) epoch: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What is found of one lane and topic. Counts are clicks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    /// On the topic, stubs of dead letters apart.
    pub(super) present: u64,
    pub(super) repeats: u64,
    /// Stubs on the topic, and numbers without one that the lane says are dead letters.
    pub(super) dead_lettered: u64,
    pub(super) quarantined: u64,
    pub(super) missing: Vec<Span>,
    /// Given, and gone with a machine that lost its power.
    pub(super) lost_by_cut: Vec<Span>,
    /// In the edge's journal, or on their way.
    pub(super) not_shipped: u64,
    /// Neither proved to be complete nor found to be wanting.
    pub(super) unproved: u64,
}

/// What is found of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LaneFound {
    pub(super) edge: String,
    pub(super) lane: u16,
    /// Every click older than this is on its topic, or counted below.
    pub(super) complete_to_ms: Option<u64>,
    pub(super) topics: BTreeMap<String, Found>,
    /// Clicks that were answered while there was no room to write them down: they have no number and are on no topic.
    pub(super) unrecorded: u64,
    /// Epochs of which nobody says how they ended: a copy of the directory ran, or statements are gone.
    pub(super) forked: Vec<u64>,
    /// Epochs that a power loss ended, and the last word before it: clicks after that may be lost without a trace.
    pub(super) cut: Vec<(u64, Option<u64>)>,
    /// It was open when it spoke last, and has been silent since then.
    pub(super) silent_since_ms: Option<u64>,
}

impl LaneFound {
    /// Whether clicks are missing.
    pub(super) fn missing(&self) -> bool {
        self.topics.values().any(|found| !found.missing.is_empty())
    }

    /// Whether all of it is proved.
    pub(super) fn complete(&self) -> bool {
        let whole = |found: &Found| {
            found.missing.is_empty() && found.lost_by_cut.is_empty() && found.not_shipped + found.unproved == 0
        };
        self.topics.values().all(whole)
            && self.forked.is_empty()
            && self.cut.is_empty()
            && self.silent_since_ms.is_none()
    }
}

/// All that was read.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lanes: BTreeMap<(String, u16), Lane>,
    /// Clicks older than this may have left the topics: what was delivered before is not judged.
    since_ms: u64,
    /// Records that are no clicks of ours.
    pub(super) strange: u64,
}

#[derive(Debug, Default)]
struct Lane {
    epochs: BTreeMap<u64, Epoch>,
    ends: BTreeMap<u64, End>,
    topics: BTreeMap<String, Topic>,
    last: Option<Last>,
}

#[derive(Debug, Default)]
struct Epoch {
    /// By topic.
    seen: BTreeMap<String, Seen>,
    /// When it spoke last, and of which epochs it said how they ended.
    said_ms: Option<u64>,
    unrecorded: u64,
    newest_end: Option<u64>,
}

/// One epoch and topic.
#[derive(Debug, Default)]
struct Seen {
    present: Ranges,
    dead: u64,
    repeats: u64,
    /// Numbers that will never come.
    gone: Ranges,
    /// Numbers that are dead letters, as the lane says.
    buried: Ranges,
    /// The highest that was said of it.
    safe: u64,
    given: u64,
}

/// One topic of a lane over all epochs.
#[derive(Debug, Default)]
struct Topic {
    delivered: Mark,
    safe: Mark,
    /// Delivered as the first statement after [`Ledger::since_ms`] has it.
    base: Option<Mark>,
}

#[derive(Debug)]
struct Last {
    at_ms: u64,
    open: bool,
    complete_to_ms: Option<u64>,
}

impl Ledger {
    /// Nothing read yet; what was delivered before `since_ms` will not be judged.
    pub(super) fn new(since_ms: u64) -> Ledger {
        Ledger { since_ms, ..Ledger::default() }
    }

    /// Notes a click, or the stub of a dead letter.
    pub(super) fn click(&mut self, topic: &str, click: &Click<'_>) {
        let lane = self.lanes.entry((click.edge.clone().into_owned(), click.lane)).or_default();
        let seen = seen(&mut lane.epochs, click.epoch, topic);
        seen.safe = seen.safe.max(click.safe);
        if !seen.present.add(click.seq, click.seq + 1) {
            seen.repeats += 1;
        } else if click.kind == "dead_lettered" {
            seen.dead += 1;
        }
    }

    /// Notes a statement, in the order in which they lie on their partition; one made after `to_ms` is left out.
    pub(super) fn statement(&mut self, said: Statement, to_ms: u64) {
        if said.at_ms > to_ms {
            return;
        }
        let lane = self.lanes.entry((said.edge, said.lane)).or_default();
        let epoch = lane.epochs.entry(said.epoch).or_default();
        epoch.said_ms = epoch.said_ms.max(Some(said.at_ms));
        epoch.unrecorded = epoch.unrecorded.max(said.unrecorded);
        epoch.newest_end = epoch.newest_end.max(said.ended.iter().map(|end| end.epoch).max());
        for (name, stands) in &said.topics {
            let topic = lane.topics.entry(name.clone()).or_default();
            topic.delivered = topic.delivered.max(stands.delivered);
            topic.safe = topic.safe.max(stands.safe);
            if said.at_ms >= self.since_ms {
                topic.base.get_or_insert(stands.delivered);
            }
            let given = &mut seen(&mut lane.epochs, said.epoch, name).given;
            *given = stands.next_seq.max(*given);
            let safe = &mut seen(&mut lane.epochs, stands.safe.epoch, name).safe;
            *safe = stands.safe.next.max(*safe);
            for gone in &stands.quarantined {
                seen(&mut lane.epochs, gone.epoch, name).gone.add(gone.from, gone.to);
            }
            for buried in &stands.dead_lettered {
                seen(&mut lane.epochs, buried.epoch, name).buried.add(buried.from, buried.to);
            }
        }
        lane.ends.extend(said.ended.into_iter().map(|end| (end.epoch, end)));
        if lane.last.as_ref().is_none_or(|last| last.at_ms <= said.at_ms) {
            let open = !matches!(&*said.kind, "closing" | "drained");
            let complete_to_ms = said.topics.values().map(|stands| stands.complete_to_ms).min().flatten();
            lane.last = Some(Last { at_ms: said.at_ms, open, complete_to_ms });
        }
    }

    /// The edges that spoke or clicked.
    pub(super) fn edges(&self) -> impl Iterator<Item = &str> {
        self.lanes.keys().map(|(edge, _)| edge.as_str())
    }

    /// Judges every lane, as of `now_ms`.
    pub(super) fn judge(&self, now_ms: u64) -> Vec<LaneFound> {
        let judged = |((edge, number), lane): (&(String, u16), &Lane)| lane.judge(edge, *number, self.since_ms, now_ms);
        self.lanes.iter().map(judged).collect()
    }
}

fn seen<'a>(epochs: &'a mut BTreeMap<u64, Epoch>, epoch: u64, topic: &str) -> &'a mut Seen {
    epochs.entry(epoch).or_default().seen.entry(topic.to_owned()).or_default()
}

impl Lane {
    fn judge(&self, edge: &str, lane: u16, since_ms: u64, now_ms: u64) -> LaneFound {
        let newest = self.epochs.last_key_value().map_or(0, |(epoch, _)| *epoch);
        let mut topics: BTreeMap<String, Found> = BTreeMap::new();
        for (number, epoch) in &self.epochs {
            for (name, seen) in &epoch.seen {
                let found = topics.entry(name.clone()).or_default();
                match self.topics.get(name) {
                    Some(topic) => self.count(found, *number, *number == newest, (name, topic, since_ms), seen),
                    // It never said a word.
                    None => found.unproved += seen.present.count(0, seen.present.end()),
                }
                found.repeats += seen.repeats;
                let unstubbed = seen.buried.iter().flat_map(|(from, to)| seen.present.absent(from, to));
                found.dead_lettered += seen.dead + unstubbed.map(|(from, to)| to - from).sum::<u64>();
                found.present += seen.present.count(0, seen.present.end()) - seen.dead;
                found.quarantined += seen.gone.count(0, seen.gone.end());
            }
        }
        let spoke = self.epochs.iter().filter(|(epoch, found)| **epoch > 0 && found.said_ms.is_some());
        let forked = spoke.filter(|(epoch, _)| **epoch != newest && !self.ends.contains_key(epoch));
        let cut = self.ends.values().filter(|end| end.cut);
        let cut = cut.map(|end| (end.epoch, self.epochs.get(&end.epoch).and_then(|epoch| epoch.said_ms)));
        let silent = self.last.as_ref().filter(|last| last.open && last.at_ms + SILENT_MS < now_ms);
        LaneFound {
            edge: edge.to_owned(),
            lane,
            complete_to_ms: self.last.as_ref().and_then(|last| last.complete_to_ms),
            topics,
            unrecorded: self.epochs.values().map(|epoch| epoch.unrecorded).sum(),
            forked: forked.map(|(epoch, _)| *epoch).collect(),
            cut: cut.filter(|(_, said)| said.is_none_or(|said| said >= since_ms)).collect(),
            silent_since_ms: silent.map(|last| last.at_ms),
        }
    }

    /// One epoch and topic, by the rule.
    fn count(&self, found: &mut Found, epoch: u64, newest: bool, of: (&str, &Topic, u64), seen: &Seen) {
        let (name, topic, since_ms) = of;
        let base = if since_ms > 0 { topic.base.unwrap_or(topic.delivered) } else { Mark::default() };
        let from = match epoch.cmp(&base.epoch) {
            std::cmp::Ordering::Less => return,
            std::cmp::Ordering::Equal => base.next,
            std::cmp::Ordering::Greater => 0,
        };
        let end = self.ends.get(&epoch);
        let ended_at = end.map(|end| end.next_seq.get(name).copied().unwrap_or(0));
        // A mark in a later epoch covers this one as a whole.
        let covered = |mark: Mark| match mark.epoch.cmp(&epoch) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => mark.next,
            std::cmp::Ordering::Greater => ended_at.unwrap_or(seen.safe).max(seen.safe),
        };
        let delivered = covered(topic.delivered);
        let safe = covered(topic.safe).max(seen.safe).max(delivered);
        let given = seen.present.end().max(seen.given).max(safe).max(ended_at.unwrap_or(0));
        let mut accounted = seen.present.clone();
        for (from, to) in seen.gone.iter().chain(seen.buried.iter()) {
            accounted.add(from, to);
        }
        let absent = |from: u64, to: u64| accounted.absent(from, to);
        let spans = |spans: Vec<(u64, u64)>| spans.into_iter().map(move |(from, to)| Span { epoch, from, to });
        let count = |spans: Vec<(u64, u64)>| spans.iter().map(|(from, to)| to - from).sum::<u64>();
        found.missing.extend(spans(absent(from, delivered)));
        let rest = from.max(delivered);
        found.not_shipped += count(absent(rest, safe));
        let rest = rest.max(safe);
        match end {
            Some(end) if end.cut => found.lost_by_cut.extend(spans(absent(rest, given))),
            Some(_) => found.not_shipped += count(absent(rest, given)),
            None if newest => found.not_shipped += count(absent(rest, given)),
            None => found.unproved += count(absent(rest, given)),
        }
    }
}

#[cfg(test)]
mod tests;
