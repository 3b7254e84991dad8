use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
};

use super::*;
use crate::{
    journal::Mark,
    shipper::{
        files::{numbers_of, path_of},
        log::PAUSES,
    },
};

const EDGE: &str = "edge-1";

fn config() -> Config {
    Config { rotate_bytes: Bytes(1000), ..Config::default() }
}

fn open(dir: &Path, note: SinkNote) -> (FileSink, [scan::Found; 2]) {
    FileSink::open(dir.to_owned(), config(), EDGE, &[note], Duration::ZERO).unwrap()
}

fn line(lane: u16, seq: u64) -> String {
    format!("{{\"type\":\"click\",\"edge\":\"{EDGE}\",\"lane\":{lane},\"epoch\":7,\"seq\":{seq}}}")
}

fn write(sink: &mut FileSink, topic: Topic, line: &str) {
    sink.line(topic, Instant::now()).unwrap().extend_from_slice(line.as_bytes());
    sink.end_line(topic);
}

fn sync(sink: &mut FileSink) -> Vec<(Topic, Synced)> {
    let mut words = Vec::new();
    sink.tend(Instant::now(), true, |topic, synced| words.push((topic, synced)));
    words
}

fn lines(dir: &Path, topic: Topic) -> Vec<String> {
    let numbers = numbers_of(dir, topic.name()).unwrap();
    let texts = numbers.into_iter().map(|number| fs::read_to_string(path_of(dir, topic.name(), number)).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn each_topic_has_private_files_that_roll_over_at_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("clicks");
    let (mut sink, _) = open(&dir, [0; 64]);
    for seq in 0..40 {
        write(&mut sink, Topic::Clicks, &line(0, seq));
        assert_eq!(sync(&mut sink), [(Topic::Clicks, Synced::All)]);
    }
    write(&mut sink, Topic::Orphan, &line(0, 0));
    assert_eq!(sync(&mut sink), [(Topic::Orphan, Synced::All)]);
    assert_eq!(lines(&dir, Topic::Clicks), (0..40).map(|seq| line(0, seq)).collect::<Vec<_>>());
    assert!(numbers_of(&dir, Topic::Clicks.name()).unwrap().len() >= 2);
    assert_eq!(numbers_of(&dir, Topic::Orphan.name()).unwrap(), [1]);
    let facts = fs::metadata(dir.join("clicks.orphan-000001.jsonl")).unwrap();
    assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_next_start_cuts_a_torn_line_and_knows_what_lies_behind_the_note() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(dir.path(), [0; 64]);
    write(&mut sink, Topic::Clicks, &line(0, 0));
    sync(&mut sink);
    let note = sink.note();
    for seq in 1..60 {
        write(&mut sink, Topic::Clicks, &line(seq as u16 % 2, seq));
        sync(&mut sink);
    }
    drop(sink);
    let last = path_of(
        dir.path(),
        Topic::Clicks.name(),
        *numbers_of(dir.path(), Topic::Clicks.name()).unwrap().last().unwrap(),
    );
    let whole = fs::metadata(&last).unwrap().size();
    let torn = &line(0, 60)[..30];
    fs::OpenOptions::new().append(true).open(&last).unwrap().write_all(torn.as_bytes()).unwrap();

    let (mut sink, [found, orphan]) = open(dir.path(), note);
    assert_eq!(found.clicks, 59);
    assert_eq!(found.marks[&0], Mark { epoch: 7, next: 59 });
    assert_eq!(found.marks[&1], Mark { epoch: 7, next: 60 });
    assert_eq!(orphan.clicks, 0);
    assert_eq!(fs::metadata(&last).unwrap().size(), whole);
    write(&mut sink, Topic::Clicks, &line(0, 60));
    sync(&mut sink);
    let all = lines(dir.path(), Topic::Clicks);
    assert_eq!(all.len(), 61);
    assert_eq!(all.last(), Some(&line(0, 60)));
}

#[test]
fn a_hole_behind_the_last_sync_is_cut_and_its_other_side_kept_as_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(dir.path(), [0; 64]);
    for seq in 0..5 {
        write(&mut sink, Topic::Clicks, &line(0, seq));
    }
    sync(&mut sink);
    drop(sink);
    let path = path_of(dir.path(), Topic::Clicks.name(), 1);
    let len = line(0, 0).len() as u64 + 1;
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0; 20], 3 * len + 5).unwrap();

    let (_, [found, _]) = open(dir.path(), [0; 64]);
    assert_eq!(found.marks[&0], Mark { epoch: 7, next: 3 });
    assert_eq!(fs::metadata(&path).unwrap().size(), 3 * len);
    let aside = dir.path().join(format!("clicks-000001.damaged-{}", 3 * len));
    assert_eq!(fs::metadata(aside).unwrap().size(), 2 * len);
}

