//! Tells the wakes of one future from the other wakes of its task.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A waker for one future of a task. Without it, every wake of the task would cost the handshake a CPU permit.
pub(super) struct WakeFilter {
    is_woken: AtomicBool,
    task: Waker,
}

impl WakeFilter {
    /// A filter for a future of the calling task.
    pub(super) async fn for_current_task() -> Arc<WakeFilter> {
        let task = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        Arc::new(WakeFilter { is_woken: AtomicBool::new(false), task })
    }

    /// Polls the future once with this waker.
    pub(super) fn poll_once<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        self.is_woken.store(false, Ordering::Relaxed);
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    /// Resolves once the future has been woken since [`WakeFilter::poll_once`].
    pub(super) async fn wait_for_wake(&self) {
        poll_fn(|_| if self.is_woken.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Wake for WakeFilter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}
