//! Pages of segments that the medium does not give. Their clicks may be lost, and no others; what is lost is
//! quarantined by number, stated, and passed.

use std::{collections::BTreeSet, ops::Range, path::PathBuf};

use super::{
    reference::{ClickKey, Event, PendingClick},
    topic::TopicSimulation,
};
use crate::{
    delivery::simulation::find_test_clicks,
    journal::{LaneReader, LaneStatus, SeqRange, tests::machine::Machine},
};

const PAGE: u64 = 4096;
const FRAME_HEADER: usize = 48;

/// The unreadable pages of a topic's segments.
#[derive(Default)]
pub(super) struct DamagedPages {
    pages: Vec<(PathBuf, Range<u64>)>,
    /// The numbers of the clicks that have lain on an unreadable page.
    clicks: BTreeSet<u64>,
}

impl TopicSimulation {
    /// A page of a segment becomes unreadable; or all pages can be read again, for it was the cable.
    pub(super) fn change_unreadable_pages(&mut self, machine: &mut Machine) {
        let log = self.topic.name();
        if !self.damage.pages.is_empty() && self.pick(3) == 0 {
            machine.make_all_readable(log);
            self.damage.pages.clear();
            return;
        }
        let segments = machine.list_segments(log);
        if segments.is_empty() {
            return;
        }
        let path = &segments[self.pick(segments.len())];
        let pages = path.metadata().unwrap().len().div_ceil(PAGE);
        let offset = self.pick(pages as usize) as u64 * PAGE;
        machine.make_unreadable(log, path, offset..offset + PAGE);
        self.damage.pages.push((path.clone(), offset..offset + PAGE));
        self.counts.add(Event::PageUnreadable, 1);
        self.note_clicks_on_unreadable_pages();
    }

    /// Reads of the topic's files give few bytes at a time, or as many as are asked for. Nobody notices.
    pub(super) fn change_limit_of_reads(&mut self, machine: &mut Machine) {
        let limit = [0, 61, 700, 5_000][self.pick(4)];
        machine.limit_reads_to(self.topic.name(), limit);
        self.counts.add(Event::ReadsLimited, u64::from(limit > 0));
    }

    pub(super) fn has_unreadable_pages(&self) -> bool {
        !self.damage.pages.is_empty()
    }

    /// Notes which clicks lie on unreadable pages, also those that were written there just now.
    pub(super) fn note_clicks_on_unreadable_pages(&mut self) {
        for (path, page) in &self.damage.pages {
            let Ok(bytes) = std::fs::read(path) else { continue };
            for (number, payload) in find_test_clicks(&bytes) {
                if payload.start as u64 - (FRAME_HEADER as u64) < page.end && page.start < payload.end as u64 {
                    self.damage.clicks.insert(number);
                }
            }
        }
    }

    /// What may have become of a click, for the message of a failed test.
    pub(super) fn describe_damage(&self, key: ClickKey) -> String {
        let statuses = self.delivery.as_ref().map(|delivery| delivery.lane_statuses()).unwrap_or_default();
        let status = statuses.into_iter().find(|(lane, _)| *lane == key.0);
        format!("unreadable: {}; pages: {:?}; {status:#?}", self.may_be_unreadable(&key), self.damage.pages)
    }

    /// Whether the click has lain on an unreadable page.
    pub(super) fn may_be_unreadable(&self, key: &ClickKey) -> bool {
        self.appended.get(key).is_some_and(|number| self.damage.clicks.contains(number))
    }

    /// Takes the clicks from the pending ones that the delivery has found unreadable, and has quarantined or passed.
    pub(super) fn move_quarantined_unreadable_clicks_to_lost(&mut self) {
        if self.damage.clicks.is_empty() {
            return;
        }
        let statuses = self.delivery.as_ref().unwrap().lane_statuses();
        let acknowledged = self.process.as_ref().unwrap().acked_positions();
        let all = std::mem::take(&mut self.pending);
        let is_lost = |click: &PendingClick| {
            let status = statuses.iter().find(|(lane, _)| *lane == click.key.0).map(|(_, status)| status);
            let is_passed = acknowledged.get(&click.key.0).is_some_and(|acknowledged| click.end <= *acknowledged);
            self.may_be_unreadable(&click.key)
                && status.is_some_and(|status| {
                    is_quarantined(status, click.key) || is_passed && is_in_cut_part_of_epoch(status, click.key)
                })
        };
        let (lost, pending): (Vec<PendingClick>, Vec<PendingClick>) = all.into_iter().partition(is_lost);
        self.pending = pending;
        self.counts.add(Event::ClickUnreadableWhileRunning, lost.len() as u64);
        self.note_lost_clicks_whose_numbers_the_disk_refused(&lost);
        self.lost.extend(lost);
    }

    /// A disk that fails stops no delivery: if it refuses the numbers, and the process dies before a statement, then
    /// the audit calls these clicks missing.
    fn note_lost_clicks_whose_numbers_the_disk_refused(&mut self, lost: &[PendingClick]) {
        if lost.is_empty() {
            return;
        }
        let stored = self.delivery.as_ref().unwrap().read_stored_quarantined_ranges();
        let is_stored = |key: &ClickKey| {
            stored.iter().any(|(lane, ranges)| *lane == key.0 && ranges.iter().any(|range| contains(range, *key)))
        };
        self.unstored.extend(lost.iter().map(|click| click.key).filter(|key| !is_stored(key)));
    }

    /// A start has not found the click, which has lain on an unreadable page.
    pub(super) fn move_unreadable_click_to_lost(&mut self, click: PendingClick, readers: &[LaneReader]) {
        let reader = readers.iter().find(|reader| reader.lane() == click.key.0);
        let status = reader.expect("a lane with undelivered clicks").status();
        let is_stated = is_quarantined(&status, click.key) || is_in_cut_part_of_epoch(&status, click.key);
        assert!(is_stated, "{click:?} is unreadable, and not stated as lost: {status:#?}");
        self.counts.add(Event::ClickUnreadableAtStart, 1);
        self.lost.push(click);
    }
}

fn contains(range: &SeqRange, (_, epoch, seq): ClickKey) -> bool {
    range.epoch.get() == epoch && (range.first.get()..range.end.get()).contains(&seq)
}

fn is_quarantined(status: &LaneStatus, key: ClickKey) -> bool {
    status.quarantined.iter().any(|range| contains(range, key))
}

/// Whether a power cut may have taken the click, for all that the journal knows. What is lost there by other causes has
/// the same name.
fn is_in_cut_part_of_epoch(status: &LaneStatus, (_, epoch, seq): ClickKey) -> bool {
    status.epoch_ends.iter().any(|end| end.cut && end.epoch.get() == epoch && end.next_seq.get() <= seq)
}
