//! One worker's counters of requests and clicks.

use crate::{
    edge::target::RequestRejection,
    metrics::{
        CLICKS, CLICKS_UNRECORDED, COOKIES, LocalCounter, Metric, REQUESTS_FIXED, REQUESTS_REFUSED, REQUESTS_UPGRADED,
        counter,
    },
    model::click::{CookieState, Outcome, Topic},
    word_enum::word_enum,
};

word_enum! {
    /// Why a click has no record. The word is a metric's label value.
    pub(super) enum UnrecordedReason {
        /// The lane was full and `journal.on_full` is `unrecorded`: the click was answered.
        NoRoom = "no_room",
        /// The lane of orphans was full. It has little room, because a flood of unknown codes must not cost much.
        OrphanNoRoom = "orphan_no_room",
        /// The request says that nobody tapped, and less than a quarter of the lane was free.
        UncountableNoRoom = "uncountable_no_room",
        /// The code is unknown and its address asked for more of them than `edge.limits.max_unknown_codes_per_address`.
        RateLimited = "rate_limited",
        /// The lane was full and `journal.on_full` is `refuse`: the request was answered with 503.
        RefusedNoRoom = "refused_no_room",
    }
}

/// Every counter of one worker's requests. Each is visible in the metrics after the next
/// [`WorkerCounters::flush_to_metrics_and_count_answered_unrecorded`].
pub(super) struct WorkerCounters {
    outcomes: [LocalCounter; Outcome::ALL.len()],
    cookie_states: [LocalCounter; CookieState::ALL.len()],
    unrecorded: [LocalCounter; UnrecordedReason::ALL.len()],
    rejections: [LocalCounter; RequestRejection::ALL.len()],
    fixed_paths: LocalCounter,
    https_redirects: LocalCounter,
}

impl Default for WorkerCounters {
    fn default() -> WorkerCounters {
        let labelled = |metric: &'static Metric, word: &'static str| LocalCounter::new(counter(metric, &[word]));
        WorkerCounters {
            outcomes: Outcome::ALL.map(|outcome| labelled(&CLICKS, outcome.as_str())),
            cookie_states: CookieState::ALL.map(|state| labelled(&COOKIES, state.as_str())),
            unrecorded: UnrecordedReason::ALL.map(|reason| labelled(&CLICKS_UNRECORDED, reason.as_str())),
            rejections: RequestRejection::ALL.map(|rejection| labelled(&REQUESTS_REFUSED, rejection.as_str())),
            fixed_paths: LocalCounter::new(counter(&REQUESTS_FIXED, &[])),
            https_redirects: LocalCounter::new(counter(&REQUESTS_UPGRADED, &[])),
        }
    }
}

impl WorkerCounters {
    /// Counts a click that was answered.
    pub(super) fn count_click(&self, outcome: Outcome, cookie_state: CookieState) {
        self.outcomes[outcome as usize].increment();
        self.cookie_states[cookie_state as usize].increment();
    }

    /// Counts a click that has no record.
    pub(super) fn count_unrecorded(&self, reason: UnrecordedReason) {
        self.unrecorded[reason as usize].increment();
    }

    /// Counts a request that was rejected before its code was read.
    pub(super) fn count_rejection(&self, rejection: RequestRejection) {
        self.rejections[rejection as usize].increment();
    }

    /// Counts a request for a fixed path.
    pub(super) fn count_fixed_path(&self) {
        self.fixed_paths.increment();
    }

    /// Counts a request that was redirected to `https`.
    pub(super) fn count_https_redirect(&self) {
        self.https_redirects.increment();
    }

    /// Adds every counter to its metric. Returns by topic how many clicks were answered without a record since the last
    /// call; a click that was refused with 503 is not among them.
    pub(super) fn flush_to_metrics_and_count_answered_unrecorded(&self) -> [u64; Topic::ALL.len()] {
        for counter in self.outcomes.iter().chain(&self.cookie_states).chain(&self.rejections) {
            counter.flush_and_return_added_count();
        }
        self.fixed_paths.flush_and_return_added_count();
        self.https_redirects.flush_and_return_added_count();
        let mut answered_unrecorded = [0; Topic::ALL.len()];
        for (counter, reason) in self.unrecorded.iter().zip(UnrecordedReason::ALL) {
            let count = counter.flush_and_return_added_count();
            match reason {
                UnrecordedReason::NoRoom | UnrecordedReason::UncountableNoRoom => {
                    answered_unrecorded[Topic::Clicks as usize] += count
                }
                UnrecordedReason::OrphanNoRoom | UnrecordedReason::RateLimited => {
                    answered_unrecorded[Topic::Orphan as usize] += count
                }
                UnrecordedReason::RefusedNoRoom => {}
            }
        }
        answered_unrecorded
    }
}
