use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
};

use super::*;
use crate::{
    file_series::{file_path, list_file_numbers_ascending},
    journal::{Epoch, Seq},
    size::Bytes,
};

const EDGE: &str = "edge-1";

fn config() -> FilesConfig {
    FilesConfig { rotate_bytes: Bytes(1000), ..FilesConfig::default() }
}

fn open(dir: &Path, note: SinkNote) -> FileSink {
    open_topic(Topic::Clicks, dir, note)
}

fn open_topic(topic: Topic, dir: &Path, note: SinkNote) -> FileSink {
    FileSink::recover_clicks_and_open_files(topic, dir.to_owned(), config(), EDGE, &[note], Duration::ZERO).unwrap()
}

fn watermark(next: u64) -> Watermark {
    Watermark { epoch: Epoch::new(7), next: Seq::new(next) }
}

fn line(lane: u16, seq: u64) -> String {
    format!("{{\"type\":\"click\",\"edge\":\"{EDGE}\",\"lane\":{lane},\"epoch\":7,\"seq\":{seq}}}")
}

fn write(sink: &mut FileSink, line: &str) {
    write_at(sink, line, Instant::now());
}

fn write_at(sink: &mut FileSink, line: &str, now: Instant) {
    sink.record_buffer_if_accepting(now).unwrap().extend_from_slice(line.as_bytes());
    sink.writer.end_line_and_write_buffer_if_full(&sink.dir);
}

fn sync(sink: &mut FileSink) -> Vec<DeliveryReport> {
    let mut reports = Vec::new();
    sink.sync_rotate_and_report_if_due(Instant::now(), true, &mut reports);
    reports
}

fn numbers(dir: &Path, topic: Topic) -> Vec<u64> {
    list_file_numbers_ascending(dir, topic.name()).unwrap()
}

fn lines(dir: &Path, topic: Topic) -> Vec<String> {
    let read = |number| fs::read_to_string(file_path(dir, topic.name(), number)).unwrap();
    let texts = numbers(dir, topic).into_iter().map(read);
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn without_new_clicks_a_file_is_closed_at_its_age_and_deleted_beyond_the_time_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3_600);
    let mut sink = open(dir.path(), [0; 64]);
    sink.config.rotate_age = hour;
    sink.config.keep_age = Some(3 * hour);
    write(&mut sink, &line(0, 0));
    assert_eq!(sync(&mut sink), [DeliveryReport::AllDelivered]);
    let (mut reports, start) = (Vec::new(), Instant::now());
    sink.sync_rotate_and_report_if_due(start + 2 * hour, false, &mut reports);
    assert!(sink.writer.file.is_none() && numbers(dir.path(), Topic::Clicks) == [1], "closed, and still kept");
    let written_at = std::time::SystemTime::now() - 4 * hour;
    File::options().write(true).open(file_path(dir.path(), "clicks", 1)).unwrap().set_modified(written_at).unwrap();
    sink.sync_rotate_and_report_if_due(start + 4 * hour, false, &mut reports);
    assert_eq!((numbers(dir.path(), Topic::Clicks), reports.len()), (vec![], 0));
    // The number is not used again, by this process or the next one.
    let note = sink.journal_note();
    write(&mut sink, &line(0, 1));
    sync(&mut sink);
    assert_eq!(numbers(dir.path(), Topic::Clicks), [2]);
    drop(sink);
    let mut sink = open(dir.path(), note);
    write(&mut sink, &line(0, 2));
    sync(&mut sink);
    assert_eq!(lines(dir.path(), Topic::Clicks), [line(0, 1), line(0, 2)]);
}

