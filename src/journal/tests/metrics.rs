//! The journal's metrics, as an operator scrapes them.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{FRAME, LOG, PAYLOAD, TestLane, new_temp_dir, small_config};

#[test]
fn metrics_start_at_zero_and_journaled_plus_recovered_clicks_equal_the_backlog() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let value = |name: &str| {
        let text = handle.render();
        let start = format!("waypost_{name}{{topic=\"{LOG}\"");
        let line = text.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("no {start} in\n{text}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let dir = new_temp_dir();
    metrics::with_local_recorder(&recorder, || {
        let mut lane = TestLane::open(dir.path(), &small_config());
        for (name, expected) in [
            ("clicks_journaled_total", 0.0),
            ("clicks_recovered_total", 0.0),
            ("clicks_quarantined_total", 0.0),
            ("journal_corrupt_frames_total", 0.0),
            ("journal_spilled_bytes_total", 0.0),
            ("journal_spill_errors_total", 0.0),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        for n in 0..40u8 {
            lane.writer.append(&[n; PAYLOAD]).unwrap();
        }
        lane.spiller.spill_due_lanes_and_save_due_checkpoints(lane.now);
        assert_eq!(value("clicks_journaled_total"), 40.0);
        assert_eq!(value("journal_backlog_clicks"), 40.0);
        assert_eq!(value("journal_ring_bytes"), (16 * 1024) as f64);
        assert_eq!(value("journal_ring_free_bytes"), (16 * 1024 - 40 * FRAME) as f64);
        lane.spill();
        assert_eq!(value("journal_ring_free_bytes"), (16 * 1024) as f64);
        assert!(value("journal_disk_used_bytes") > (40 * FRAME) as f64);
        assert_eq!(value("journal_disk_budget_bytes"), f64::from(1 << 20));
        assert!(value("journal_sync_duration_seconds_count") >= 1.0);
        assert_eq!(value("journal_oldest_undurable_age_seconds"), 0.0);
        assert_eq!(value("journal_spill_stopped"), 0.0);
    });
    metrics::with_local_recorder(&recorder, || {
        let mut lane = TestLane::open(dir.path(), &small_config());
        assert_eq!(value("clicks_recovered_total"), 40.0);
        lane.writer.append(b"one more").unwrap();
        let (frames, _) = lane.read_from(lane.reader.first_undelivered());
        let mut batch = crate::journal::Batch::default();
        lane.reader.read(lane.reader.first_undelivered(), &mut batch).unwrap();
        let end = batch.frames().nth(29).unwrap().next_position;
        lane.acknowledge(end, &frames[..30]);
        lane.spill();
        assert_eq!(value("journal_backlog_clicks"), 11.0);
        assert!(value("journal_backlog_bytes") > 0.0);
    });
}
