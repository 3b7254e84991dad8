//! The engine with click files.

use super::*;
use crate::{
    delivery::{
        Summary,
        committed::{CommittedSet, LaneKey},
        lane::JournalConflict,
        sink::{DeliveryReport, ReturnCause},
    },
    journal::{Seq, Watermark},
};

#[test]
fn clicks_of_all_lanes_of_a_topic_arrive_once_with_gapless_seqs_in_its_own_files() {
    for topic in Topic::ALL {
        let dir = tempfile::tempdir().unwrap();
        let mut edge = TestEdge::with_files(topic, dir.path(), 2);
        (0..3_000).for_each(|number| edge.append_numbered(number as usize % 2, number));
        edge.deliver_all();
        let lines = edge.lines();
        assert_eq!(count_by_number(&lines), once_each(0..3_000));
        for lane in 0..2 {
            let of_lane = lines.iter().filter(|line| line["lane"] == lane);
            let seqs: Vec<u64> = of_lane.map(|line| line["seq"].as_u64().unwrap()).collect();
            assert!(seqs.iter().copied().eq(0..1_500), "lane {lane}: {seqs:?}");
        }
        assert_eq!(edge.engine.delivered, 3_000);
        let summary = edge.engine.count_remaining_and_summarize();
        assert_eq!(summary, Summary { delivered: 3_000, remaining: 0, counted_all: true });
    }
}

#[test]
fn clicks_that_were_synced_and_not_acknowledged_at_a_crash_are_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    for cycle in 0..5 {
        let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
        (cycle * 100..(cycle + 1) * 100).for_each(|number| edge.append_numbered(0, number));
        // The files are synced, and the journal is not told; then the process dies, in the middle of a line.
        edge.engine.read_and_send_new(0, &mut 70, Instant::now());
        edge.sync_without_reports();
        drop(edge);
        let last = list_paths(&dir.path().join("clicks")).pop().unwrap();
        let mut torn = fs::read(&last).unwrap();
        torn.extend_from_slice(b"{\"type\":\"click\",\"sch");
        fs::write(&last, torn).unwrap();
    }
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    edge.deliver_all();
    assert_eq!(count_by_number(&edge.lines()), once_each(0..500));
}

#[test]
fn a_double_tap_is_labelled_and_keeps_its_label_when_it_is_written_again_after_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    let tap = sample_click();
    edge.append(0, &tap);
    edge.append(0, &tap);
    edge.engine.read_and_send_new(0, &mut 100, Instant::now());
    // The sink lost both lines.
    edge.engine.reports.push(DeliveryReport::AllReturned(ReturnCause::FileError));
    edge.engine.handle_delivery_reports_and_return_if_any(Instant::now());
    edge.engine.sink.record_buffer_if_accepting(Instant::now()).unwrap().clear();
    edge.deliver_all();
    let lines = edge.lines();
    let duplicates: Vec<bool> = lines.iter().map(|line| line["duplicate"].as_bool().unwrap()).collect();
    assert_eq!(duplicates, [false, true]);
}

#[test]
fn a_lane_that_has_read_nothing_states_no_time_before_which_all_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 2);
    (0..2).for_each(|lane| edge.append_numbered(lane, lane as u64));
    edge.engine.read_and_send_new(1, &mut 10, Instant::now());
    edge.sync_and_acknowledge();
    let stated = |lane: usize| edge.engine.lanes[lane].find_time_before_which_all_is_delivered_ms(5);
    assert_eq!((stated(0), stated(1)), (None, Some(5)), "the click of lane 0 waits");
}

#[test]
fn a_repeat_of_a_tap_that_was_delivered_before_a_kill_gets_the_verdict_it_would_have_had_without_the_kill() {
    let dir = tempfile::tempdir().unwrap();
    let tap = sample_click();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 2);
    // The lane is full of other clicks, so that the first tap is far behind in the ring.
    edge.append(0, &tap);
    (0..3_000).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    drop(edge);
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 2);
    // The second tap comes on another worker.
    edge.append(1, &tap);
    edge.deliver_all();
    let lines = edge.lines();
    let of_tap: Vec<_> = lines.iter().filter(|line| line["click_id"] == lines[0]["click_id"]).collect();
    let duplicates: Vec<&serde_json::Value> = of_tap.iter().map(|line| &line["duplicate"]).collect();
    assert_eq!(duplicates, [false, true]);
}

