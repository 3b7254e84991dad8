//! Files of the journal damaged between two lives of the real process: it starts, counts, keeps the evidence, and ships the rest.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::{
    dsl::{Site, link, until},
    kafka::site::{backlog, click},
};

const CLICKS: u64 = 60;
/// A segment's header, a block's, and a frame's.
const HEADER: usize = 64;

/// A killed site whose clicks all lie in synced segments, and there alone: its ring is gone.
fn killed() -> Site {
    let site = killed_with_its_ring();
    std::fs::remove_file(journal(&site).join("lane-0000.ring")).unwrap();
    site
}

/// A killed site whose clicks all lie in synced segments, and in its ring too.
fn killed_with_its_ring() -> Site {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut site = Site::new(&[link("live")]).config(&format!("[kafka]\nbrokers = \"{nobody}\"\n"));
    // Each life begins a segment.
    for life in 0..3 {
        site.restart();
        click(&site, CLICKS / 3 * life..CLICKS / 3 * (life + 1));
        until("clicks in a segment", || {
            // Set in one pass, so that what is read later is not older.
            let seen = site.metric("waypost_clicks_journaled_total", "") >= (CLICKS / 3) as f64;
            (seen && site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0).then_some(())
        });
        site.kill();
    }
    site
}

fn journal(site: &Site) -> PathBuf {
    site.data().join("journal")
}

fn segments(site: &Site) -> Vec<PathBuf> {
    let lane = std::fs::read_dir(journal(site).join("lane-0000")).unwrap();
    let mut segments: Vec<PathBuf> = lane.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "segment"));
    segments.sort();
    segments
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// What `waypost journal verify` says, and whether all is sound.
fn verify(site: &Site) -> (bool, String) {
    let data = site.data().display().to_string();
    let Output { status, stdout, stderr } = site.command(&["journal", "verify", &data]).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(matches!(status.code(), Some(0 | 1)), "{said}");
    (status.success(), said)
}

/// Starts the site with its clicks going into files; gives how often each number arrives once nothing waits.
fn delivered(site: &mut Site, clicks: u64) -> HashMap<u64, usize> {
    site.write("waypost.toml", "");
    site.restart();
    until("all is delivered or counted", || {
        let done = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"")
            + site.metric("waypost_clicks_quarantined_total", "");
        (done >= clicks as f64 && backlog(site) == 0.0).then_some(())
    });
    let mut found = HashMap::new();
    for event in site.events("clicks") {
        *found.entry(event["sub1"].as_str().unwrap().parse().unwrap()).or_default() += 1;
    }
    found
}

/// Each click was delivered once or is counted as quarantined, and this many are.
fn counted(site: &mut Site, found: &HashMap<u64, usize>) -> u64 {
    let quarantined = site.metric("waypost_clicks_quarantined_total", "") as u64;
    assert_eq!(found.len() as u64 + quarantined, CLICKS, "delivered or counted");
    assert!(found.values().all(|times| *times == 1), "and once");
    assert_eq!(site.metric("waypost_clicks_recovered_total", ""), CLICKS as f64);
    quarantined
}

/// The fault is told with what it costs.
fn told(site: &Site) -> Value {
    site.tells("journal_damaged", "yes", "journal-damaged")
}

fn kept(site: &Site) -> usize {
    std::fs::read_dir(journal(site).join("quarantine")).map_or(0, Iterator::count)
}

#[test]
fn a_torn_tail_of_what_was_synced_is_counted_and_its_file_kept() {
    let mut site = killed();
    assert!(verify(&site).0, "{}", verify(&site).1);
    change(segments(&site).last().unwrap(), |bytes| bytes.truncate(bytes.len() - 100));
    let (sound, said) = verify(&site);
    assert!(!sound && said.contains("1 torn tails"), "{said}");
    let found = delivered(&mut site, CLICKS);
    let quarantined = counted(&mut site, &found);
    assert_eq!(told(&site)["quarantined"], quarantined);
    assert!((1..20).contains(&quarantined), "{quarantined}");
    until("the evidence is put aside", || (kept(&site) == 1).then_some(()));
}

#[test]
fn a_flipped_bit_costs_the_click_it_is_in_and_its_file_is_kept() {
    let mut site = killed();
    change(&segments(&site)[0], |bytes| bytes[2 * HEADER + HEADER + 10] ^= 4);
    let (sound, said) = verify(&site);
    assert!(!sound && said.contains("1 missing, 1 damaged places"), "{said}");
    let found = delivered(&mut site, CLICKS);
    assert_eq!(counted(&mut site, &found), 1);
    assert_eq!((&told(&site)["quarantined"], &told(&site)["damaged_places"]), (&1.into(), &1.into()));
    assert!(site.metric("waypost_journal_corrupt_frames_total", "") >= 1.0);
    until("the evidence is put aside", || (kept(&site) == 1).then_some(()));
}

