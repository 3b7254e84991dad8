//! Changes of many links on threads of their own: previews, and changes that the catalog keeps until they end.

use std::{rc::Rc, thread};

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    api::{
        act_progress::ActProgress,
        http::problem::{Problem, ProblemKind},
        links::{
            location::path_of_link,
            refusal::{ExistingLink, problem_of_refusal},
        },
        state::ApiState,
    },
    catalog::{
        CatalogError, CatalogHandle,
        act::Act,
        kept_changes::{ChangeState, KeptChange},
        many::{ChunkStep, MAX_TOLD, ManyChange, ManyError, ManyReport, ManyRun},
    },
};

/// Changes at once. Each asks the catalog for a chunk after the other.
const MAX_RUNNING: usize = 16;

/// What becomes of a change that meets trouble which passes, such as a freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum OnTrouble {
    /// It has failed: somebody waits for it, and asks again.
    Fail,
    /// It is tried again later: nobody waits for it.
    TryLater,
}

/// Checks that one more change may run.
///
/// # Errors
/// Too many run.
pub(super) fn check_change_may_run(state: &ApiState) -> Result<(), Problem> {
    if state.progress.borrow().running.get() < MAX_RUNNING {
        return Ok(());
    }
    let detail = format!("{MAX_RUNNING} changes of many links are running; ask again");
    Err(Problem::new(ProblemKind::Busy, detail))
}

/// Checks a change and writes nothing. The receiver gets what would happen.
///
/// # Errors
/// Too many changes run, or the system refuses the thread.
pub(super) fn start_preview(
    state: &Rc<ApiState>,
    change: ManyChange,
    act: Act,
) -> Result<oneshot::Receiver<Result<ManyReport, String>>, Problem> {
    let catalog = state.catalog.clone();
    run_on_thread(state, move || catalog.change_many_blocking(&change, &act, true).map_err(|error| error.to_string()))
}

/// Carries out a change that the catalog keeps, from where it is.
///
/// # Errors
/// Too many changes run, or the system refuses the thread; the change is kept.
pub(in crate::api) fn start_kept_change(
    state: &Rc<ApiState>,
    kept: KeptChange,
    on_trouble: OnTrouble,
) -> Result<(), Problem> {
    let catalog = state.catalog.clone();
    let id = kept.act.id.to_string();
    let ended = run_on_thread(state, move || run_kept_change(&catalog, kept, on_trouble))?;
    state.progress.borrow_mut().active.insert(id.clone());
    let state = state.clone();
    tokio::task::spawn_local(async move {
        // An error: the process stops.
        let _ = ended.await;
        state.progress.borrow_mut().active.remove(&id);
        state.schedule_changed.notify_one();
    });
    Ok(())
}

fn run_on_thread<T: Send + 'static>(
    state: &Rc<ApiState>,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, Problem> {
    check_change_may_run(state)?;
    let running = state.progress.borrow().running.clone();
    let (reply, ended) = oneshot::channel();
    let (done, forward) = oneshot::channel();
    let body = move || {
        // An error: the process stops.
        let _ = done.send(run());
    };
    let thread = thread::Builder::new().name("wp-api-many".to_owned()).spawn(body);
    thread.map_err(|error| Problem::new(ProblemKind::Busy, format!("the system refuses a thread: {error}")))?;
    running.set(running.get() + 1);
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

/// Changes chunk by chunk, and keeps behind each where it is.
fn run_kept_change(catalog: &CatalogHandle, mut kept: KeptChange, on_trouble: OnTrouble) {
    let Err(error) = try_run_kept_change(catalog, &mut kept) else { return };
    let state = match (&error, on_trouble) {
        // It goes on behind the restart.
        (ManyError::Catalog(CatalogError::Stopped), _) => return,
        (ManyError::NoSuchAct(_), _) | (_, OnTrouble::Fail) => ChangeState::Failed,
        (_, OnTrouble::TryLater) => ChangeState::Scheduled,
    };
    tracing::warn!(act = %kept.act.id, "a change of many links breaks off: {error}");
    let failed = KeptChange { state, error: Some(error.to_string()), ..kept };
    // An error: the catalog fails, and the row says where the change was before.
    let _ = catalog.update_kept_change_blocking(failed);
}

fn try_run_kept_change(catalog: &CatalogHandle, kept: &mut KeptChange) -> Result<(), ManyError> {
    let (change, act) = (kept.change.clone(), kept.act.clone());
    let mut run = ManyRun::new(catalog, &change, &act, false)?;
    run.after = kept.after.clone();
    let before: Option<Value> = kept.report.as_ref().and_then(|text| serde_json::from_str(text).ok());
    kept.state = ChangeState::Running;
    kept.error = None;
    loop {
        if catalog.update_kept_change_blocking(kept.clone())? == ChangeState::Cancelled {
            return Ok(());
        }
        if kept.state == ChangeState::Done {
            return Ok(());
        }
        if run.change_next_chunk()? == ChunkStep::End {
            kept.state = ChangeState::Done;
        }
        kept.after = run.after.clone();
        let report = report_to_json(&run.report);
        kept.report = Some(before.as_ref().map_or(report.clone(), |before| add_reports(before, report)).to_string());
    }
}

/// The report of a change that was interrupted: what became of the links before, then behind it.
fn add_reports(before: &Value, mut after: Value) -> Value {
    for count in ["changed", "unchanged", "refused"] {
        after[count] = (before[count].as_u64().unwrap_or(0) + after[count].as_u64().unwrap_or(0)).into();
    }
    for list in ["examples", "refused_links"] {
        let [before, after_it] = [&before[list], &after[list]].map(|list| list.as_array().into_iter().flatten());
        let told: Vec<Value> = before.chain(after_it).take(MAX_TOLD).cloned().collect();
        after[list] = told.into();
    }
    after
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

/// How a change goes whose client has not waited for its end.
pub(in crate::api) fn progress_to_json(progress: &ActProgress) -> Value {
    let (state, report, error) = match progress {
        ActProgress::Running => (ChangeState::Running, None, None),
        ActProgress::Ended(Ok(report)) => (ChangeState::Done, Some(report_to_json(report)), None),
        ActProgress::Ended(Err(error)) => (ChangeState::Failed, None, Some(error)),
    };
    json!({"state": state.as_str(), "effective_at": null, "report": report, "error": error})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_an_interrupted_change_names_the_links_refused_before() {
        let report = |changed: u64, refused: &[&str]| {
            let links: Vec<Value> = refused.iter().map(|link| json!({"link": link})).collect();
            json!({"changed": changed, "unchanged": 1, "refused": refused.len(), "examples": ["e"],
                "refused_links": links})
        };
        let added = add_reports(&report(2, &["a"]), report(3, &["b", "c"]));
        let mut expected = report(5, &["a", "b", "c"]);
        (expected["unchanged"], expected["examples"]) = (json!(2), json!(["e", "e"]));
        assert_eq!(added, expected);
        let many = vec!["x"; MAX_TOLD];
        let told = add_reports(&report(0, &many), report(0, &["y"]));
        assert_eq!((&told["refused"], told["refused_links"].as_array().unwrap().len()), (&json!(101), MAX_TOLD));
    }
}
