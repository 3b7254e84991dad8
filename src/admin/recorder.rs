//! The recorder that collects every metric of the process, and its rendering for Prometheus.

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::metrics::{self, BUILD_INFO, MetricKind};

/// The CPU time of the process, which has fractions.
const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// Renders the metrics of the recorder as text for Prometheus.
#[derive(Clone)]
pub struct MetricsRenderer {
    recorder: PrometheusHandle,
    process: metrics_process::Collector,
}

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The buckets of a histogram in [`metrics::ALL`] are unusable.
    #[error("a row of the table of metrics is wrong: {0}")]
    Buckets(#[from] BuildError),
    /// The process has a recorder.
    #[error("a metrics recorder is installed already")]
    AlreadyInstalled,
}

/// Installs the recorder of this process, describes every metric and sets the buckets of every histogram. Called once,
/// before any module takes a handle.
pub fn install_global_recorder_and_describe_metrics() -> Result<MetricsRenderer, InstallError> {
    let mut builder = PrometheusBuilder::new();
    for metric in metrics::ALL {
        if let MetricKind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    let renderer = MetricsRenderer { recorder: recorder.handle(), process: metrics_process::Collector::default() };
    ::metrics::set_global_recorder(recorder).map_err(|_| InstallError::AlreadyInstalled)?;
    metrics::describe_all_metrics();
    renderer.process.describe();
    metrics::gauge(&BUILD_INFO, &[env!("CARGO_PKG_VERSION"), option_env!("WAYPOST_COMMIT").unwrap_or_default()])
        .set(1.0);
    Ok(renderer)
}

impl MetricsRenderer {
    /// Renders all metrics, with the process metrics as of now.
    pub fn render(&self) -> String {
        self.process.collect();
        // A gauge only to the recorder, whose counters have no fractions: the value never falls.
        self.recorder.render().replacen(
            &format!("# TYPE {CPU_SECONDS} gauge"),
            &format!("# TYPE {CPU_SECONDS} counter"),
            1,
        )
    }

    /// Folds the collected samples of histograms.
    pub fn run_upkeep(&self) {
        self.recorder.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_described_and_histograms_have_their_buckets() {
        // No other test of this binary installs the global recorder.
        let renderer = install_global_recorder_and_describe_metrics().unwrap();
        for metric in metrics::ALL {
            let values = vec!["x"; metric.labels.len()];
            match metric.kind {
                MetricKind::Counter => drop(metrics::counter(metric, &values)),
                MetricKind::Gauge => metrics::gauge(metric, &values).set(0.0),
                MetricKind::Histogram(_) => metrics::histogram(metric, &values).record(0.001),
            }
        }
        let cpu_seconds = |text: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap()
        };
        assert!((0..1000).any(|_| cpu_seconds(&renderer.render()).fract() != 0.0), "fractions of a second");
        let text = renderer.render();
        assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
        for metric in metrics::ALL {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram(_) => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), kind == "counter", "{}", metric.name);
        }
        assert!(text.contains("process_resident_memory_bytes"));
        assert!(matches!(install_global_recorder_and_describe_metrics(), Err(InstallError::AlreadyInstalled)));
    }
}
