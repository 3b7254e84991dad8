//! The data directory: starts that are refused with advice, a full disk, rotation, lanes of an earlier start.

use std::{
    collections::{BTreeMap, HashSet},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    dsl::{Site, link, request, until},
    kafka::{
        mock::Mock,
        site::{backlog_clicks, send_clicks, site_with_kafka, wait_until_counts_add_up, wait_until_delivered},
    },
    mount::Mount,
    need::needed_in_ci_as_root,
};

fn site() -> Site {
    Site::new(&[link("live")])
}

#[test]
fn a_directory_that_cannot_be_one_refuses_the_start_with_its_path() {
    let site = site();
    std::fs::write(site.data(), "a file").unwrap();
    let (code, log) = site.run_refused_start();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&site.data().display().to_string()), "{log}");
    assert!(log.to_lowercase().contains("not a directory"), "{log}");
    assert_eq!(std::fs::read(site.data()).unwrap(), b"a file", "not changed");
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
        let Some(output) = needed_in_ci_as_root("setpriv", try_as_nobody(&data)) else { return };
        let log = String::from_utf8_lossy(&output.stderr);
        let changed = if log.contains("setpriv:") { Err(&log) } else { Ok(()) };
        if needed_in_ci_as_root("a change of user", changed).is_none() {
            return;
        }
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(&data.display().to_string()) && log.contains("Permission denied"), "{log}");
        assert!(log.contains("belongs to this user"), "the advice: {log}");
    }
}

#[test]
fn a_ring_that_cannot_be_preallocated_refuses_the_start_with_advice() {
    let site = site();
    let Some(_mount) = Mount::tmpfs(&site.data(), "2m") else { return };
    let (code, log) = site.run_refused_start();
    assert_eq!(code, Some(1), "{log}");
    for part in ["cannot preallocate 4 MiB for the ring", "No space left", "ring_bytes", "ring_dir"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn a_second_process_on_anothers_rings_refuses_the_start_with_what_to_do() {
    let first = site();
    let rings = first.path("rings").display().to_string();
    let ring_dir = "WAYPOST__JOURNAL__RING_DIR";
    let first = first.env(ring_dir, &rings).start();
    let (code, log) = site().env(ring_dir, &rings).run_refused_start();
    assert_eq!(code, Some(1), "{log}");
    for part in ["another waypost runs on", &rings, "stop it, or give this one a directory of its own"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(first.get("/live", &[]).status, 302, "the first process continues");
    first.wait_for_events("clicks", 1);
}

#[test]
fn an_intact_ring_on_a_full_disk_starts_serves_and_delivers_once_there_is_room() {
    let mut site = site().env("WAYPOST__EDGE__ID", "full-1");
    let Some(_mount) = Mount::tmpfs(&site.data(), "16m") else { return };
    site.restart();
    site.get("/live?sub1=before", &[]);
    site.wait_for_events("clicks", 1);
    site.kill();
    let filler = site.data().join("filler");
    // The write fills the disk and ends with "No space left".
    let full = std::fs::write(&filler, vec![0; 32 << 20]);
    assert!(full.is_err());
    site.restart();
    for _ in 0..20 {
        assert_eq!(site.get("/live?sub1=full", &[]).status, 302);
    }
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "the edge serves on a full disk");
    until("the error is counted", || (site.metric("waypost_click_files_errors_total", "") > 0.0).then_some(()));
    site.wait_for_fault("click_file_failed", "bounded", "clicks-not-delivered");
    std::fs::remove_file(filler).unwrap();
    let events = site.wait_for_events("clicks", 21);
    assert_eq!(events.len(), 21, "each once");
    let ids: HashSet<&str> = events.iter().filter_map(|event| event["click_id"].as_str()).collect();
    assert_eq!(ids.len(), 21);
}

/// The ring is in another directory, as on tmpfs. The broker is so slow that every click is due to be spilled.
#[test]
fn a_full_disk_costs_no_click_and_no_redirect_while_kafka_is_well_and_a_kill_neither() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let mut site = site_with_kafka(&mock.address(), "clicks");
    let Some(_mount) = Mount::tmpfs(&site.data(), "2m") else { return };
    let rings = site.path("rings").display().to_string();
    site = site.env("WAYPOST__JOURNAL__RING_DIR", &rings).start();
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    assert!(std::fs::write(site.data().join("filler"), vec![0; 4 << 20]).is_err(), "full now");
    mock.set_latency(Duration::from_millis(400));
    send_clicks(&site, 10..500);
    until("the error is counted and alarmed", || {
        let errors = site.metric("waypost_journal_spill_errors_total", "reason=\"disk\"");
        (errors > 0.0 && site.metric("waypost_journal_spill_stopped", "") == 1.0).then_some(())
    });
    let line = site.wait_for_fault("spill_stopped", "bounded", "spill-stopped");
    assert!(line["reason"].as_str().unwrap().contains("No space left"), "{line}");
    assert_eq!(site.admin("/readyz").unwrap().status, 200, "the edge serves on a full disk");
    wait_until_delivered(&site, "clicks", 500);
    assert_eq!(site.metric("waypost_clicks_unrecorded_total", ""), 0.0);
    wait_until_counts_add_up(&site);
    mock.stop_broker();
    send_clicks(&site, 500..600);
    site.kill();
    site.restart();
    let waiting = site.metric("waypost_clicks_recovered_total", "");
    assert!(waiting >= 100.0, "{waiting} of 100 clicks are recovered from the ring");
    mock.start_broker();
    wait_until_delivered(&site, "clicks", waiting as u64);
    wait_until_counts_add_up(&site);
}

/// Measures the bytes that the process writes to the disk, by the kernel's count. Links and keys are written before.
#[test]
fn with_the_ring_in_memory_and_kafka_well_a_click_costs_the_disk_next_to_nothing() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let site = site_with_kafka(&mock.address(), "clicks")
        .env("WAYPOST__JOURNAL__RING_DIR", &memory.path().display().to_string())
        // Long enough for an acknowledgement on a busy machine.
        .env("WAYPOST__JOURNAL__SYNC_INTERVAL", "5s")
        .start();
    let written = || -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", site.pid())).unwrap();
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
    };
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    let before = written();
    send_clicks(&site, 10..3_000);
    wait_until_delivered(&site, "clicks", 3_000);
    let each = (written() - before) as f64 / 2_990.0;
    println!("{each:.0} bytes on the disk a click, checkpoints included");
    assert_eq!(site.metric("waypost_journal_spilled_bytes_total", ""), 0.0);
    assert!(each < 100.0, "{each}");
}

