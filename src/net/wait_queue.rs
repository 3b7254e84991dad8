//! A queue of tasks in order of arrival, from which one task after another is woken. One worker's tasks share it on
//! their thread.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
};

/// Tasks that wait to be notified, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct WaitQueue {
    next_number: Cell<u64>,
    /// By the number of arrival.
    waiting: RefCell<BTreeMap<u64, Rc<Notification>>>,
}

/// Shared by the queue and the waiting task, which outlives its place in the queue.
#[derive(Debug, Default)]
struct Notification {
    is_notified: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl WaitQueue {
    /// Adds an entry at the end of the queue. Dropping the entry removes it.
    pub(super) fn enqueue(&self) -> QueueEntry<'_> {
        let number = self.next_number.get();
        self.next_number.set(number + 1);
        let notification = Rc::new(Notification::default());
        self.waiting.borrow_mut().insert(number, notification.clone());
        QueueEntry { queue: self, number, notification }
    }

    /// The number of entries that are not notified yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Removes the oldest entry and notifies it. Returns whether there was one.
    pub(super) fn try_notify_oldest(&self) -> bool {
        let oldest = self.waiting.borrow_mut().pop_first();
        notify_entry_and_return_whether_any(oldest)
    }

    /// Removes the newest entry and notifies it. Returns whether there was one.
    pub(super) fn try_notify_newest(&self) -> bool {
        let newest = self.waiting.borrow_mut().pop_last();
        notify_entry_and_return_whether_any(newest)
    }
}

fn notify_entry_and_return_whether_any(entry: Option<(u64, Rc<Notification>)>) -> bool {
    let Some((_, notification)) = entry else { return false };
    notification.is_notified.set(true);
    if let Some(waker) = notification.waker.take() {
        waker.wake();
    }
    true
}

/// A task's entry in a [`WaitQueue`].
#[derive(Debug)]
pub(super) struct QueueEntry<'a> {
    queue: &'a WaitQueue,
    number: u64,
    notification: Rc<Notification>,
}

impl QueueEntry<'_> {
    /// Whether the entry was removed from the queue and notified.
    pub(super) fn is_notified(&self) -> bool {
        self.notification.is_notified.get()
    }

    /// Resolves once the entry is notified.
    pub(super) fn wait_until_notified(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx| {
            if self.is_notified() {
                return Poll::Ready(());
            }
            let mut waker = self.notification.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        self.queue.waiting.borrow_mut().remove(&self.number);
    }
}
