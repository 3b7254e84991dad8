//! Turns at what is dear. A worker is one thread: while it computes for one client, all others wait.
//!
//! 1. Every dear step (a handshake's; the answer to an unknown code beyond its address's budget) takes a turn; one task has it.
//! 2. It is passed on after the worker has looked at its sockets again and has served what was ready: a known click waits for
//!    one dear step, however many are asked for. The first step since the worker slept needs no such look, so that without a flood
//!    a turn costs nothing (4 % of a handshake, measured); a known click then waits for two.
//! 3. Who goes on with something goes before who begins, the few of an address before its many. In the order of coming; but of those that
//!    begin the newest first while more wait than are served within a client's patience: not all can be served then, and the oldest
//!    would be served for nothing.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Handle, RuntimeMetrics},
    task::yield_now,
    time::timeout,
};

/// More than these in one line, and its newest goes first. Some 0.1 s of handshakes.
const FEW: usize = 512;

/// Tasks that wait to be called, in the order of their coming. Of one worker.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The number of the next one.
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Rc<Call>>>,
}

#[derive(Debug, Default)]
struct Call {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Line {
    /// Goes to the end of the line, and leaves it when the ticket is dropped.
    pub(super) fn join(&self) -> Ticket<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        let call = Rc::new(Call::default());
        self.waiting.borrow_mut().insert(number, call.clone());
        Ticket { line: self, number, call }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Calls the oldest and takes it off the line; says whether there was one.
    pub(super) fn call_oldest(&self) -> bool {
        let oldest = self.waiting.borrow_mut().pop_first();
        call(oldest)
    }

    fn call_newest(&self) -> bool {
        let newest = self.waiting.borrow_mut().pop_last();
        call(newest)
    }
}

fn call(entry: Option<(u64, Rc<Call>)>) -> bool {
    let Some((_, call)) = entry else { return false };
    call.called.set(true);
    if let Some(waker) = call.waker.take() {
        waker.wake();
    }
    true
}

/// A place in a [`Line`].
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    line: &'a Line,
    number: u64,
    call: Rc<Call>,
}

impl Ticket<'_> {
    fn is_called(&self) -> bool {
        self.call.called.get()
    }

    /// Resolves once it is called.
    pub(super) fn called(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx| {
            if self.is_called() {
                return Poll::Ready(());
            }
            let mut waker = self.call.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.line.waiting.borrow_mut().remove(&self.number);
    }
}

/// Which line a task waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// It has had a turn already: its client waits, and its memory is held.
    GoesOn,
    /// It begins.
    Begins,
    /// It begins, and many of its address wait already: nothing but the order among those that wait.
    Crowd,
    /// All others go before it.
    Last,
}

/// By rank: where the newest goes first once more than [`FEW`] wait. Who goes on is nearly done; who is last waits a bounded time, and all of
/// them together would be answered at its end.
const NEWEST_FIRST: [bool; 4] = [false, true, true, false];

/// One worker's turns.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Cell<bool>,
    /// By rank.
    lines: [Line; 4],
    /// How often the worker's runtime has slept.
    sleeps: OnceCell<RuntimeMetrics>,
    /// As of the last turn that nobody had to wait for.
    slept: Cell<u64>,
}

impl Turns {
    /// Resolves when it is this task's turn. The turn is one piece of the worker's time: take the step at once, then [`Turn::end`] it.
    pub(super) async fn take(&self, rank: Rank) -> Turn<'_> {
        if !self.taken.replace(true) {
            return Turn { turns: self, ticket: None, first: self.is_first() };
        }
        let turn = Turn { turns: self, ticket: Some(self.lines[rank as usize].join()), first: false };
        if let Some(ticket) = &turn.ticket {
            ticket.called().await;
        }
        turn
    }

    /// Resolves at a turn of its own after all others', or after `longest`. For what is cheap by itself and comes in floods: the
    /// worker gets to one of them each time that it has looked at its sockets.
    pub async fn last(&self, longest: Duration) {
        // Too late is as good: the bound is there so that no flood holds it for ever.
        let _ = timeout(longest, async { self.take(Rank::Last).await.end().await }).await;
    }

    /// Whether the worker has slept since this was asked last.
    fn is_first(&self) -> bool {
        let sleeps = self.sleeps.get_or_init(|| Handle::current().metrics()).worker_park_count(0);
        self.slept.replace(sleeps) != sleeps
    }

    fn pass(&self) {
        let next = |(newest_first, line): (bool, &Line)| {
            if newest_first && line.len() > FEW { line.call_newest() } else { line.call_oldest() }
        };
        if !NEWEST_FIRST.into_iter().zip(&self.lines).any(next) {
            self.taken.set(false);
        }
    }
}

