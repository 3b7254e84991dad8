//! A segment that loses clicks under the running edge, while the sink is away: the numbers are told at once, and the
//! log, the metrics, `verify` and the audit agree on them before and after a restart.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    dsl::{Site, request, until},
    kafka::{
        broker::{Broker, Kind},
        site::{backlog_clicks, send_clicks, site_with_own_lanes_topic, wait_until_counts_add_up},
    },
};

/// Clicks of two kilobytes: more than the smallest ring holds twice.
const CLICKS: u64 = 6_000;
/// Clicks that the topic takes from the journal while Kafka is away.
const IN_FLIGHT: &str = "500";
/// The frame at which the segment is cut: not read yet, and not in the ring any more.
const CUT_AT: usize = 1_500;

fn journal_dir(site: &Site) -> PathBuf {
    site.data().join("journal/clicks")
}

fn send_large_clicks(site: &Site, numbers: std::ops::Range<u64>) {
    let mut wire = site.connect();
    let pad = "x".repeat(1500);
    for number in numbers {
        let target = format!("/live?sub1={number}&sub2={pad}");
        assert_eq!(wire.send(&request("GET", &target, &[])).status, 302);
    }
}

/// The offset in a segment at which the frame of this index begins.
fn find_frame(segment: &Path, index: usize) -> u64 {
    let bytes = std::fs::read(segment).unwrap();
    let (mut at, mut frames) = (64, 0);
    loop {
        if &bytes[at + 4..at + 8] == b"BLCK" {
            at += 64;
            continue;
        }
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        let is_pad = len & (1 << 31) != 0;
        if !is_pad && frames == index {
            return at as u64;
        }
        frames += usize::from(!is_pad);
        at += if is_pad { (len & !(1 << 31)) as usize } else { (48 + len as usize).next_multiple_of(16) };
    }
}

fn audit(site: &Site, broker: &Broker) -> (Option<i32>, Vec<Value>) {
    let audit = site.command(&["clicks", "audit", "--json", "--kafka", &broker.address()]).output().unwrap();
    let said = String::from_utf8_lossy(&audit.stdout).into_owned();
    (audit.status.code(), said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_segment_cut_at_a_frames_boundary_under_the_running_edge_costs_its_numbers_and_every_account_says_so() {
    let Some(mut broker) = Broker::start(Kind::Plain) else { return };
    for (topic, partitions) in [("cut", 3), ("cut.orphan", 1), ("cut.lanes", 1)] {
        broker.create_topic(topic, partitions, &[]);
    }
    let mut site = site_with_own_lanes_topic(&broker.address(), "cut")
        .env("WAYPOST__DELIVERY__MAX_IN_FLIGHT", IN_FLIGHT)
        .env("WAYPOST__JOURNAL__RING_BYTES", "4 MiB")
        .start();
    broker.stop();
    send_large_clicks(&site, 0..CLICKS);
    until("every click is synced", || {
        (site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0).then_some(())
    });
    let lane = std::fs::read_dir(journal_dir(&site)).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> =
        lane.filter(|path| path.extension().is_some_and(|kind| kind == "segment")).collect();
    segments.sort();
    let first = &segments[0];
    let offset = find_frame(first, CUT_AT);
    std::fs::File::options().write(true).open(first).unwrap().set_len(offset).unwrap();
    broker.restart();
    let count = |name: &str| site.metric(name, "topic=\"clicks\"") as u64;
    until("no click waits", || {
        (count("waypost_clicks_quarantined_total") > 0 && backlog_clicks(&site) == 0.0).then_some(())
    });
    wait_until_counts_add_up(&site);
    let lost = count("waypost_clicks_quarantined_total");
    assert_eq!(count("waypost_clicks_delivered_total") + lost, CLICKS);
    let line = site.wait_for_fault("clicks_quarantined", "yes", "journal-damaged");
    assert_eq!((&line["clicks"], &line["first_seq"]), (&lost.into(), &CUT_AT.into()), "{line}");
    assert!(line["file"].as_str().unwrap().ends_with(".segment"), "{line}");
    until("the segment is kept", || {
        let kept = journal_dir(&site).join("quarantine").join(first.file_name().unwrap());
        kept.exists().then_some(())
    });
    for _ in 0..2 {
        let (code, log) = site.stop();
        assert_eq!(code, Some(0), "{log}");
        let data = site.data().display().to_string();
        let verify = site.command(&["journal", "verify", "--data-dir", &data]).output().unwrap();
        let said = String::from_utf8_lossy(&verify.stdout).into_owned();
        assert!(verify.status.success() && said.contains("0 missing"), "{said}");
        let (code, lanes) = audit(&site, &broker);
        let lane = lanes.iter().find(|lane| lane["topic"] == "cut").unwrap();
        assert_eq!((code, &lane["quarantined"], &lane["missing"]), (Some(0), &lost.into(), &Value::Array(Vec::new())));
        site.restart();
        send_clicks(&site, CLICKS..CLICKS + 1);
        until("nothing waits", || (backlog_clicks(&site) == 0.0).then_some(()));
    }
}