#[test]
fn a_lost_ring_and_a_damaged_one_start_all_the_same_and_are_told_and_counted() {
    let mock = Mock::start(&["clicks", "clicks.orphan"]);
    let mut site = site_with_kafka(&mock.address(), "clicks").start();
    send_clicks(&site, 0..10);
    wait_until_delivered(&site, "clicks", 10);
    mock.stop_broker();
    send_clicks(&site, 10..60);
    // In this order: the age is then as of a round that saw all of them.
    until("every click in a segment", || {
        (backlog_clicks(&site) == 50.0 && site.metric("waypost_journal_oldest_undurable_age_seconds", "") == 0.0)
            .then_some(())
    });
    site.kill();
    std::fs::remove_file(site.data().join("journal/clicks/lane-0000.ring")).unwrap();
    site.restart();
    let line = site.wait_for_fault("lane_cut", "yes", "journal-damaged");
    assert_eq!(line["clicks"], 50, "every click was synced: {line}");
    site.kill();
    let files = std::fs::read_dir(site.data().join("journal/clicks")).unwrap();
    let mut segments: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|kind| kind == "segment"));
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0x10;
    std::fs::write(&segments[0], bytes).unwrap();
    site.restart();
    site.wait_for_fault("journal_damaged", "yes", "journal-damaged");
    assert!(site.metric("waypost_journal_corrupt_frames_total", "") > 0.0);
    mock.start_broker();
    until("every click is delivered or quarantined", || {
        let delivered = site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"");
        let lost = site.metric("waypost_clicks_quarantined_total", "");
        (delivered + lost == 50.0 && lost > 0.0).then_some(())
    });
    wait_until_counts_add_up(&site);
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
        let mut site = site().env("WAYPOST__DELIVERY__FILES__ROTATE_BYTES", "64 KiB");
        if !keep {
            site = site.env("WAYPOST__DELIVERY__FILES__KEEP_BYTES", "128 KiB");
        }
        site.restart();
        let long = format!("Referer: https://example.com/{}", "r".repeat(900));
        let mut wire = site.connect();
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
        assert!(found.iter().all(whole), "every file ends with a whole line");
        if keep {
            assert!(found.len() >= 5, "{found:?}");
            site.kill();
            site.restart();
            site.get("/live?sub1=last", &[]);
            assert_eq!(
                site.wait_for_events("clicks", 251).len(),
                251,
                "none is lost or repeated by rotation or restart"
            );
            assert_eq!(site.metric("waypost_click_files_deleted_total", ""), 0.0);
        } else {
            assert!(site.metric("waypost_click_files_deleted_total", "topic=\"clicks\"") >= 1.0);
            let held: u64 = found.iter().map(|path| path.metadata().unwrap().len()).sum();
            assert!(held <= 192 << 10, "{held} bytes: the bound and the file that is written to");
        }
    }
}

