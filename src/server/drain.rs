//! Step 6 of the run-book: the end of a process that was told to stop.

use std::{process::ExitCode, time::Duration};

use tokio::time::Instant;

use crate::{
    config::Config,
    delivery::Summary,
    lifecycle::Latch,
    server::threads::{DrainResult, ServerThreads},
};

/// Makes the process not ready, waits until load balancers have noticed, and ends the threads in order. Logs how many
/// clicks were delivered and how many remain. Fails if a thread did not end in time.
pub(super) async fn mark_not_ready_wait_then_drain_failing_if_late(
    config: &Config,
    signal: &str,
    threads: ServerThreads,
    not_draining: &Latch,
) -> ExitCode {
    let delay = config.server.pre_stop_delay;
    tracing::info!(event = "draining", signal, ?delay, "draining; a second signal ends the process at once");
    not_draining.set(false);
    tokio::time::sleep(delay).await;
    let start = Instant::now();
    let result = threads.stop_workers_then_delivery_then_spillers(config).await;
    log_delivered_and_remaining_clicks(&result, start.elapsed());
    if result.late_threads.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn log_delivered_and_remaining_clicks(result: &DrainResult, took: Duration) {
    let late = result.late_threads.join(", ");
    if result.delivery.is_empty() {
        tracing::error!(event = "stopped", ?took, late, "stopped; what is not delivered stays in the journal");
        return;
    }
    let sum = |count: fn(&Summary) -> u64| result.delivery.iter().map(count).sum::<u64>();
    let (delivered, remaining) = (sum(|topic| topic.delivered), sum(|topic| topic.remaining));
    let counted_all = result.delivery.iter().all(|topic| topic.counted_all);
    let at_least = if counted_all { "" } else { "at least " };
    let stay = match remaining {
        0 => "nothing stays in the journal".to_owned(),
        _ => format!("{at_least}{remaining} stay in the journal and are delivered by the next start"),
    };
    tracing::info!(
        event = "stopped",
        delivered,
        remain = remaining,
        ?took,
        late,
        "stopped: {delivered} clicks delivered, {stay}"
    );
}
