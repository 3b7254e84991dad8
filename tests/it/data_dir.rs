//! The data directory: starts that are refused with what to do, a full disk, rotation, lanes of an earlier start.

use std::{
    collections::HashSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    dsl::{Site, link, request, until},
    kafka::{
        mock::Mock,
        site::{backlog, click, delivered, identity_holds, streaming},
    },
    mount::Mount,
    need::lent,
};

fn site() -> Site {
    Site::new(&[link("live")])
}

#[test]
fn a_directory_that_cannot_be_one_refuses_the_start_with_its_path() {
    let site = site();
    std::fs::write(site.data(), "a file").unwrap();
    let (code, log) = site.refused();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&site.data().display().to_string()), "{log}");
    assert!(log.to_lowercase().contains("not a directory"), "{log}");
    assert_eq!(std::fs::read(site.data()).unwrap(), b"a file", "left alone");
    let below = site.data().join("deeper").display().to_string();
    let links = site.path("links.jsonl").display().to_string();
    let args = ["serve", "--links", &links, "--data-dir", &below, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let output = site.command(&args).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&below), "{log}");
}

#[test]
fn a_directory_of_somebody_else_refuses_the_start_with_what_to_do() {
    let site = site();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let home = site.data().parent().unwrap().to_owned();
    open(&home, 0o755);
    // The unprivileged user may not reach the build's directory.
    let program = site.path("waypost");
    std::fs::copy(env!("CARGO_BIN_EXE_waypost"), &program).unwrap();
    open(&program, 0o755);
    std::fs::create_dir(site.data()).unwrap();
    let try_as_nobody = |data: &Path| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--links"])
            .arg(site.path("links.jsonl"))
            .arg("--data-dir")
            .arg(data)
            .output()
    };
    for data in [site.data(), site.path("new")] {
        let Some(output) = lent("setpriv", try_as_nobody(&data)) else { return };
        let log = String::from_utf8_lossy(&output.stderr);
        let changed = if log.contains("setpriv:") { Err(&log) } else { Ok(()) };
        if lent("a change of user", changed).is_none() {
            return;
        }
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(&data.display().to_string()) && log.contains("Permission denied"), "{log}");
        assert!(log.contains("belongs to this user"), "what to do: {log}");
    }
}

#[test]
fn a_ring_that_cannot_be_set_aside_refuses_the_start_with_what_to_do() {
    let site = site();
    let Some(_mount) = Mount::tmpfs(&site.data(), "2m") else { return };
    let (code, log) = site.refused();
    assert_eq!(code, Some(1), "{log}");
    for part in ["cannot set aside 4 MiB for the ring", "No space left", "ring_bytes", "ring_dir"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_second_process_on_anothers_rings_refuses_the_start_with_what_to_do() {
    let first = site();
    let rings = first.path("rings").display().to_string();
    let ring_dir = "WAYPOST__JOURNAL__RING_DIR";
    let first = first.env(ring_dir, &rings).start();
    let (code, log) = site().env(ring_dir, &rings).refused();
    assert_eq!(code, Some(1), "{log}");
    for part in ["another waypost runs on", &rings, "stop it, or give this one a directory of its own"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(first.get("/live", &[]).status, 302, "the first goes on");
    first.events_until("clicks", 1);
}

#[test]
fn an_intact_ring_on_a_full_disk_starts_serves_and_delivers_once_there_is_room() {
    let mut site = site().env("WAYPOST__EDGE__ID", "full-1");
    let Some(_mount) = Mount::tmpfs(&site.data(), "16m") else { return };
    site.restart();
    site.get("/live?sub1=before", &[]);
    site.events_until("clicks", 1);
    site.kill();
    let filler = site.data().join("filler");
    // As large as it gets: the write ends with "No space left".
    let full = std::fs::write(&filler, vec![0; 32 << 20]);
    assert!(full.is_err());
    site.restart();
    for _ in 0..20 {
        assert_eq!(site.get("/live?sub1=full", &[]).status, 302);
    }
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "a full disk alone is no reason not to serve");
    until("the trouble is counted", || (site.metric("waypost_clicks_file_errors_total", "") > 0.0).then_some(()));
    site.tells("click_file_failed", "bounded", "clicks-not-delivered");
    std::fs::remove_file(filler).unwrap();
    let events = site.events_until("clicks", 21);
    assert_eq!(events.len(), 21, "each once");
    let ids: HashSet<&str> = events.iter().filter_map(|event| event["click_id"].as_str()).collect();
    assert_eq!(ids.len(), 21);
}

/// The ring elsewhere, as on tmpfs; the broker so slow that every click is to be spilled.
#[test]
fn a_full_disk_costs_no_click_and_no_redirect_while_kafka_is_well_and_a_kill_neither() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let mut site = streaming(&mock.address(), "clicks");
    let Some(_mount) = Mount::tmpfs(&site.data(), "2m") else { return };
    let rings = site.path("rings").display().to_string();
    site = site.env("WAYPOST__JOURNAL__RING_DIR", &rings).start();
    click(&site, 0..10);
    delivered(&site, "clicks", 10);
    assert!(std::fs::write(site.data().join("filler"), vec![0; 4 << 20]).is_err(), "full now");
    mock.slow(Duration::from_millis(400));
    click(&site, 10..500);
    until("the trouble is counted and alarmed", || {
        let errors = site.metric("waypost_journal_spill_errors_total", "reason=\"disk\"");
        (errors > 0.0 && site.metric("waypost_journal_spill_stopped", "") == 1.0).then_some(())
    });
    let line = site.tells("spill_stopped", "bounded", "spill-stopped");
    assert!(line["reason"].as_str().unwrap().contains("No space left"), "{line}");
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "a full disk alone is no reason not to serve");
    delivered(&site, "clicks", 500);
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", ""), 0.0);
    identity_holds(&site);
    mock.down();
    click(&site, 500..600);
    site.kill();
    site.restart();
    let waiting = site.metric("waypost_clicks_recovered_total", "");
    assert!(waiting >= 100.0, "{waiting} of 100 are in the ring");
    mock.up();
    delivered(&site, "clicks", waiting as u64);
    identity_holds(&site);
}

