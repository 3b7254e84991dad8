//! Finds out whether a transaction that nobody ends holds back the readers of the topic.

use std::time::Duration;

use super::consumer::{Isolation, TopicConsumer};
use crate::kafka::Config;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Compares the end of what can be read with the end of the topic, from check to check.
pub(super) struct OpenTransactionWatch {
    /// Sees records of open transactions.
    uncommitted: TopicConsumer,
    /// The end of what can be read, as of the last check, if an open transaction began there.
    held_at: Option<u64>,
    is_held_back: bool,
}

impl OpenTransactionWatch {
    /// Builds the client, which connects later.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub(super) fn new(config: &Config, edge: &str, topic: &str) -> Result<OpenTransactionWatch, String> {
        let uncommitted = TopicConsumer::new(config, edge, topic, Isolation::ReadUncommitted)?;
        Ok(OpenTransactionWatch { uncommitted, held_at: None, is_held_back: false })
    }

    /// Whether the same transaction was open at the last two checks: what can be read is not the end of the topic.
    pub(super) const fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    /// Checks once more. Without an answer, what was known stays.
    pub(super) fn check(&mut self, committed: &TopicConsumer) {
        let ends = committed
            .fetch_first_and_end(REQUEST_TIMEOUT)
            .and_then(|(_, readable)| Ok((readable, self.uncommitted.fetch_first_and_end(REQUEST_TIMEOUT)?.1)));
        if let Ok((readable, end)) = ends {
            let held_at = (end > readable).then_some(readable);
            self.is_held_back = held_at.is_some() && held_at == self.held_at;
            self.held_at = held_at;
        }
    }
}
