//! Stop is one signal; done is all guards dropped; readiness is a set of latches.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{mpsc, watch};

/// The stop signal: cloned to every task and thread that has to end. Set once, never unset.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// The one handle that gives the stop signal.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Makes a stop signal and its handle.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells every holder of [`Stop`] to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the signal was given; for threads that poll.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once the signal was given, or its handle is gone.
    pub async fn wait(&mut self) {
        // An error means that the handle was dropped: nobody is left to serve for.
        let _ = self.0.wait_for(|set| *set).await;
    }
}

/// Held by whoever must end before the drain is over.
#[derive(Clone, Debug)]
pub struct Guard(#[allow(dead_code, reason = "held for its drop alone")] mpsc::Sender<()>);

/// Resolves once every guard is gone.
#[derive(Debug)]
pub struct Done(mpsc::Receiver<()>);

/// Makes the first guard and the end it announces.
pub fn guards() -> (Guard, Done) {
    let (sender, receiver) = mpsc::channel(1);
    (Guard(sender), Done(receiver))
}

impl Done {
    /// Resolves once every [`Guard`] is dropped. Bound it with a deadline.
    pub async fn wait(&mut self) {
        let _ = self.0.recv().await;
    }
}

/// What has to hold before traffic may come. Each condition is named, so that `/readyz` can say which one is missing.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<Condition>>>);

#[derive(Debug)]
struct Condition {
    name: String,
    held: Arc<AtomicBool>,
}

/// One condition of [`Readiness`]; starts as not held.
#[derive(Clone, Debug)]
pub struct Latch(Arc<AtomicBool>);

impl Readiness {
    /// Adds a condition that does not hold yet.
    pub fn require(&self, name: impl Into<String>) -> Latch {
        let held = Arc::new(AtomicBool::new(false));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Condition { name: name.into(), held: held.clone() });
        Latch(held)
    }

    /// The names of the conditions that do not hold; empty means ready.
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().filter(|c| !c.held.load(Ordering::Acquire)).map(|c| c.name.clone()).collect()
    }
}

impl Latch {
    /// Says whether the condition holds now.
    pub fn set(&self, held: bool) {
        self.0.store(held, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_missing() {
        let readiness = Readiness::default();
        let links = readiness.require("links");
        let room = readiness.require("lane 0 has room");
        assert_eq!(readiness.missing(), ["links", "lane 0 has room"]);
        links.set(true);
        room.set(true);
        assert!(readiness.missing().is_empty());
        room.set(false);
        assert_eq!(readiness.missing(), ["lane 0 has room"]);
    }
}
