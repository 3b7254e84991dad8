//! How threads are told to stop, how the end of several threads is awaited, and which conditions readiness has.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{mpsc, watch};

/// The stop signal: cloned to every task and thread that has to end. Once given it stays.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Receiver<bool>);

/// The handle that gives a stop signal.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<bool>);

/// Creates a stop signal and its handle.
pub fn stop_signal() -> (StopHandle, StopSignal) {
    let (sender, receiver) = watch::channel(false);
    (StopHandle(sender), StopSignal(receiver))
}

impl StopHandle {
    /// Gives the signal to every holder of [`StopSignal`].
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl StopSignal {
    /// Whether the signal was given, or its handle is dropped, as by a start that fails; for threads that poll.
    pub fn is_set(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Resolves once the signal was given, or its handle is dropped.
    pub async fn wait(&mut self) {
        // An error means that the handle was dropped: the process ends, and that is a stop too.
        let _ = self.0.wait_for(|set| *set).await;
    }
}

/// Held by a task or thread until it ends.
#[derive(Clone, Debug)]
pub struct CompletionGuard(#[allow(dead_code, reason = "held for its drop alone")] mpsc::Sender<()>);

/// Resolves once every [`CompletionGuard`] is dropped.
#[derive(Debug)]
pub struct Completion(mpsc::Receiver<()>);

/// Creates the first guard and the completion that waits for it and its clones.
pub fn completion() -> (CompletionGuard, Completion) {
    let (sender, receiver) = mpsc::channel(1);
    (CompletionGuard(sender), Completion(receiver))
}

impl Completion {
    /// Resolves once every [`CompletionGuard`] is dropped. Has no deadline of its own.
    pub async fn wait(&mut self) {
        let _ = self.0.recv().await;
    }
}

/// The conditions that must hold before the process takes traffic. Each has a name, so that `/readyz` can list the
/// missing ones.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<ReadinessCondition>>>);

#[derive(Debug)]
struct ReadinessCondition {
    name: String,
    holds: Arc<AtomicBool>,
}

/// One condition of [`Readiness`]. Does not hold until it is set.
#[derive(Clone, Debug)]
pub struct Latch(Arc<AtomicBool>);

impl Readiness {
    /// Adds a condition that does not hold yet.
    pub fn add_unmet_condition(&self, name: impl Into<String>) -> Latch {
        let holds = Arc::new(AtomicBool::new(false));
        let condition = ReadinessCondition { name: name.into(), holds: holds.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(condition);
        Latch(holds)
    }

    /// The names of the conditions that do not hold; empty means ready.
    pub fn list_missing_conditions(&self) -> Vec<String> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = conditions.iter().filter(|condition| !condition.holds.load(Ordering::Acquire));
        missing.map(|condition| condition.name.clone()).collect()
    }
}

impl Latch {
    /// Sets whether the condition holds.
    pub fn set(&self, holds: bool) {
        self.0.store(holds, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_the_conditions_that_do_not_hold() {
        let readiness = Readiness::default();
        let links = readiness.add_unmet_condition("links");
        let room = readiness.add_unmet_condition("lane 0 has room");
        assert_eq!(readiness.list_missing_conditions(), ["links", "lane 0 has room"]);
        links.set(true);
        room.set(true);
        assert!(readiness.list_missing_conditions().is_empty());
        room.set(false);
        assert_eq!(readiness.list_missing_conditions(), ["lane 0 has room"]);
    }
}
