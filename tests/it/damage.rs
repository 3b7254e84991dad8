//! Files of the journal that are damaged between two runs of the real process: the next run starts, counts the damage,
//! keeps the evidence and delivers the rest.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::{
    dsl::{Site, link, until},
    kafka::site::{backlog_clicks, send_clicks},
};

const CLICKS: u64 = 60;
/// The offset of the first frame in a segment, behind the headers of the segment and of its first block.
const FIRST_FRAME: usize = 64 + 64;
/// Bytes of a frame's header.
const FRAME_HEADER: usize = 48;

/// A killed site whose clicks all lie in synced segments alone: its ring is removed.
fn kill_site_without_ring() -> Site {
    let site = kill_site_with_ring();
    std::fs::remove_file(journal_dir(&site).join("lane-0000.ring")).unwrap();
    site
}

/// A killed site whose clicks all lie in synced segments, and in its ring too.
fn kill_site_with_ring() -> Site {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut site = Site::new(&[link("live")]).config(&format!("[kafka]\nbrokers = \"{nobody}\"\n"));
    // Each run begins a segment.
    for run in 0..3 {
        site.restart();
        send_clicks(&site, CLICKS / 3 * run..CLICKS / 3 * (run + 1));
        until("clicks in a segment", || {
            // Both are set in one pass, so the second value read is not older than the first.
            let journaled = site.metric("waypost_clicks_journaled_total", "") >= (CLICKS / 3) as f64;
            (journaled && site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0).then_some(())
        });
        site.kill();
    }
    site
}

fn journal_dir(site: &Site) -> PathBuf {
    site.data().join("journal/clicks")
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let files = std::fs::read_dir(journal_dir(site)).unwrap();
    let mut segments: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "segment"));
    segments.sort();
    segments
}

