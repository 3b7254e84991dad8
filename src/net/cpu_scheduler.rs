//! Schedules the CPU-heavy steps of a worker, so that a flood of them does not delay requests for known codes. A worker
//! is one thread: while it computes for one client, all others wait.
//!
//! 1. Every CPU-heavy step needs the scheduler's only permit. Such steps are the steps of a TLS handshake, and the
//!    answer to an unknown code beyond the rate limit of its address.
//! 2. The permit goes to the next task after the worker has polled its sockets and served the ready ones. So a request
//!    for a known code waits for one step, however many steps are queued. The first step after the worker slept skips
//!    that poll, so that the scheduler costs nothing without a flood (a poll is 4 % of a handshake, measured). A
//!    request for a known code may then wait for two steps.
//! 3. The permit goes to the highest [`StepPriority`] first, in order of arrival. But if more tasks of a "start"
//!    priority wait than can be served before their clients give up, the newest goes first: its client is the one that
//!    still waits.

use std::{
    cell::{Cell, OnceCell},
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeMetrics},
    task::yield_now,
    time::timeout,
};

use crate::net::wait_queue::{QueueEntry, WaitQueue};

/// The queue length above which the newest task goes first. That many handshakes take about 0.1 s.
const NEWEST_FIRST_ABOVE: usize = 512;

/// Decides which of the waiting tasks gets the permit next. The first variant is the highest priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepPriority {
    /// A further step: its client waits already, and its memory is in use.
    Continue,
    /// A first step.
    Start,
    /// A first step of an address that has many of them waiting.
    StartOfCrowdedAddress,
    /// A step that every other one precedes.
    Background,
}

/// By priority: whether the newest task goes first in a long queue. A task that continues is nearly done. A background
/// task has a bound on its wait, and the newest-first order would hold most of them until that bound.
const NEWEST_FIRST: [bool; 4] = [false, true, true, false];

/// Hands out one worker's permit for CPU-heavy steps.
#[derive(Debug, Default)]
pub struct CpuScheduler {
    is_permit_taken: Cell<bool>,
    /// By priority.
    queues: [WaitQueue; 4],
    /// Tells how often the worker's runtime has slept.
    runtime: OnceCell<RuntimeMetrics>,
    /// The number of sleeps when a permit was last taken without a wait.
    sleeps_at_last_permit: Cell<u64>,
}

impl CpuScheduler {
    /// Waits for the permit. The caller runs one step without awaiting, then calls [`CpuPermit::yield_then_release`].
    pub(super) async fn acquire(&self, priority: StepPriority) -> CpuPermit<'_> {
        if !self.is_permit_taken.replace(true) {
            let is_first_since_sleep = self.has_slept_since_last_permit();
            return CpuPermit { scheduler: self, entry: None, is_first_since_sleep };
        }
        // Built before the wait: dropping it passes on a permit that came to a task which was cancelled.
        let entry = self.queues[priority as usize].enqueue();
        let permit = CpuPermit { scheduler: self, entry: Some(entry), is_first_since_sleep: false };
        if let Some(entry) = &permit.entry {
            entry.wait_until_notified().await;
        }
        permit
    }

    /// Waits for the permit at background priority and releases it again, for at most `max_wait`. It paces work that is
    /// cheap by itself and comes in floods: the worker does one such piece each time it has polled its sockets.
    pub async fn wait_for_background_permit_and_release(&self, max_wait: Duration) {
        let wait = async { self.acquire(StepPriority::Background).await.yield_then_release().await };
        // The caller goes on after the bound too, so the result does not matter.
        let _ = timeout(max_wait, wait).await;
    }

    /// Returns whether the worker has slept since the last call, and notes the current number of sleeps.
    fn has_slept_since_last_permit(&self) -> bool {
        let sleeps = self.runtime.get_or_init(|| Handle::current().metrics()).worker_park_count(0);
        self.sleeps_at_last_permit.replace(sleeps) != sleeps
    }

    fn pass_permit_to_next_task_or_free_it(&self) {
        let try_notify = |(newest_first, queue): (bool, &WaitQueue)| {
            if newest_first && queue.len() > NEWEST_FIRST_ABOVE {
                queue.try_notify_newest()
            } else {
                queue.try_notify_oldest()
            }
        };
        if !NEWEST_FIRST.into_iter().zip(&self.queues).any(try_notify) {
            self.is_permit_taken.set(false);
        }
    }
}

/// The permit for one CPU-heavy step, or a queued request for it.
#[derive(Debug)]
pub(super) struct CpuPermit<'a> {
    scheduler: &'a CpuScheduler,
    /// `None`: the permit was free.
    entry: Option<QueueEntry<'a>>,
    is_first_since_sleep: bool,
}

