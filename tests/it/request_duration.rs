//! The histogram of request durations: what it measures, and how many requests.

use std::{thread, time::Duration};

use crate::dsl::{Site, link, request, until};

const COUNT: &str = "waypost_request_duration_seconds_count";
const SUM: &str = "waypost_request_duration_seconds_sum";

#[test]
fn one_request_of_64_is_measured_from_its_first_byte_to_its_answer() {
    let site = Site::new(&[link("live")]).env("WAYPOST__EDGE__WORKERS", "1").start();
    let click = request("GET", "/live", &[]);
    let mut wire = site.connect();
    for _ in 0..63 {
        assert_eq!(wire.send(&click).status, 302);
    }
    assert_eq!(site.metric(COUNT, ""), 0.0, "63 requests hold no sample");
    // The 64th request takes as long as its client needs to send its head.
    let (first, rest) = click.split_at(10);
    let pause = Duration::from_millis(200);
    wire.write(first);
    thread::sleep(pause);
    assert_eq!(wire.send(rest).status, 302);
    until("the sample", || (site.metric(COUNT, "") == 1.0).then_some(()));
    let slow = site.metric(SUM, "");
    assert!(slow >= pause.as_secs_f64() / 2.0, "{slow} s");
    for _ in 0..128 {
        assert_eq!(wire.send(&click).status, 302);
    }
    until("two more samples", || (site.metric(COUNT, "") == 3.0).then_some(()));
}
