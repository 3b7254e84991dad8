//! `waypost clicks`: reads delivered clicks back from the click files or from Kafka, and prints, counts, explains or
//! audits them.

mod audit;
mod event;
mod source;
mod stats;
mod tail;
#[cfg(test)]
mod tests;
pub(in crate::cli) mod text;
mod time_range;
mod why;

pub use audit::{AuditArgs, audit_topics_and_print_verdicts};
pub use source::ClickSource;
pub(in crate::cli) use source::{EventRecord, ReadProgress, ReadRange, RecordLocation};
pub use stats::{StatsArgs, count_clicks_by_group_and_print};
pub use tail::{TailArgs, print_latest_clicks_and_follow_if_asked};
pub use why::{WhyArgs, WhyOutcome, search_for_click_and_print_report};