impl CpuPermit<'_> {
    /// Lets the worker poll its sockets, then passes the permit on. A plain drop, where no step ran, passes it on at
    /// once.
    pub(super) async fn yield_then_release(self) {
        if !self.is_first_since_sleep {
            yield_now().await;
        }
    }
}

impl Drop for CpuPermit<'_> {
    fn drop(&mut self) {
        if self.entry.as_ref().is_none_or(QueueEntry::is_notified) {
            self.scheduler.pass_permit_to_next_task_or_free_it();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        task::spawn_local,
    };

    use super::*;

    fn run<F: Future>(test: F) -> F::Output {
        let options = tokio::runtime::LocalOptions::default();
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(options).unwrap().block_on(test)
    }

    /// Lets every ready task run.
    async fn run_ready_tasks() {
        for _ in 0..4 {
            yield_now().await;
        }
    }

    /// Takes the permit, has a task wait for each of `priorities`, and releases it. Returns the tasks' numbers in the
    /// order in which they had the permit.
    async fn permit_order(priorities: &[StepPriority]) -> Vec<usize> {
        let (scheduler, order) = (Rc::new(CpuScheduler::default()), Rc::new(RefCell::new(Vec::new())));
        let first = scheduler.acquire(StepPriority::Start).await;
        let mut tasks = Vec::new();
        for (number, &priority) in priorities.iter().enumerate() {
            let (scheduler, order) = (scheduler.clone(), order.clone());
            tasks.push(spawn_local(async move {
                let permit = scheduler.acquire(priority).await;
                order.borrow_mut().push(number);
                permit.yield_then_release().await;
            }));
        }
        while scheduler.queues.iter().map(WaitQueue::len).sum::<usize>() < priorities.len() {
            yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!scheduler.is_permit_taken.get() && scheduler.queues.iter().all(|queue| queue.len() == 0));
        order.take()
    }

    #[test]
    fn a_further_step_goes_before_a_first_one_and_few_tasks_go_in_order_of_arrival() {
        use StepPriority::{Background, Continue, Start, StartOfCrowdedAddress};
        run(async {
            let priorities = [Background, StartOfCrowdedAddress, Start, Start, Continue];
            assert_eq!(permit_order(&priorities).await, [4, 2, 3, 1, 0]);
        });
    }

    #[test]
    fn if_more_tasks_wait_than_are_served_in_time_the_newest_goes_first() {
        run(async {
            let order = permit_order(&[StepPriority::Start; NEWEST_FIRST_ABOVE + 2]).await;
            assert_eq!(order[..3], [NEWEST_FIRST_ABOVE + 1, NEWEST_FIRST_ABOVE, 0]);
        });
    }

    #[test]
    fn the_permit_of_a_cancelled_task_is_passed_on() {
        run(async {
            let scheduler = CpuScheduler::default();
            let first = scheduler.acquire(StepPriority::Start).await;
            let mut cancelled = Box::pin(scheduler.acquire(StepPriority::Start));
            let mut waiting = Box::pin(scheduler.acquire(StepPriority::Start));
            assert!(is_pending(cancelled.as_mut()).await && is_pending(waiting.as_mut()).await);
            drop(first);
            // It was notified, and is never polled again.
            drop(cancelled);
            drop(waiting.await);
            assert!(!scheduler.is_permit_taken.get());
        });
    }

    async fn is_pending<F: Future>(mut future: Pin<&mut F>) -> bool {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[test]
    fn a_background_wait_ends_at_its_bound() {
        run(async {
            let scheduler = CpuScheduler::default();
            let held = scheduler.acquire(StepPriority::Start).await;
            scheduler.wait_for_background_permit_and_release(Duration::from_millis(20)).await;
            drop(held);
            assert!(!scheduler.is_permit_taken.get(), "it left its queue");
            scheduler.wait_for_background_permit_and_release(Duration::from_secs(60)).await;
        });
    }

    #[test]
    fn a_ready_socket_is_served_within_the_first_few_of_many_cpu_heavy_steps() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut served, _) = listener.accept().await.unwrap();
            let (scheduler, steps) = (Rc::new(CpuScheduler::default()), Rc::new(Cell::new(0)));
            let counted_steps = steps.clone();
            let serving = spawn_local(async move {
                served.read_u8().await.unwrap();
                counted_steps.get()
            });
            run_ready_tasks().await;
            let mut flood = Vec::new();
            for _ in 0..300 {
                let (scheduler, steps) = (scheduler.clone(), steps.clone());
                flood.push(spawn_local(async move {
                    let permit = scheduler.acquire(StepPriority::Start).await;
                    steps.set(steps.get() + 1);
                    permit.yield_then_release().await;
                }));
            }
            client.write_u8(1).await.unwrap();
            let steps_before_serving = serving.await.unwrap();
            for task in flood {
                task.await.unwrap();
            }
            assert_eq!(steps.get(), 300);
            assert!(steps_before_serving <= 8, "{steps_before_serving}");
        });
    }
}