/// What the process wrote to the disk for each click, by the kernel's count; the links and the keys are written before.
#[test]
fn with_the_ring_in_memory_and_kafka_well_a_click_costs_the_disk_next_to_nothing() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let site = streaming(&mock.address(), "clicks")
        .env("WAYPOST__JOURNAL__RING_DIR", &memory.path().display().to_string())
        // So that an acknowledgement is in time on a busy machine too.
        .env("WAYPOST__JOURNAL__SYNC_INTERVAL", "5s")
        .start();
    let written = || -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", site.pid())).unwrap();
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
    };
    click(&site, 0..10);
    delivered(&site, "clicks", 10);
    let before = written();
    click(&site, 10..3_000);
    delivered(&site, "clicks", 3_000);
    let each = (written() - before) as f64 / 2_990.0;
    println!("{each:.0} bytes on the disk a click, the checkpoint of each second among them");
    assert_eq!(site.metric("waypost_journal_spilled_bytes_total", ""), 0.0);
    assert!(each < 100.0, "{each}");
}

#[test]
fn a_lost_ring_and_a_damaged_one_start_all_the_same_and_are_told_and_counted() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let mut site = streaming(&mock.address(), "clicks").start();
    click(&site, 0..10);
    delivered(&site, "clicks", 10);
    mock.down();
    click(&site, 10..60);
    // In this order: the age is then as of a look that saw all of them.
    until("every click in a segment", || {
        (backlog(&site) == 50.0 && site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0).then_some(())
    });
    site.kill();
    std::fs::remove_file(site.data().join("journal/lane-0000.ring")).unwrap();
    site.restart();
    let line = site.tells("lane_cut", "yes", "journal-damaged");
    assert_eq!(line["clicks"], 50, "all of them were synced: {line}");
    site.kill();
    let lane = std::fs::read_dir(site.data().join("journal/lane-0000")).unwrap();
    let mut segments: Vec<PathBuf> = lane.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "segment"));
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0x10;
    std::fs::write(&segments[0], bytes).unwrap();
    site.restart();
    site.tells("journal_damaged", "yes", "journal-damaged");
    assert!(site.metric("waypost_journal_corrupt_frames_total", "") > 0.0);
    mock.up();
    until("what is whole is delivered, and nothing waits", || {
        let delivered = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"");
        let lost = site.metric("waypost_clicks_quarantined_total", "");
        (delivered + lost == 50.0 && lost > 0.0).then_some(())
    });
    identity_holds(&site);
}

