//! Click files that somebody removes, renames or cuts while the process writes to them.

use std::{fs, path::Path};

use crate::dsl::{Site, link, until};

/// Delivers a click, damages its file, and checks that the damage is told and that later clicks are delivered to a new
/// file.
fn check_later_clicks_go_to_a_new_file(damage: fn(&Path)) {
    let mut site = Site::new(&[link("live")]).start();
    assert_eq!(site.get("/live", &[]).status, 302);
    let first = site.wait_for_events("clicks", 1)[0]["seq"].clone();
    // The line is in the file before its sync, and until then the click would be written again.
    until("the click is delivered", || {
        (site.metric("waypost_clicks_delivered_total", "topic=\"clicks\"") == 1.0).then_some(())
    });
    let file = site.data().join("clicks/clicks-000001.jsonl");
    damage(&file);
    let left = site.events("clicks").len();
    assert_eq!(site.get("/live", &[]).status, 302);
    site.wait_for_fault("click_file_replaced", "yes", "click-files-low-space");
    assert_eq!(site.get("/live", &[]).status, 302);
    let events = site.wait_for_events("clicks", left + 2);
    assert!(events.iter().all(|event| event["seq"] != first), "{events:?}");
    assert_eq!(site.metric("waypost_click_files_errors_total", "operation=\"replaced\""), 1.0);
    assert!(site.data().join("clicks/clicks-000002.jsonl").exists());
    let (code, log) = site.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped: 3 clicks delivered, nothing stays in the journal"), "{log}");
    site.restart();
    assert_eq!(site.events("clicks").len(), left + 2, "written once");
}

#[test]
fn after_the_removal_of_a_click_file_later_clicks_go_to_a_new_one() {
    check_later_clicks_go_to_a_new_file(|file| fs::remove_file(file).unwrap());
}

#[test]
fn after_the_removal_of_their_directory_later_clicks_go_to_a_new_one() {
    check_later_clicks_go_to_a_new_file(|file| fs::remove_dir_all(file.parent().unwrap()).unwrap());
}

#[test]
fn after_logrotate_has_renamed_a_click_file_later_clicks_go_to_a_new_one() {
    check_later_clicks_go_to_a_new_file(|file| fs::rename(file, file.with_extension("jsonl.1")).unwrap());
}

#[test]
fn after_a_click_file_was_cut_later_clicks_go_to_a_new_one_and_no_hole_is_left() {
    check_later_clicks_go_to_a_new_file(|file| fs::File::options().write(true).open(file).unwrap().set_len(0).unwrap());
}