#[test]
fn each_topic_has_private_files_that_are_rotated_at_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("clicks");
    let mut sink = open(&dir, [0; 64]);
    for seq in 0..40 {
        write(&mut sink, &line(0, seq));
        assert_eq!(sync(&mut sink), [DeliveryReport::AllDelivered]);
    }
    let mut orphans = open_topic(Topic::Orphan, &dir, [0; 64]);
    write(&mut orphans, &line(0, 0));
    assert_eq!(sync(&mut orphans), [DeliveryReport::AllDelivered]);
    assert_eq!(lines(&dir, Topic::Clicks), (0..40).map(|seq| line(0, seq)).collect::<Vec<_>>());
    assert!(numbers(&dir, Topic::Clicks).len() >= 2);
    assert_eq!(numbers(&dir, Topic::Orphan), [1]);
    let facts = fs::metadata(dir.join("clicks.orphan-000001.jsonl")).unwrap();
    assert_eq!(facts.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn the_next_start_cuts_a_torn_line_and_recovers_the_clicks_behind_the_note() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), [0; 64]);
    write(&mut sink, &line(0, 0));
    sync(&mut sink);
    let note = sink.journal_note();
    for seq in 1..60 {
        write(&mut sink, &line(seq as u16 % 2, seq));
        sync(&mut sink);
    }
    drop(sink);
    let last = *numbers(dir.path(), Topic::Clicks).last().unwrap();
    let last = file_path(dir.path(), Topic::Clicks.name(), last);
    let whole = fs::metadata(&last).unwrap().size();
    let torn = &line(0, 60)[..30];
    fs::OpenOptions::new().append(true).open(&last).unwrap().write_all(torn.as_bytes()).unwrap();

    let mut sink = open(dir.path(), note);
    assert_eq!(sink.recovered.clicks, 59);
    assert_eq!(sink.delivered_at_open(0), watermark(59));
    assert_eq!(sink.delivered_at_open(1), watermark(60));
    assert_eq!(fs::metadata(&last).unwrap().size(), whole);
    write(&mut sink, &line(0, 60));
    sync(&mut sink);
    let all = lines(dir.path(), Topic::Clicks);
    assert_eq!(all.len(), 61);
    assert_eq!(all.last(), Some(&line(0, 60)));
}

#[test]
fn a_file_with_a_hole_behind_its_last_sync_is_cut_there_and_the_rest_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), [0; 64]);
    for seq in 0..5 {
        write(&mut sink, &line(0, seq));
    }
    sync(&mut sink);
    drop(sink);
    let path = file_path(dir.path(), Topic::Clicks.name(), 1);
    let len = line(0, 0).len() as u64 + 1;
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[0; 20], 3 * len + 5).unwrap();

    let sink = open(dir.path(), [0; 64]);
    assert_eq!(sink.delivered_at_open(0), watermark(3));
    assert_eq!(fs::metadata(&path).unwrap().size(), 3 * len);
    let aside = dir.path().join(format!("clicks-000001.damaged-{}", 3 * len));
    assert_eq!(fs::metadata(aside).unwrap().size(), 2 * len);
}

#[test]
fn lines_of_another_edge_are_not_counted_and_the_number_of_a_removed_file_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), [0; 64]);
    write(&mut sink, &line(0, 0).replace(EDGE, "edge-2"));
    sync(&mut sink);
    let note = sink.journal_note();
    drop(sink);
    let sink = open(dir.path(), [0; 64]);
    assert!(sink.recovered.watermarks.is_empty());
    fs::remove_file(file_path(dir.path(), Topic::Clicks.name(), 1)).unwrap();
    let mut sink = open(dir.path(), note);
    write(&mut sink, &line(0, 1));
    sync(&mut sink);
    assert_eq!(numbers(dir.path(), Topic::Clicks), [2]);
}

#[test]
fn after_a_write_error_the_file_is_cut_back_and_the_clicks_in_flight_are_returned() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), [0; 64]);
    write(&mut sink, &line(0, 0));
    sync(&mut sink);
    let synced = sink.journal_note();
    // A write got half-way: its bytes are in the file, then the disk refuses the rest.
    let path = file_path(dir.path(), Topic::Clicks.name(), 1);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"half").unwrap();
    let writable = sink.writer.file.replace(File::open(&path).unwrap());
    write(&mut sink, &line(0, 1));
    assert_eq!(sync(&mut sink), [DeliveryReport::AllReturned(ReturnCause::FileError)]);
    assert_eq!(sink.journal_note(), synced);
    assert!(sink.record_buffer_if_accepting(Instant::now()).is_none(), "the topic pauses");
    // The disk works again.
    sink.writer.file = writable;
    let later = Instant::now() + series_writer::LONGEST_PAUSE;
    write_at(&mut sink, &line(0, 1), later);
    assert_eq!(sync(&mut sink), [DeliveryReport::AllDelivered]);
    assert_eq!(lines(dir.path(), Topic::Clicks), [line(0, 0), line(0, 1)]);
}

