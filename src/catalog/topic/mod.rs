//! The topic of links: a compacted topic of one partition that is the home of the links of all edges.
//!
//! ```text
//!  key                    value
//!  l/DOMAIN/CODE          the link's record; or {"gone":{…}}, which reserves the code; none: the link is removed
//!  s/DIMENSION/VALUE      a suspension; none: it has ended
//!  d/HOST                 the settings of a domain; none: the host is no domain any more
//!  f/freeze               {"reason":…}: no link changes; none: links change again
//!  a/generation           {"generation":UUID}: another one, or none, means that the topic was made again
//!  headers                act, author, reason; once: the Idempotency-Key of the request
//! ```
//!
//! One thread, `wp-links-topic` (`reader`), reads the topic with `isolation.level=read_committed`. Records are applied
//! on the catalog's thread (`apply_records`), by the rules of every other source; the version of a link is the offset
//! of its record. How far the topic is read, and which generation it has, is written in the transaction of the records
//! (`state`), so that a restart goes on from there. A record that breaks a rule is skipped, counted and listed
//! (`rejected`); the good link before it stays.
//!
//! A record of a domain changes the domain for the records behind it (`apply_domains`). Compaction can leave the record
//! of a link before that of its domain, so a link of an unknown domain waits for it (`waiting`), and is listed until
//! then.
//!
//! A topic that was made again, was cut, or has dropped tombstones that this edge has not read, is read from its
//! beginning into a table aside (`stage`). The links of before are served until that is done, and they stay if the
//! topic lacks more than a tenth of them.
//!
//! Now and then the topic is read once more beside the links that are served (`comparing`), to find links that an edge
//! would lack that starts anew: compaction can leave a record that was skipped in the place of the good one before it.
//!
//! A request to the API is a write to the topic (`write`): the thread takes the transactional id `TOPIC-writer`, which
//! fences every earlier writer, reads to the end, checks the request as the catalog would (`plan`), and commits links
//! and audit in one transaction. The answer comes once this edge has read its own records.

mod apply_domains;
mod apply_records;
mod catalog_thread;
mod comparing;
mod comparison;
mod consumer;
mod fingerprint;
mod generation;
mod health;
mod measure;
mod open_transactions;
mod outgoing;
mod parked;
mod plan;
mod producer;
mod reader;
mod reading;
mod record;
mod record_key;
mod rejected;
mod rereading;
mod setup;
mod stage;
mod state;
mod tables;
mod waiting;
mod write;

#[cfg(test)]
mod tests;

pub use self::{
    health::TopicConditions,
    reader::{TopicInputs, spawn_topic_thread},
    rejected::RejectedRecord,
    setup::{find_generation_of_topic, write_new_generation},
};