#[test]
fn click_files_are_rotated_by_size_and_deleted_only_where_told() {
    let files = |site: &Site| -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(site.data().join("clicks")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("clicks-"));
        files.sort();
        files
    };
    for keep in [false, true] {
        let mut site = site().env("WAYPOST__SHIPPER__FILE__ROTATE_BYTES", "64 KiB");
        if !keep {
            site = site.env("WAYPOST__SHIPPER__FILE__KEEP_BYTES", "128 KiB");
        }
        site.restart();
        let long = format!("Referer: https://example.com/{}", "r".repeat(900));
        let mut wire = site.wire();
        for round in 1..=10 {
            for number in 0..25 {
                wire.send(&request("GET", &format!("/live?sub1={}", round * 100 + number), &[&long]));
            }
            until("this round's clicks", || {
                (site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") >= f64::from(round * 25))
                    .then_some(())
            });
        }
        let found = files(&site);
        let first = site.data().join("clicks/clicks-000001.jsonl");
        assert_eq!(first.exists(), keep, "{found:?}");
        let whole = |path: &PathBuf| std::fs::read(path).unwrap().last().is_none_or(|byte| *byte == b'\n');
        assert!(found.iter().all(whole), "every file ends in a whole line");
        if keep {
            assert!(found.len() >= 5, "{found:?}");
            site.kill();
            site.restart();
            site.get("/live?sub1=last", &[]);
            assert_eq!(site.events_until("clicks", 251).len(), 251, "none is lost or repeated by rotation or restart");
            assert_eq!(site.metric("waypost_clicks_files_deleted_total", ""), 0.0);
        } else {
            assert!(site.metric("waypost_clicks_files_deleted_total", "topic=\"clicks\"") >= 1.0);
            let held: u64 = found.iter().map(|path| path.metadata().unwrap().len()).sum();
            assert!(held <= 192 << 10, "{held} bytes: the bound and the file that is written to");
        }
    }
}

#[test]
fn fewer_workers_than_lanes_deliver_what_the_other_lanes_hold() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kafka = format!("[kafka]\nbrokers = \"{nobody}\"\n[shipper]\ndrain = \"100ms\"\n");
    let mut site = site().config(&kafka).env("WAYPOST__EDGE__WORKERS", "4");
    site.restart();
    const CLICKS: usize = 80;
    for number in 0..CLICKS {
        // Each over a connection of its own: the kernel spreads them over the workers.
        assert_eq!(site.get(&format!("/live?sub1={number}"), &[]).status, 302);
    }
    let holding = |lane: u16| site.metric("waypost_journal_backlog_clicks", &format!("lane=\"{lane}\"")) > 0.0;
    until("clicks in more than one lane", || ((0..4).filter(|lane| holding(*lane)).count() >= 2).then_some(()));
    site.kill();
    // The broker never came back; the clicks go into files, by one worker.
    site.write("waypost.toml", "");
    let mut site = site.env("WAYPOST__EDGE__WORKERS", "1");
    site.restart();
    site.get("/live?sub1=after", &[]);
    let events = site.events_until("clicks", CLICKS + 1);
    let found: HashSet<&str> = events.iter().filter_map(|event| event["sub1"].as_str()).collect();
    assert_eq!((events.len(), found.len()), (CLICKS + 1, CLICKS + 1), "each once");
    assert_eq!(site.metric("waypost_workers", ""), 1.0);
    until("nothing left", || (site.metric("waypost_journal_backlog_clicks", "") == 0.0).then_some(()));
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("nothing stays in the journal"), "{log}");
}

#[test]
fn a_name_is_made_for_a_new_directory_and_never_the_machines() {
    let names: Vec<String> = (0..2)
        .map(|_| {
            let site = site().start();
            std::fs::read_to_string(site.data().join("edge.id")).unwrap().trim().to_owned()
        })
        .collect();
    assert_ne!(names[0], names[1]);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    assert!(names.iter().all(|name| !host.trim().is_empty() && !name.contains(host.trim())), "{names:?}");
}