#[test]
fn a_foreign_file_with_the_next_name_is_left_alone_and_does_not_stop_the_topic() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), [0; 64]);
    for number in [1, 4] {
        fs::write(file_path(dir.path(), Topic::Clicks.name(), number), "somebody's\n").unwrap();
    }
    write(&mut sink, &line(0, 0));
    assert_eq!(sync(&mut sink), [DeliveryReport::AllDelivered]);
    // Numbered above every other file, because the next start continues the last one.
    assert_eq!(fs::read_to_string(file_path(dir.path(), Topic::Clicks.name(), 5)).unwrap(), line(0, 0) + "\n");
    assert_eq!(fs::read_to_string(file_path(dir.path(), Topic::Clicks.name(), 1)).unwrap(), "somebody's\n");
}

#[test]
fn files_are_deleted_only_if_configured_and_never_the_one_being_written() {
    for (config, left) in [
        (config(), 6),
        (FilesConfig { keep_bytes: Some(Bytes(2_500)), ..config() }, 2),
        (FilesConfig { keep_age: Some(Duration::ZERO), ..config() }, 0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = FileSink::recover_clicks_and_open_files(
            Topic::Clicks,
            dir.path().to_owned(),
            config,
            EDGE,
            &[],
            Duration::ZERO,
        )
        .unwrap();
        for seq in 0..6 {
            write(&mut sink, &format!("{}{}", line(0, seq), " ".repeat(1_000)));
            sync(&mut sink);
        }
        assert_eq!(numbers(dir.path(), Topic::Clicks).len(), left, "{:?}", sink.config);
    }
}

#[test]
fn clicks_in_flight_are_written_to_a_new_file_once_theirs_was_removed_renamed_or_cut() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 4] = [
        ("removed", |file| fs::remove_file(file).unwrap()),
        ("renamed", |file| fs::rename(file, file.with_extension("jsonl.1")).unwrap()),
        ("cut", |file| OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
        ("without its directory", |file| fs::remove_dir_all(file.parent().unwrap()).unwrap()),
    ];
    for (case, damage) in cases {
        // Before the write of the next line, and between the write and its sync.
        for is_written in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("clicks");
            let mut sink = open(&dir, [0; 64]);
            write(&mut sink, &line(0, 0));
            assert_eq!(sync(&mut sink), [DeliveryReport::AllDelivered]);
            write(&mut sink, &line(0, 1));
            if is_written {
                sink.writer.write_buffer_to_open_or_new_file(&dir).unwrap();
            }
            damage(&file_path(&dir, Topic::Clicks.name(), 1));
            let reports = sync(&mut sink);
            assert_eq!(reports, [DeliveryReport::AllReturned(ReturnCause::FileError)], "{case} {is_written}");
            let later = Instant::now() + series_writer::LONGEST_PAUSE;
            write_at(&mut sink, &line(0, 1), later);
            assert_eq!(sync(&mut sink), [DeliveryReport::AllDelivered], "{case} {is_written}");
            let second = fs::read_to_string(file_path(&dir, Topic::Clicks.name(), 2)).unwrap();
            assert_eq!(second, line(0, 1) + "\n", "{case} {is_written}");
            let left = ["jsonl", "jsonl.1"].map(|suffix| dir.join("clicks-000001").with_extension(suffix));
            for file in left.iter().filter(|file| file.exists()) {
                let text = fs::read_to_string(file).unwrap();
                assert!((line(0, 0) + "\n").starts_with(&text), "{case} {is_written}: no hole, no repeat: {text:?}");
            }
        }
    }
}
