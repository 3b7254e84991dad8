//! The states of a credited line. `as_of_ms` moves nothing but this clock.

use super::{
    policy::Policy,
    reason::{LineReason, LineState},
    settlement::{Settlement, TakeBackCause},
};

/// Milliseconds of a day.
pub(super) const DAY_MS: u64 = 86_400_000;

/// When a completed line is confirmed and paid, milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PayoutTimes {
    pub(super) confirmed_at_ms: u64,
    pub(super) payable_from_ms: u64,
    pub(super) payable_until_ms: u64,
}

impl PayoutTimes {
    fn after_completion(completed_at_ms: u64, policy: &Policy) -> PayoutTimes {
        let after = |days: u32| completed_at_ms.saturating_add(u64::from(days) * DAY_MS);
        PayoutTimes {
            confirmed_at_ms: after(policy.confirm_days),
            payable_from_ms: after(policy.payable_from_days),
            payable_until_ms: after(policy.payable_until_days),
        }
    }
}

/// The state of a credited line.
#[derive(Clone, Copy, Debug)]
pub(super) struct CreditedState {
    pub(super) state: LineState,
    pub(super) reason: LineReason,
    /// The pieces that the commission is for; what is taken back later is a clawback.
    pub(super) kept_quantity: i64,
    /// `None` before completion, and after everything was taken back.
    pub(super) times: Option<PayoutTimes>,
}

/// Finds the state of a line that has a winner.
pub(super) fn find_state_of_credited_line(settled: &Settlement<'_>, policy: &Policy, as_of_ms: u64) -> CreditedState {
    let taken_back = |state: LineState| CreditedState {
        state,
        reason: match settled.cause_of_last_take_back() {
            Some(TakeBackCause::Cancellation) => LineReason::OrderCancelled,
            _ => LineReason::Returned,
        },
        kept_quantity: 0,
        times: None,
    };
    let standing = |state: LineState, kept_quantity: i64, times: Option<PayoutTimes>| CreditedState {
        state,
        reason: LineReason::LastClick,
        kept_quantity,
        times,
    };
    let Some(completed_at_ms) = settled.completed_at_ms else {
        return match settled.kept_before(u64::MAX) {
            0 => taken_back(LineState::Rejected),
            kept => standing(LineState::Pending, kept, None),
        };
    };
    let times = PayoutTimes::after_completion(completed_at_ms, policy);
    if settled.kept_before(completed_at_ms) == 0 {
        return taken_back(LineState::Rejected);
    }
    let state = match as_of_ms {
        now if now < times.confirmed_at_ms => LineState::Pending,
        now if now < times.payable_from_ms => LineState::Confirmed,
        _ => LineState::Payable,
    };
    match settled.kept_before(times.payable_from_ms) {
        0 => taken_back(LineState::Reversed),
        kept => standing(state, kept, Some(times)),
    }
}
