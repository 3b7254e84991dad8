//! Changes of many links that go on behind their answers, each on a thread of its own, and how they ended.

use std::thread;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    api::{
        act_progress::ActProgress,
        context::RequestContext,
        http::problem::{Problem, ProblemKind},
        links::{
            location::path_of_link,
            refusal::{ExistingLink, problem_of_refusal},
        },
    },
    catalog::{
        act::Act,
        many::{ManyChange, ManyReport},
    },
};

/// Changes at once. Each asks the catalog for a chunk after the other.
const MAX_RUNNING: usize = 16;
/// Starts a change. The receiver gets its end.
///
/// # Errors
/// Too many run, or the system refuses the thread.
pub(super) fn start_change(
    context: &RequestContext,
    change: ManyChange,
    act: Act,
    is_dry_run: bool,
) -> Result<oneshot::Receiver<Result<ManyReport, String>>, Problem> {
    let busy = |detail: String| Problem::new(ProblemKind::Busy, detail);
    let running = context.state.progress.borrow().running.clone();
    if running.get() >= MAX_RUNNING {
        return Err(busy(format!("{MAX_RUNNING} changes of many links are running; ask again")));
    }
    let (reply, ended) = oneshot::channel();
    let (done, forward) = oneshot::channel();
    let id = act.id.to_string();
    let catalog = context.state.catalog.clone();
    let run = move || {
        let result = catalog.change_many_blocking(&change, &act, is_dry_run).map_err(|error| error.to_string());
        // An error: the process stops.
        let _ = done.send(result);
    };
    let thread = thread::Builder::new().name("wp-api-many".to_owned()).spawn(run);
    thread.map_err(|error| busy(format!("the system refuses a thread: {error}")))?;
    running.set(running.get() + 1);
    if !is_dry_run {
        context.state.progress.borrow_mut().set(&id, ActProgress::Running);
    }
    tokio::task::spawn_local(async move {
        let result = forward.await;
        running.set(running.get() - 1);
        if let Ok(result) = result {
            // An error: who asked has gone.
            let _ = reply.send(result);
        }
    });
    Ok(ended)
}

/// What became of the links.
pub(in crate::api) fn report_to_json(report: &ManyReport) -> Value {
    let refused = report.refused.iter().map(|(name, refusal)| {
        let problem = problem_of_refusal(refusal.clone(), ExistingLink::IsConflict);
        json!({"link": path_of_link(name), "problem": problem.to_json()})
    });
    json!({
        "changed": report.changed,
        "unchanged": report.unchanged,
        "refused": report.refused_total,
        "examples": report.examples.iter().map(path_of_link).collect::<Vec<_>>(),
        "refused_links": refused.collect::<Vec<_>>(),
    })
}

/// How a change goes.
pub(in crate::api) fn progress_to_json(progress: &ActProgress) -> Value {
    match progress {
        ActProgress::Running => json!({"state": "running", "report": null, "error": null}),
        ActProgress::Ended(Ok(report)) => json!({"state": "done", "report": report_to_json(report), "error": null}),
        ActProgress::Ended(Err(error)) => json!({"state": "failed", "report": null, "error": error}),
    }
}
