//! How changes of many links go, by act. It is known in the process that makes them; the audit has what they changed.

use std::{cell::Cell, collections::VecDeque, rc::Rc};

use crate::catalog::many::ManyReport;

/// Acts whose ends are kept.
const MAX_KEPT: usize = 100;

/// How a change of many links goes.
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
    /// Changes that run.
    pub(super) running: Rc<Cell<usize>>,
}

impl ProgressByAct {
    /// How an act goes; `None` if it is no change of many links, or of an earlier process.
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