#[test]
fn lines_of_another_edge_are_not_counted_and_a_taken_file_s_number_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(dir.path(), [0; 64]);
    write(&mut sink, Topic::Clicks, &line(0, 0).replace(EDGE, "edge-2"));
    sync(&mut sink);
    let note = sink.note();
    drop(sink);
    let (_, [found, _]) = open(dir.path(), [0; 64]);
    assert!(found.marks.is_empty());
    fs::remove_file(path_of(dir.path(), Topic::Clicks.name(), 1)).unwrap();
    let (mut sink, _) = open(dir.path(), note);
    write(&mut sink, Topic::Clicks, &line(0, 1));
    sync(&mut sink);
    assert_eq!(numbers_of(dir.path(), Topic::Clicks.name()).unwrap(), [2]);
}

#[test]
fn after_a_write_error_the_file_is_cut_back_and_nothing_in_flight_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(dir.path(), [0; 64]);
    write(&mut sink, Topic::Clicks, &line(0, 0));
    sync(&mut sink);
    let synced = sink.note();
    // A write that got half-way: its bytes are in the file, then the disk says no.
    let path = path_of(dir.path(), Topic::Clicks.name(), 1);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"half").unwrap();
    let writable = sink.logs[0].file.replace(File::open(&path).unwrap());
    write(&mut sink, Topic::Clicks, &line(0, 1));
    assert_eq!(sync(&mut sink), [(Topic::Clicks, Synced::None)]);
    assert_eq!(sink.note(), synced);
    assert!(sink.line(Topic::Clicks, Instant::now()).is_none(), "waits before it tries again");
    assert!(sink.line(Topic::Orphan, Instant::now()).is_some(), "the other topic goes on");
    // The disk is well again.
    sink.logs[0].file = writable;
    let later = Instant::now() + PAUSES.1;
    sink.line(Topic::Clicks, later).unwrap().extend_from_slice(line(0, 1).as_bytes());
    sink.end_line(Topic::Clicks);
    assert_eq!(sync(&mut sink), [(Topic::Clicks, Synced::All)]);
    assert_eq!(lines(dir.path(), Topic::Clicks), [line(0, 0), line(0, 1)]);
}

#[test]
fn a_file_that_already_bears_the_next_name_is_left_alone_and_does_not_stop_the_topic() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sink, _) = open(dir.path(), [0; 64]);
    for number in [1, 4] {
        fs::write(path_of(dir.path(), Topic::Clicks.name(), number), "somebody's\n").unwrap();
    }
    write(&mut sink, Topic::Clicks, &line(0, 0));
    assert_eq!(sync(&mut sink), [(Topic::Clicks, Synced::All)]);
    // Behind every other, for the next start goes on in the last.
    assert_eq!(fs::read_to_string(path_of(dir.path(), Topic::Clicks.name(), 5)).unwrap(), line(0, 0) + "\n");
    assert_eq!(fs::read_to_string(path_of(dir.path(), Topic::Clicks.name(), 1)).unwrap(), "somebody's\n");
}

#[test]
fn files_are_deleted_only_when_told_and_never_the_one_being_written() {
    for (config, left) in [
        (config(), 6),
        (Config { keep_bytes: Some(Bytes(2_500)), ..config() }, 2),
        (Config { keep_age: Some(Duration::ZERO), ..config() }, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut sink, _) = FileSink::open(dir.path().to_owned(), config, EDGE, &[], Duration::ZERO).unwrap();
        for seq in 0..6 {
            write(&mut sink, Topic::Clicks, &format!("{}{}", line(0, seq), " ".repeat(1_000)));
            sync(&mut sink);
        }
        assert_eq!(numbers_of(dir.path(), Topic::Clicks.name()).unwrap().len(), left, "{:?}", sink.config);
    }
}
