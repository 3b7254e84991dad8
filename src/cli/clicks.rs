//! `waypost clicks`: reads delivered clicks back from the click files or from Kafka, and prints, counts, explains,
//! audits or exports them.

mod audit;
pub(in crate::cli) mod click_lines;
pub(in crate::cli) mod day_range;
mod event;
mod export;
pub(in crate::cli) mod record_sorter;
mod replay;
mod source;
mod stats;
mod tail;
#[cfg(test)]
mod tests;
pub(in crate::cli) mod text;
mod time_range;
mod why;

pub(in crate::cli) use audit::DayAudit;
pub use audit::{AuditArgs, audit_topics_and_print_verdicts};
pub use export::{ExportArgs, export_clicks_of_days};
pub use replay::{ReplayArgs, replay_clicks_into_fresh_topics};
pub use source::ClickSource;
pub(in crate::cli) use source::kafka::visit_topic;
pub(in crate::cli) use source::{EventRecord, ReadProgress, ReadRange, RecordLocation};
pub use stats::{StatsArgs, count_clicks_by_group_and_print};
pub use tail::{TailArgs, print_latest_clicks_and_follow_if_asked};
pub(in crate::cli) use why::ClickQuery;
pub use why::{WhyArgs, WhyOutcome, search_for_click_and_print_report};
