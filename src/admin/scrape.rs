//! The recorder behind every metric, and its text for Prometheus.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::metrics::{self, BUILD_INFO, Kind};

/// Renders what the recorder holds.
#[derive(Clone)]
pub struct Scrape {
    recorder: PrometheusHandle,
    process: metrics_process::Collector,
}

/// Why the recorder could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A histogram's buckets are unusable: a row of the table is wrong.
    #[error("a row of the table of metrics is wrong: {0}")]
    Buckets(#[from] BuildError),
    /// Somebody installed one before.
    #[error("a metrics recorder is installed already")]
    Second,
}

/// Installs the recorder of this process, with every metric described and every histogram's buckets set. Called once,
/// before any module takes a handle.
pub fn install() -> Result<Scrape, InstallError> {
    let mut builder = PrometheusBuilder::new();
    for metric in metrics::ALL {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    let scrape = Scrape { recorder: recorder.handle(), process: metrics_process::Collector::default() };
    ::metrics::set_global_recorder(recorder).map_err(|_| InstallError::Second)?;
    metrics::describe_all();
    scrape.process.describe();
    metrics::gauge(&BUILD_INFO, &[env!("CARGO_PKG_VERSION")]).set(1.0);
    Ok(scrape)
}

impl Scrape {
    /// The text of all metrics, process metrics as of now.
    pub fn render(&self) -> String {
        self.process.collect();
        self.recorder.render()
    }

    /// Folds what histograms have collected.
    pub fn upkeep(&self) {
        self.recorder.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described_and_histograms_have_their_buckets() {
        // The one test that installs the global recorder of the test binary.
        let scrape = install().unwrap();
        for metric in metrics::ALL {
            let values = vec!["x"; metric.labels.len()];
            match metric.kind {
                Kind::Counter => drop(metrics::counter(metric, &values)),
                Kind::Gauge => metrics::gauge(metric, &values).set(0.0),
                Kind::Histogram(_) => metrics::histogram(metric, &values).record(0.001),
            }
        }
        let text = scrape.render();
        for metric in metrics::ALL {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), kind == "counter", "{}", metric.name);
        }
        assert!(text.contains("process_resident_memory_bytes"));
        assert!(matches!(install(), Err(InstallError::Second)));
    }
}