fn change_file(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Runs `waypost journal verify`; gives whether it exits with 0, and its output.
fn verify(site: &Site) -> (bool, String) {
    let data = site.data().display().to_string();
    let Output { status, stdout, stderr } = site.command(&["journal", "verify", "--data-dir", &data]).output().unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(matches!(status.code(), Some(0 | 1)), "{output}");
    (status.success(), output)
}

/// Starts the site with a file sink and waits until no click waits. Gives how often each number is in the files.
fn deliver_to_files(site: &mut Site, clicks: u64) -> HashMap<u64, usize> {
    site.write("waypost.toml", "");
    site.restart();
    until("every click is delivered or quarantined", || {
        let done = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"")
            + site.metric("waypost_clicks_quarantined_total", "");
        (done >= clicks as f64 && backlog_clicks(site) == 0.0).then_some(())
    });
    let mut found = HashMap::new();
    for event in site.events("clicks") {
        *found.entry(event["sub1"].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    found
}

/// Asserts that each click was delivered once or is counted as quarantined. Returns how many are quarantined.
fn count_quarantined(site: &mut Site, found: &HashMap<u64, usize>) -> u64 {
    let quarantined = site.metric("waypost_clicks_quarantined_total", "") as u64;
    assert_eq!(found.len() as u64 + quarantined, CLICKS, "delivered or quarantined");
    assert!(found.values().all(|times| *times == 1), "delivered once");
    assert_eq!(site.metric("waypost_clicks_recovered_total", ""), CLICKS as f64);
    quarantined
}

/// Waits for the log line of the damage.
fn wait_for_damage_fault(site: &Site) -> Value {
    site.wait_for_fault("journal_damaged", "yes", "journal-damaged")
}

fn count_quarantined_files(site: &Site) -> usize {
    std::fs::read_dir(journal_dir(site).join("quarantine")).map_or(0, Iterator::count)
}

#[test]
fn a_torn_tail_of_what_was_synced_is_counted_and_its_file_kept() {
    let mut site = kill_site_without_ring();
    assert!(verify(&site).0, "{}", verify(&site).1);
    change_file(segments(&site).last().unwrap(), |bytes| bytes.truncate(bytes.len() - 100));
    let (is_sound, output) = verify(&site);
    assert!(!is_sound && output.contains("1 torn tails"), "{output}");
    let found = deliver_to_files(&mut site, CLICKS);
    let quarantined = count_quarantined(&mut site, &found);
    assert_eq!(wait_for_damage_fault(&site)["quarantined"], quarantined);
    assert!((1..20).contains(&quarantined), "{quarantined}");
    until("the evidence is quarantined", || (count_quarantined_files(&site) == 1).then_some(()));
}

#[test]
fn a_flipped_bit_costs_the_click_it_is_in_and_its_file_is_kept() {
    let mut site = kill_site_without_ring();
    change_file(&segments(&site)[0], |bytes| bytes[FIRST_FRAME + FRAME_HEADER + 10] ^= 4);
    let (is_sound, output) = verify(&site);
    assert!(!is_sound && output.contains("1 missing, 1 damaged places"), "{output}");
    let found = deliver_to_files(&mut site, CLICKS);
    assert_eq!(count_quarantined(&mut site, &found), 1);
    assert_eq!(
        (&wait_for_damage_fault(&site)["quarantined"], &wait_for_damage_fault(&site)["damaged_places"]),
        (&1.into(), &1.into())
    );
    assert!(site.metric("waypost_journal_corrupt_frames_total", "") >= 1.0);
    until("the evidence is quarantined", || (count_quarantined_files(&site) == 1).then_some(()));
}

#[test]
fn a_click_that_is_damaged_in_its_segment_is_delivered_from_the_ring_and_the_file_kept() {
    let mut site = kill_site_with_ring();
    change_file(&segments(&site)[0], |bytes| bytes[FIRST_FRAME + FRAME_HEADER + 10] ^= 4);
    let (is_sound, output) = verify(&site);
    assert!(!is_sound && output.contains("60 undelivered, 0 missing, 1 damaged places"), "{output}");
    let found = deliver_to_files(&mut site, CLICKS);
    assert_eq!(count_quarantined(&mut site, &found), 0);
    assert_eq!(
        (&wait_for_damage_fault(&site)["quarantined"], &wait_for_damage_fault(&site)["damaged_places"]),
        (&0.into(), &1.into())
    );
    until("the evidence is quarantined", || (count_quarantined_files(&site) == 1).then_some(()));
}

#[test]
fn a_frame_of_a_newer_version_is_counted_and_its_file_kept() {
    let mut site = kill_site_without_ring();
    let directory = std::fs::read(journal_dir(&site).join("directory")).unwrap()[16..24].to_vec();
    change_file(&segments(&site)[0], |bytes| {
        let frame = &mut bytes[FIRST_FRAME..];
        let len = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
        let end = FRAME_HEADER + len;
        // The version.
        frame[32] += 1;
        let seed = crc32c::crc32c_append(crc32c::crc32c(&directory), &0u16.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &frame[4..end]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
    });
    let (is_sound, output) = verify(&site);
    assert!(!is_sound && output.contains("1 missing"), "{output}");
    let found = deliver_to_files(&mut site, CLICKS);
    assert_eq!(count_quarantined(&mut site, &found), 1);
    assert_eq!(wait_for_damage_fault(&site)["quarantined"], 1);
    until("the evidence is quarantined", || (count_quarantined_files(&site) == 1).then_some(()));
}

#[test]
fn a_segment_that_is_gone_is_missed_and_the_rest_delivered() {
    let mut site = kill_site_without_ring();
    std::fs::remove_file(&segments(&site)[1]).unwrap();
    let (is_sound, output) = verify(&site);
    assert!(!is_sound && output.contains("40 undelivered, 20 missing"), "{output}");
    let found = deliver_to_files(&mut site, 40);
    assert_eq!(found.len(), 40);
    // Without its ring the lane is cut, and so is the epoch of which nothing is left. The next statement says so.
    assert_eq!(site.wait_for_fault("lane_cut", "yes", "journal-damaged")["clicks"], 40);
}

#[test]
fn a_lost_checkpoint_and_an_older_one_repeat_and_lose_nothing() {
    for older in [false, true] {
        let mut site = kill_site_with_ring();
        let path = journal_dir(&site).join("checkpoints");
        let before = std::fs::read(&path).unwrap();
        let first = deliver_to_files(&mut site, CLICKS);
        assert_eq!(first.len() as u64, CLICKS);
        // One more click, so that the lane is open when the process is killed.
        send_clicks(&site, CLICKS..CLICKS + 1);
        site.wait_for_events("clicks", CLICKS as usize + 1);
        site.kill();
        match older {
            true => std::fs::write(&path, before).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
        // The ring's positions are newer than either checkpoint, so `verify` still knows what is delivered.
        let (is_sound, output) = verify(&site);
        assert!(is_sound && output.contains(" 0 missing"), "older: {older}: {output}");
        site.restart();
        until("nothing waits", || (backlog_clicks(&site) == 0.0).then_some(()));
        send_clicks(&site, CLICKS + 1..CLICKS + 2);
        let last = (CLICKS + 1).to_string();
        until("a click after the restart is delivered", || {
            let events = site.events("clicks");
            events.iter().any(|event| event["sub1"] == last).then_some(())
        });
        let mut ids: HashMap<String, String> = HashMap::new();
        for event in site.events("clicks") {
            let (number, id) = (event["sub1"].as_str().unwrap(), event["click_id"].as_str().unwrap());
            let known = ids.entry(number.to_owned()).or_insert_with(|| id.to_owned());
            assert_eq!(known, id, "a repeat has the same id");
        }
        assert_eq!(ids.len() as u64, CLICKS + 2, "older: {older}");
        assert_eq!(count_quarantined_files(&site), 0);
    }
}

#[test]
fn a_ring_that_is_gone_after_everything_was_synced_costs_nothing_but_is_told() {
    let mut site = kill_site_without_ring();
    let (is_sound, output) = verify(&site);
    assert!(is_sound, "{output}");
    let found = deliver_to_files(&mut site, CLICKS);
    assert_eq!(count_quarantined(&mut site, &found), 0);
    assert_eq!(site.wait_for_fault("lane_cut", "yes", "journal-damaged")["clicks"], CLICKS);
}