#[test]
fn after_the_loss_of_a_ring_a_first_tap_is_one_only_as_far_as_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    edge.append(0, &sample_click());
    edge.deliver_all();
    assert!(edge.lines()[0].get("duplicate_basis").is_none(), "nothing was lost before");
    drop(edge);
    fs::remove_file(dir.path().join("journal/clicks/lane-0000.ring")).unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    edge.append(0, &sample_click());
    edge.deliver_all();
    let line = &edge.lines()[1];
    assert_eq!((&line["duplicate"], &line["duplicate_basis"]), (&false.into(), &"unknown".into()));
}

#[test]
fn a_click_of_a_newer_builds_format_waits_over_restarts_and_its_lane_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    edge.append_numbered(0, 0);
    edge.lanes[0].append(b"of a newer format").unwrap();
    for number in 1..10 {
        edge.append_numbered(0, number);
    }
    for _ in 0..3 {
        for _ in 0..5 {
            edge.engine.poll_send_and_acknowledge_once(Instant::now(), true);
        }
        // To the next start the highest click in the files stands for every click before it, so none may follow this
        // one.
        assert_eq!(count_by_number(&edge.lines()), once_each(0..1));
        assert!(!edge.engine.lanes[0].is_all_delivered());
        drop(edge);
        edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    }
    edge.engine.poll_send_and_acknowledge_once(Instant::now(), true);
    assert_eq!(edge.engine.count_remaining_and_summarize().remaining, 10);
}

fn encode_malformed_click() -> Vec<u8> {
    let mut malformed = Vec::new();
    sample_click().encode(&mut malformed);
    // An outcome that this version of the format does not have.
    malformed[1] = 0xee;
    malformed
}

#[test]
fn a_click_that_no_build_can_decode_is_quarantined_by_number_kept_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    edge.append_numbered(0, 0);
    let malformed = encode_malformed_click();
    edge.lanes[0].append(&malformed).unwrap();
    (1..10).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    assert_eq!((count_by_number(&edge.lines()), edge.engine.delivered), (once_each(0..10), 10));
    let quarantined = edge.engine.lanes[0].reader.status().quarantined;
    let numbers: Vec<_> = quarantined.iter().map(|range| (range.first.get(), range.end.get())).collect();
    assert_eq!(numbers, [(1, 2)]);
    let kept = fs::read(dir.path().join("journal/clicks/quarantine/lane-0000.malformed")).unwrap();
    assert!(kept.windows(malformed.len()).any(|bytes| bytes == malformed));
    drop(edge);
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    assert_eq!(edge.engine.lanes[0].reader.status().quarantined, quarantined, "the next process states it too");
    edge.append_numbered(0, 10);
    edge.deliver_all();
    assert_eq!(count_by_number(&edge.lines()), once_each(0..11));
}

#[test]
fn a_quarantined_click_at_the_end_of_a_lane_is_no_contradiction_to_what_kafka_has_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    (0..3).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    let key = LaneKey { directory: edge.engine.lanes[0].reader.directory_id(), lane: 0 };
    let watermark = edge.engine.lanes[0].clicks.delivered_watermark();
    let committed = |next| {
        let watermark = Watermark { next: Seq::new(next), ..watermark };
        BTreeMap::from([(key, CommittedSet { watermark, above: Vec::new() })])
    };
    edge.engine.lanes[0].resume_known_epochs_from_committed(&committed(3));
    edge.lanes[0].append(&encode_malformed_click()).unwrap();
    edge.deliver_all();
    assert_eq!(edge.engine.lanes[0].clicks.delivered_watermark().next.get(), 4);
    let find_conflict = |edge: &TestEdge<_>, next| edge.engine.lanes[0].find_conflict_with_committed(&committed(next));
    assert_eq!(find_conflict(&edge, 3), None);
    assert!(matches!(find_conflict(&edge, 2), Some(JournalConflict::CheckpointBehind { .. })), "click 2 is missing");
    drop(edge);
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    edge.engine.lanes[0].resume_known_epochs_from_committed(&committed(3));
    assert_eq!(find_conflict(&edge, 3), None);
    assert!(matches!(find_conflict(&edge, 2), Some(JournalConflict::CheckpointBehind { .. })), "click 2 is missing");
}

#[test]
fn undelivered_clicks_are_counted_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_files(Topic::Clicks, dir.path(), 1);
    (0..100).for_each(|number| edge.append_numbered(0, number));
    edge.engine.read_and_send_new(0, &mut 30, Instant::now());
    edge.sync_and_acknowledge();
    let summary = edge.engine.count_remaining_and_summarize();
    assert_eq!(summary, Summary { delivered: 30, remaining: 70, counted_all: true });
}