/// The turn, or the wait for it.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    ticket: Option<Ticket<'a>>,
    /// The first since the worker slept.
    first: bool,
}

impl Turn<'_> {
    /// Passes the turn on once the worker has looked at its sockets. Dropped instead, as after no step at all, it is passed on at once.
    pub(super) async fn end(self) {
        if !self.first {
            yield_now().await;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Also of a task that was called and ended before it heard.
        if self.ticket.as_ref().is_none_or(Ticket::is_called) {
            self.turns.pass();
        }
    }
}

#[cfg(test)]
mod tests {
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

    /// Lets every task run that is ready.
    async fn settle() {
        for _ in 0..4 {
            yield_now().await;
        }
    }

    /// Takes the turn, has `ranks` wait for it, and passes it on: the order in which they had it.
    async fn order(ranks: &[Rank]) -> Vec<usize> {
        let (turns, had) = (Rc::new(Turns::default()), Rc::new(RefCell::new(Vec::new())));
        let first = turns.take(Rank::Begins).await;
        let mut tasks = Vec::new();
        for (number, &rank) in ranks.iter().enumerate() {
            let (turns, had) = (turns.clone(), had.clone());
            tasks.push(spawn_local(async move {
                let turn = turns.take(rank).await;
                had.borrow_mut().push(number);
                turn.end().await;
            }));
        }
        while turns.lines.iter().map(Line::len).sum::<usize>() < ranks.len() {
            yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!turns.taken.get() && turns.lines.iter().all(|line| line.len() == 0));
        had.take()
    }

    #[test]
    fn who_goes_on_goes_before_who_begins_and_few_go_in_the_order_of_their_coming() {
        run(async {
            let ranks = [Rank::Last, Rank::Crowd, Rank::Begins, Rank::Begins, Rank::GoesOn];
            assert_eq!(order(&ranks).await, [4, 2, 3, 1, 0]);
        });
    }

    #[test]
    fn where_more_wait_than_are_served_in_time_the_newest_goes_first() {
        run(async {
            let order = order(&[Rank::Begins; FEW + 2]).await;
            assert_eq!(order[..3], [FEW + 1, FEW, 0]);
        });
    }

    #[test]
    fn a_turn_of_a_task_that_ended_is_passed_on() {
        run(async {
            let turns = Turns::default();
            let first = turns.take(Rank::Begins).await;
            let (mut gone, mut stays) = (Box::pin(turns.take(Rank::Begins)), Box::pin(turns.take(Rank::Begins)));
            assert!(is_pending(gone.as_mut()).await && is_pending(stays.as_mut()).await);
            drop(first);
            // It was called, and never polled again.
            drop(gone);
            drop(stays.await);
            assert!(!turns.taken.get());
        });
    }

    async fn is_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[test]
    fn what_waits_for_the_last_turn_waits_no_longer_than_it_is_told_to() {
        run(async {
            let turns = Turns::default();
            let held = turns.take(Rank::Begins).await;
            turns.last(Duration::from_millis(20)).await;
            drop(held);
            assert!(!turns.taken.get(), "it left its line");
            turns.last(Duration::from_secs(60)).await;
        });
    }

    #[test]
    fn a_ready_socket_is_served_before_the_second_of_many_dear_steps() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut served, _) = listener.accept().await.unwrap();
            let (turns, steps) = (Rc::new(Turns::default()), Rc::new(Cell::new(0)));
            let (at, seen) = (steps.clone(), Rc::new(Cell::new(None)));
            let heard = seen.clone();
            let serving = spawn_local(async move {
                served.read_u8().await.unwrap();
                heard.set(Some(at.get()));
            });
            settle().await;
            let mut flood = Vec::new();
            for _ in 0..300 {
                let (turns, steps) = (turns.clone(), steps.clone());
                flood.push(spawn_local(async move {
                    let turn = turns.take(Rank::Begins).await;
                    steps.set(steps.get() + 1);
                    turn.end().await;
                }));
            }
            client.write_u8(1).await.unwrap();
            serving.await.unwrap();
            for task in flood {
                task.await.unwrap();
            }
            assert_eq!(steps.get(), 300);
            assert!(seen.get().is_some_and(|steps| steps <= 8), "{:?}", seen.get());
        });
    }
}
