//! Step 8 of the rule: how many pieces of a line the buyer kept, and since when.

use super::order::{Order, OrderLine};

/// What takes pieces of a line back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakeBackCause {
    Return,
    Cancellation,
}

/// Pieces taken back at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakeBack {
    pub(super) at_ms: u64,
    /// At least 1, and at most what was left.
    pub(super) quantity: i64,
    cause: TakeBackCause,
}

/// A line by the last version of its order, as of a time.
#[derive(Clone, Debug)]
pub(super) struct Settlement<'a> {
    /// The line of the last version; where the last version lacks it, that of the first paid one.
    pub(super) line: &'a OrderLine,
    pub(super) completed_at_ms: Option<u64>,
    /// Ascending by time.
    take_backs: Vec<TakeBack>,
}

impl<'a> Settlement<'a> {
    /// Settles a line of the first paid version. What is dated after `as_of_ms` is not known yet.
    pub(super) fn as_of(order: Order<'a>, paid_line: &'a OrderLine, as_of_ms: u64) -> Settlement<'a> {
        let last = order.last;
        let found = last.lines.iter().find(|line| line.line_id == paid_line.line_id);
        let line = found.unwrap_or(paid_line);
        let is_known = |at_ms: &u64| *at_ms <= as_of_ms;
        let mut dated: Vec<(u64, i64, TakeBackCause)> = match found {
            Some(line) => {
                let returns = line.returns.iter();
                returns.map(|back| (back.returned_at_ms, back.quantity, TakeBackCause::Return)).collect()
            }
            // The last version alone says what came back. That of the first paid one is not asked.
            None => vec![(last.updated_at_ms, i64::MAX, TakeBackCause::Return)],
        };
        dated.extend(last.cancelled_at_ms.map(|at_ms| (at_ms, i64::MAX, TakeBackCause::Cancellation)));
        dated.retain(|(at_ms, ..)| is_known(at_ms));
        // At one moment returns go first: a cancellation takes the rest.
        dated.sort_by_key(|(at_ms, quantity, cause)| (*at_ms, *cause == TakeBackCause::Cancellation, *quantity));
        let mut left = line.quantity;
        let mut take_backs = Vec::new();
        for (at_ms, quantity, cause) in dated {
            let quantity = quantity.min(left);
            left -= quantity;
            if quantity > 0 {
                take_backs.push(TakeBack { at_ms, quantity, cause });
            }
        }
        Settlement { line, completed_at_ms: last.completed_at_ms.filter(is_known), take_backs }
    }

    /// The pieces that were left just before a time.
    pub(super) fn kept_before(&self, at_ms: u64) -> i64 {
        let taken: i64 = self.take_backs.iter().filter(|taken| taken.at_ms < at_ms).map(|taken| taken.quantity).sum();
        self.line.quantity - taken
    }

    /// What took the last piece. A line from which a piece is left has none.
    pub(super) fn cause_of_last_take_back(&self) -> Option<TakeBackCause> {
        self.take_backs.last().map(|taken| taken.cause)
    }

    /// What was taken back at a time or later, one a moment.
    pub(super) fn take_backs_from(&self, at_ms: u64) -> Vec<TakeBack> {
        let mut merged: Vec<TakeBack> = Vec::new();
        for taken in self.take_backs.iter().filter(|taken| taken.at_ms >= at_ms) {
            match merged.last_mut().filter(|last| last.at_ms == taken.at_ms) {
                Some(last) => last.quantity += taken.quantity,
                None => merged.push(*taken),
            }
        }
        merged
    }
}
