//! What the operator sees.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{Bench, marks, scratch, tiny};

#[test]
fn the_identity_holds_in_the_metrics_and_what_is_known_starts_at_zero() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let value = |name: &str| {
        let text = handle.render();
        let line = text.lines().find(|line| line.starts_with(&format!("waypost_{name} "))).map(str::to_owned);
        let line =
            line.or_else(|| text.lines().find(|l| l.starts_with(&format!("waypost_{name}{{"))).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let dir = scratch();
    metrics::with_local_recorder(&recorder, || {
        let mut bench = Bench::open(dir.path(), &tiny());
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
            bench.lane.append(n % 2, &[n; 100]).unwrap();
        }
        bench.spiller.tick(bench.now);
        assert_eq!(value("clicks_journaled_total"), 40.0);
        assert_eq!(value("journal_backlog_clicks"), 40.0);
        assert_eq!(value("journal_ring_bytes"), (16 * 1024) as f64);
        assert_eq!(value("journal_ring_free_bytes"), (16 * 1024 - 40 * 176) as f64);
        bench.spill();
        assert_eq!(value("journal_ring_free_bytes"), (16 * 1024) as f64);
        assert!(value("journal_disk_used_bytes") > 7000.0);
        assert_eq!(value("journal_disk_budget_bytes"), f64::from(1 << 20));
        assert!(value("journal_sync_duration_seconds_count") >= 1.0);
        assert_eq!(value("journal_oldest_undurable_age_seconds"), 0.0);
        assert_eq!(value("journal_spill_stopped"), 0.0);
    });
    metrics::with_local_recorder(&recorder, || {
        let mut bench = Bench::open(dir.path(), &tiny());
        assert_eq!(value("clicks_recovered_total"), 40.0);
        bench.lane.append(0, b"one more").unwrap();
        let (seen, _) = bench.read_from(bench.reader.start());
        let mut batch = crate::journal::Batch::default();
        bench.reader.read(bench.reader.start(), &mut batch).unwrap();
        let upto = batch.frames().nth(29).unwrap().next_pos;
        bench.reader.acknowledge(upto, marks(bench.reader.delivered(), &seen[..30]), [0; 64]);
        bench.spill();
        assert_eq!(value("journal_backlog_clicks"), 11.0);
        assert!(value("journal_backlog_bytes") > 0.0);
    });
}