#[test]
fn a_click_that_is_damaged_in_its_segment_is_delivered_from_the_ring_and_the_file_kept() {
    let mut site = killed_with_its_ring();
    change(&segments(&site)[0], |bytes| bytes[2 * HEADER + HEADER + 10] ^= 4);
    let (sound, said) = verify(&site);
    assert!(!sound && said.contains("60 undelivered, 0 missing, 1 damaged places"), "{said}");
    let found = delivered(&mut site, CLICKS);
    assert_eq!(counted(&mut site, &found), 0);
    assert_eq!((&told(&site)["quarantined"], &told(&site)["damaged_places"]), (&0.into(), &1.into()));
    until("the evidence is put aside", || (kept(&site) == 1).then_some(()));
}

#[test]
fn a_frame_of_a_newer_version_is_counted_and_its_file_kept() {
    let mut site = killed();
    let directory = std::fs::read(journal(&site).join("directory")).unwrap()[16..24].to_vec();
    change(&segments(&site)[0], |bytes| {
        let frame = &mut bytes[2 * HEADER..];
        let len = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
        let total = (HEADER + len).next_multiple_of(16);
        frame[49] += 1;
        let seed = crc32c::crc32c_append(crc32c::crc32c(&directory), &0u16.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &frame[4..total]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
    });
    let (sound, said) = verify(&site);
    assert!(!sound && said.contains("1 missing"), "{said}");
    let found = delivered(&mut site, CLICKS);
    assert_eq!(counted(&mut site, &found), 1);
    assert_eq!(told(&site)["quarantined"], 1);
    until("the evidence is put aside", || (kept(&site) == 1).then_some(()));
}

#[test]
fn a_segment_that_is_gone_is_missed_and_the_rest_delivered() {
    let mut site = killed();
    std::fs::remove_file(&segments(&site)[1]).unwrap();
    let (sound, said) = verify(&site);
    assert!(!sound && said.contains("40 undelivered, 20 missing"), "{said}");
    let found = delivered(&mut site, 40);
    assert_eq!(found.len(), 40);
    // Without its ring the lane is cut, and so is an epoch of which nothing is left: the next statement says so.
    assert_eq!(site.tells("lane_cut", "yes", "journal-damaged")["clicks"], 40);
}

#[test]
fn a_lost_checkpoint_and_an_older_one_repeat_and_lose_nothing() {
    for older in [false, true] {
        let mut site = killed_with_its_ring();
        let path = journal(&site).join("lane-0000/checkpoint");
        let before = std::fs::read(&path).unwrap();
        let first = delivered(&mut site, CLICKS);
        assert_eq!(first.len() as u64, CLICKS);
        // A click stays, so that the lane is open when it dies.
        click(&site, CLICKS..CLICKS + 1);
        site.events_until("clicks", CLICKS as usize + 1);
        site.kill();
        match older {
            true => std::fs::write(&path, before).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
        let (sound, said) = verify(&site);
        assert!(sound || said.contains("missing"), "{said}");
        site.restart();
        until("nothing waits", || (backlog(&site) == 0.0).then_some(()));
        click(&site, CLICKS + 1..CLICKS + 2);
        let last = (CLICKS + 1).to_string();
        until("it goes on", || {
            let events = site.events("clicks");
            events.iter().any(|event| event["sub1"] == last).then_some(())
        });
        let mut ids: HashMap<String, String> = HashMap::new();
        for event in site.events("clicks") {
            let (number, id) = (event["sub1"].as_str().unwrap(), event["click_id"].as_str().unwrap());
            let known = ids.entry(number.to_owned()).or_insert_with(|| id.to_owned());
            assert_eq!(known, id, "a repeat is the same click");
        }
        assert_eq!(ids.len() as u64, CLICKS + 2, "older: {older}");
        assert_eq!(kept(&site), 0);
    }
}

#[test]
fn a_ring_that_is_gone_after_everything_was_synced_costs_nothing_but_is_told() {
    let mut site = killed();
    let (sound, said) = verify(&site);
    assert!(sound, "{said}");
    let found = delivered(&mut site, CLICKS);
    assert_eq!(counted(&mut site, &found), 0);
    assert_eq!(site.tells("lane_cut", "yes", "journal-damaged")["clicks"], CLICKS);
}
