//! How acts go that are not in the audit yet, or run: known in the process that makes them. What many links become is
//! kept by the catalog (`catalog::kept_changes`).

use std::{
    cell::Cell,
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use crate::catalog::many::ManyReport;

/// Acts whose ends are kept.
const MAX_KEPT: usize = 100;

/// How a change goes whose client has not waited for its end.
#[derive(Clone, Debug)]
pub(super) enum ActProgress {
    Running,
    /// It ended, or broke off for this reason.
    Ended(Result<ManyReport, String>),
}

/// How the latest changes of this process go, by act.
#[derive(Debug, Default)]
pub(super) struct ProgressByAct {
    latest: VecDeque<(String, ActProgress)>,
    /// Threads that change or check many links.
    pub(super) running: Rc<Cell<usize>>,
    /// Changes of many links that a thread of this process is at.
    pub(super) active: HashSet<String>,
}

impl ProgressByAct {
    /// How an act goes; `None` if its client waits for its end, or it is of an earlier process.
    pub(super) fn find(&self, act: &str) -> Option<&ActProgress> {
        self.latest.iter().find(|(known, _)| known == act).map(|(_, progress)| progress)
    }

    pub(super) fn set(&mut self, act: &str, progress: ActProgress) {
        match self.latest.iter_mut().find(|(known, _)| known == act) {
            Some((_, known)) => *known = progress,
            None => {
                self.latest.push_back((act.to_owned(), progress));
                if self.latest.len() > MAX_KEPT {
                    self.latest.pop_front();
                }
            }
        }
    }
}
