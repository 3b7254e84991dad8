//! The table of all faults that can touch clicks: stable name, possible cost, and section of the runbook.
//!
//! A log line about a fault has the fields `event`, `money_at_risk` and `runbook` (a heading of `deploy/runbook.md`),
//! written by [`log_fault`].

/// What a fault can cost if nobody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoneyAtRisk {
    /// Nothing.
    None,
    /// Nothing yet. A second fault (power, a disk, a broker), or time, would cost clicks.
    Bounded,
    /// Clicks are lost or unrecorded.
    Yes,
}

impl MoneyAtRisk {
    /// The value of the log field `money_at_risk`.
    pub const fn as_str(self) -> &'static str {
        match self {
            MoneyAtRisk::None => "none",
            MoneyAtRisk::Bounded => "bounded",
            MoneyAtRisk::Yes => "yes",
        }
    }
}

/// One row of the table of faults.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The value of the log field `event`; it never changes.
    pub event: &'static str,
    /// What it can cost.
    pub money_at_risk: MoneyAtRisk,
    /// A heading of `deploy/runbook.md`.
    pub runbook: &'static str,
}

macro_rules! faults_table {
    ($($(#[$group:meta])* $id:ident = $event:literal, $risk:ident, $runbook:literal, $help:literal;)*) => {
        $($(#[$group])* #[doc = $help] pub const $id: Fault =
            Fault { event: $event, money_at_risk: MoneyAtRisk::$risk, runbook: $runbook };)*
        /// Every fault.
        pub const ALL: &[Fault] = &[$($id),*];
    };
}

faults_table! {
    // the journal
    SPILL_STOPPED = "spill_stopped", Bounded, "spill-stopped",
        "A lane cannot be written to segments.";
    JOURNAL_ROOM_LOW = "journal_room_low", Bounded, "journal-fills-up",
        "The journal's file system has less free space than the rings need.";
    RING_GONE = "ring_gone", Bounded, "ring-gone",
        "A ring's file was removed under the process.";
    RING_SHARED = "ring_shared", Bounded, "journal-fills-up",
        "A copy shares the ring's blocks, and there is no room for blocks of its own.";
    CHECKPOINT_FAILED = "checkpoint_failed", None, "spill-stopped",
        "A lane's checkpoint cannot be written.";
    CLOSED_UNCLEAN = "closed_unclean", Bounded, "clicks-not-durable",
        "The process ends while some clicks are in a ring only.";
    LANE_CUT = "lane_cut", Yes, "journal-damaged",
        "The machine went down, or the ring is missing: clicks of the last moments may be lost.";
    JOURNAL_DAMAGED = "journal_damaged", Yes, "journal-damaged",
        "The start found damage in a lane.";
    CLICKS_QUARANTINED = "clicks_quarantined", Yes, "journal-damaged",
        "Clicks of a running lane cannot be read any more, or are no clicks: their numbers are quarantined.";
    FILE_PUT_ASIDE = "journal_file_put_aside", Yes, "journal-damaged",
        "A file of the journal is damaged, newer or of another directory, and was renamed.";
    DIRECTORY_ID_DAMAGED = "directory_id_damaged", None, "journal-damaged",
        "The id of the data directory is damaged.";
    // delivery
    JOURNAL_UNREAD = "journal_unread", Bounded, "clicks-not-delivered",
        "A segment cannot be read.";
    CLICK_UNREADABLE = "click_unreadable", Bounded, "journal-damaged",
        "A click has the format of a newer version.";
    CLICKS_RETURNED = "clicks_returned", Bounded, "clicks-not-delivered",
        "The sink returned clicks for a reason that is not theirs.";
    CLICKS_WAIT = "clicks_wait", Bounded, "clicks-not-delivered",
        "The sink has clicks of a topic and acknowledges none.";
    CLICKS_BLOCKED = "clicks_refused", Bounded, "clicks-blocked",
        "The broker refuses clicks because of their content.";
    DEAD_LETTERED = "dead_lettered", Bounded, "clicks-dead-lettered",
        "A click that the broker refuses even alone is kept in a file, and a stub takes its place.";
    DEAD_LETTER_FILE_FAILED = "dead_letter_file_failed", Bounded, "clicks-dead-lettered",
        "A dead-letter file cannot be written; the reserve takes its lines.";
    PRODUCER_FAILED = "producer_failed", None, "clicks-not-delivered",
        "The producer had a fatal error and is created anew.";
    PRODUCER_REBUILT = "producer_rebuilt", None, "clicks-not-delivered",
        "The producer was created anew.";
    PRODUCER_NOT_BUILT = "producer_not_built", Bounded, "clicks-not-delivered",
        "The producer cannot be created.";
    CHECKPOINT_NOT_FOUND = "checkpoint_not_found", Bounded, "clicks-not-delivered",
        "The edge's last checkpoint in Kafka cannot be read yet.";
    CHECKPOINT_BEHIND = "checkpoint_behind", Bounded, "delivery-stopped",
        "The edge's last checkpoint in Kafka contradicts the journal: delivery has stopped.";
    PRODUCER_FENCED = "producer_fenced", Bounded, "delivery-stopped",
        "Another process has taken this edge's place: delivery has stopped.";
    CLICK_FILE_FAILED = "click_file_failed", Bounded, "clicks-not-delivered",
        "A click file cannot be written.";
    CLICK_FILE_REPEATS = "click_file_repeats", None, "clicks-not-delivered",
        "A click file could not be cut back, so some clicks may be written twice.";
    CLICK_FILE_SHORT = "click_file_short", Yes, "click-files-low-space",
        "A click file is shorter than it was when it was synced.";
    CLICK_FILE_REPLACED = "click_file_replaced", Yes, "click-files-low-space",
        "A click file was removed, renamed or cut while it was written to.";
    DEAD_LETTER_FILE_REPLACED = "dead_letter_file_replaced", Yes, "clicks-dead-lettered",
        "A dead-letter file was removed, renamed or cut while it was written to.";
    CLICK_FILE_DAMAGED = "click_file_damaged", None, "journal-damaged",
        "A click file is damaged behind its last sync.";
    CLICK_FILES_ROOM_LOW = "click_files_room_low", Bounded, "click-files-low-space",
        "Little free space for click files.";
    // kafka
    KAFKA_ERROR = "kafka_error", Bounded, "clicks-not-delivered",
        "The client met an error, such as an unreachable broker.";
    TOPIC_MISSING = "topic_missing", Bounded, "topic-unusable",
        "A topic does not exist.";
    TOPIC_NOT_AUTHORIZED = "topic_not_authorized", Bounded, "topic-unusable",
        "A topic may not be seen or written to.";
    TOPIC_FEW_COPIES = "topic_few_copies", Bounded, "topic-has-too-few-replicas",
        "A topic has too few replicas.";
    TOPIC_REMOVES_CLICKS = "topic_removes_clicks", Yes, "topic-removes-clicks",
        "A topic is compacted, or its retention ends before clicks are paid.";
    TOPIC_REMOVES_LINKS = "topic_removes_links", Bounded, "topic-removes-links",
        "The topic of links, or that of its audit, can lose records by its settings.";
    // the server
    NOT_READY = "not_ready", Yes, "edge-not-ready",
        "The edge is not ready any more: a lane of paid clicks has no free space.";
    WORKER_FAILED = "worker_failed", Yes, "edge-down",
        "A worker could not serve.";
    CLOCK_WENT_BACK = "clock_went_back", Bounded, "edge-not-ready",
        "The wall clock went back, so click ids are ahead of it, or begin anew.";
    LOG_LINES_DROPPED = "log_lines_dropped", None, "log-lines-dropped",
        "The reader of the log was too slow, and lines were dropped.";
    // certificates
    CERTIFICATE_REFUSED = "certificate_refused", Bounded, "certificate-ends",
        "A new certificate or key was refused, or a certificate is not valid now.";
    // links and keys
    LINKS_UNREADABLE = "links_unreadable", Bounded, "links-stale",
        "The links file cannot be read.";
    LINKS_REFUSED = "links_refused", Bounded, "links-stale",
        "A version of the links file was refused.";
    CATALOG_FAILING = "catalog_failing", Bounded, "catalog-failing",
        "The catalog's file cannot be written, so changes of links are refused or forgotten by the next start.";
    CATALOG_SET_ASIDE = "catalog_set_aside", Bounded, "catalog-failing",
        "The catalog's file was damaged. It was renamed, and a new one is in its place.";
    LINKS_NOT_SERVED = "links_not_served", Bounded, "links-stale",
        "Links of the catalog break the rules or name a domain that is not configured, and are not served.";
    LINKS_TOPIC_AWAY = "links_topic_away", Bounded, "links-topic-stale",
        "The topic of links cannot be read, so the links of before are served.";
    LINKS_TOPIC_CHANGED = "links_topic_changed", Bounded, "links-topic-changed",
        "The topic of links was made again, was cut, or has dropped tombstones: it is read from its beginning.";
    LINKS_TOPIC_SHRUNK = "links_topic_shrunk", Bounded, "links-topic-changed",
        "The topic of links lacks more than a tenth of the live links, which are served on.";
    LINKS_TOPIC_REJECTED = "links_topic_rejected", Bounded, "links-topic-rejected",
        "Records of the topic of links break rules and are skipped.";
    LINKS_TOPIC_DIVERGED = "links_topic_diverged", Bounded, "links-topic-differs",
        "An edge that starts anew would have other links than this one: bad records hide good ones in the topic.";
    LINKS_TOPIC_FENCED = "links_topic_fenced", None, "links-topic-writer-fenced",
        "Another edge writes to the topic of links and fences this one.";
    KEYRING_UNREADABLE = "keyring_unreadable", Bounded, "key-ring-stale",
        "The key ring's file cannot be read.";
    KEYRING_REFUSED = "keyring_refused", Bounded, "key-ring-stale",
        "A version of the key ring was refused.";
    GEOIP_UNREADABLE = "geoip_unreadable", None, "geoip-stale",
        "An MMDB file cannot be read any more.";
    GEOIP_REFUSED = "geoip_refused", None, "geoip-stale",
        "A version of an MMDB file was refused.";
    RELOAD_STUCK = "reload_stuck", Bounded, "links-stale",
        "A file system hangs: links, keys and certificates are not read again.";
}

/// Logs a fault: level, row of the table, then fields and message as `tracing` takes them.
macro_rules! log_fault {
    ($level:ident, $fault:expr, $($rest:tt)+) => {{
        let fault: $crate::faults::Fault = $fault;
        tracing::$level!(
            event = fault.event,
            money_at_risk = fault.money_at_risk.as_str(),
            runbook = fault.runbook,
            $($rest)+
        )
    }};
}

pub(crate) use log_fault;