#[test]
fn fewer_workers_than_lanes_deliver_what_the_other_lanes_hold() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kafka = format!("[kafka]\nbrokers = \"{nobody}\"\n[delivery]\ndrain_deadline = \"100ms\"\n");
    let mut site = site().config(&kafka).env("WAYPOST__EDGE__WORKERS", "4");
    site.restart();
    const CLICKS: usize = 80;
    for number in 0..CLICKS {
        // Each click has a connection of its own: the kernel spreads these over the workers.
        assert_eq!(site.get(&format!("/live?sub1={number}"), &[]).status, 302);
    }
    let holding = |lane: u16| site.metric("waypost_journal_backlog_clicks", &format!("lane=\"{lane}\"")) > 0.0;
    until("clicks in more than one lane", || ((0..4).filter(|lane| holding(*lane)).count() >= 2).then_some(()));
    site.kill();
    // Without a broker the clicks go into files, with one worker.
    site.write("waypost.toml", "");
    let mut site = site.env("WAYPOST__EDGE__WORKERS", "1");
    site.restart();
    site.get("/live?sub1=after", &[]);
    let events = site.wait_for_events("clicks", CLICKS + 1);
    let found: HashSet<&str> = events.iter().filter_map(|event| event["sub1"].as_str()).collect();
    assert_eq!((events.len(), found.len()), (CLICKS + 1, CLICKS + 1), "each once");
    assert_eq!(site.metric("waypost_workers", ""), 1.0);
    until("no click waits", || (site.metric("waypost_journal_backlog_clicks", "") == 0.0).then_some(()));
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

/// Every file below a directory, with its bytes.
fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            files.extend(files_below(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

#[test]
fn a_start_that_fails_before_it_serves_changes_nothing_in_the_journal() {
    let memory = tempfile::tempdir().unwrap();
    let site = site().env("WAYPOST__JOURNAL__RING_DIR", &memory.path().display().to_string());
    let mut site = site.arg("--require-file").start();
    assert_eq!(site.get("/live", &[]).status, 302);
    site.wait_for_events("clicks", 1);
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    let snapshot = |site: &Site| [files_below(&site.data().join("journal")), files_below(memory.path())];
    let before = snapshot(&site);
    assert!(before.iter().all(|files| files.len() >= 2), "lanes and rings");
    let refuse = |site: &Site, expected: &str| {
        let (code, log) = site.run_refused_start();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(expected), "{log}");
        assert!(snapshot(site) == before, "the start that failed for {expected:?} has changed the journal");
    };

    let (links, away) = (site.path("links.jsonl"), site.path("away"));
    std::fs::rename(&links, &away).unwrap();
    refuse(&site, "links.jsonl");
    std::fs::rename(&away, &links).unwrap();

    let clicks = site.data().join("clicks");
    std::fs::rename(&clicks, &away).unwrap();
    std::fs::write(&clicks, "a file").unwrap();
    refuse(&site, "clicks");
    std::fs::remove_file(&clicks).unwrap();
    std::fs::rename(&away, &clicks).unwrap();

    // A reboot of a ring directory on tmpfs.
    for entry in std::fs::read_dir(memory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    site.restart();
    assert_eq!(site.get("/live", &[]).status, 302);
    site.wait_for_events("clicks", 2);
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("lane_cut"), "{log}");
}
