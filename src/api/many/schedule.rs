//! Starts kept changes of many links: those whose time has come, and those that the end of a process has interrupted.

use std::{rc::Rc, time::Duration};

use tokio::time::timeout;

use super::running::{OnTrouble, start_kept_change};
use crate::{
    api::{http::problem::Problem, state::ApiState},
    catalog::{LinkSource, kept_changes::ChangeState},
    clock,
};

/// The longest wait for a time: the wall clock may be set meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A change that cannot run now is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);
/// Changes that are looked at.
const MAX_CHANGES: usize = 1_000;

/// Starts changes until the process ends. Does nothing where links come from a file.
pub(in crate::api) async fn start_changes_when_due(state: Rc<ApiState>) {
    if state.source == LinkSource::File {
        return;
    }
    let mut tried_ms = 0;
    loop {
        let wait = start_due_changes(&state, &mut tried_ms).await.unwrap_or(LONGEST_WAIT);
        // Either: the wait is over, or a change was asked for, has ended or was stopped.
        let _ = timeout(wait, state.schedule_changed.notified()).await;
    }
}

/// Starts what is due. Returns how long to wait.
async fn start_due_changes(state: &Rc<ApiState>, tried_ms: &mut u64) -> Result<Duration, Problem> {
    let waiting = [ChangeState::Scheduled, ChangeState::Running];
    let changes = state.readers.read(move |reader| reader.list_kept_changes(&waiting, MAX_CHANGES)).await?;
    let now_ms = clock::wall_ms();
    let may_retry = now_ms.saturating_sub(*tried_ms) >= RETRY.as_millis() as u64;
    let mut wait = LONGEST_WAIT;
    for change in changes {
        if state.progress.borrow().active.contains(&change.act.id.to_string()) {
            continue;
        }
        if change.effective_ms > now_ms {
            wait = wait.min(Duration::from_millis(change.effective_ms - now_ms));
        } else if change.error.is_some() && !may_retry || start_kept_change(state, change, OnTrouble::TryLater).is_err()
        {
            wait = wait.min(RETRY);
        }
    }
    if may_retry {
        *tried_ms = now_ms;
    }
    Ok(wait)
}
