//! Every fault that touches clicks and is logged: its stable name, what it may cost, and where the runbook speaks of it.
//!
//! A line of a fault carries `event`, `money_at_risk` and `runbook` (a heading of `deploy/runbook.md`), written by [`say`].

/// What a fault may cost, if nothing is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Money {
    /// Nothing.
    None,
    /// Nothing yet; a second fault (power, a disk, a broker) or time would cost clicks.
    Bounded,
    /// Clicks are lost, or go unrecorded.
    Yes,
}

impl Money {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Money::None => "none",
            Money::Bounded => "bounded",
            Money::Yes => "yes",
        }
    }
}

/// One row of the table of faults.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The name in the log; it never changes.
    pub event: &'static str,
    /// What it may cost.
    pub money_at_risk: Money,
    /// A heading of `deploy/runbook.md`.
    pub runbook: &'static str,
}

macro_rules! faults_table {
    ($($(#[$group:meta])* $id:ident = $event:literal, $money:ident, $runbook:literal, $help:literal;)*) => {
        $($(#[$group])* #[doc = $help] pub const $id: Fault =
            Fault { event: $event, money_at_risk: Money::$money, runbook: $runbook };)*
        /// Every fault.
        pub const ALL: &[Fault] = &[$($id),*];
    };
}

faults_table! {
    // the journal
    SPILL_STOPPED = "spill_stopped", Bounded, "spill-stopped", "A lane cannot be written to segments.";
    JOURNAL_ROOM_LOW = "journal_room_low", Bounded, "journal-fills-up", "The journal's file system has less room than the rings.";
    RING_GONE = "ring_gone", Bounded, "ring-gone", "A ring's file was removed under the process.";
    CHECKPOINT_FAILED = "checkpoint_failed", None, "spill-stopped", "A lane's checkpoint cannot be written.";
    CLOSED_UNCLEAN = "closed_unclean", Bounded, "clicks-without-a-durable-home", "The process ends while clicks are in a ring alone.";
    LANE_CUT = "lane_cut", Yes, "journal-damaged", "The machine went down, or the ring is gone.";
    JOURNAL_DAMAGED = "journal_damaged", Yes, "journal-damaged", "A lane was found damaged at the start.";
    FILE_PUT_ASIDE = "journal_file_put_aside", Yes, "journal-damaged", "A file of the journal is damaged, newer or foreign.";
    DIRECTORY_ID_DAMAGED = "directory_id_damaged", None, "journal-damaged", "The id of the data directory is damaged.";
    // the shipper
    JOURNAL_UNREAD = "journal_unread", Bounded, "clicks-not-delivered", "A segment cannot be read.";
    CLICK_UNREADABLE = "click_unreadable", Bounded, "journal-damaged", "A click of a newer build's format.";
    CLICKS_RETURNED = "clicks_returned", Bounded, "clicks-not-delivered", "Clicks come back from the sink through no fault of theirs.";
    CLICKS_WAIT = "clicks_wait", Bounded, "clicks-not-delivered", "The sink has clicks of a topic and says nothing of any.";
    CLICKS_REFUSED = "clicks_refused", Bounded, "clicks-refused", "The broker refuses clicks for what they are.";
    DEAD_LETTERED = "dead_lettered", Bounded, "clicks-dead-lettered", "A click refused even alone is kept in a file, and a stub goes in its place.";
    PRODUCER_FAILED = "producer_failed", None, "clicks-not-delivered", "The producer has failed for good and is built anew.";
    PRODUCER_REBUILT = "producer_rebuilt", None, "clicks-not-delivered", "The producer was built anew.";
    PRODUCER_NOT_BUILT = "producer_not_built", Bounded, "clicks-not-delivered", "The producer cannot be built.";
    CHECKPOINT_NOT_FOUND = "checkpoint_not_found", Bounded, "clicks-not-delivered", "The edge's last checkpoint in Kafka cannot be read yet.";
    CHECKPOINT_BEHIND = "checkpoint_behind", Bounded, "shipping-stopped", "The edge's last checkpoint in Kafka contradicts the journal: shipping has stopped.";
    PRODUCER_FENCED = "producer_fenced", Bounded, "shipping-stopped", "Another process has taken this edge's place: shipping has stopped.";
    CLICK_FILE_FAILED = "click_file_failed", Bounded, "clicks-not-delivered", "A click file cannot be written.";
    CLICK_FILE_REPEATS = "click_file_repeats", None, "clicks-not-delivered", "A click file could not be cut back.";
    CLICK_FILE_SHORT = "click_file_short", Yes, "click-files-room-low", "A click file is shorter than it was when it was synced.";
    CLICK_FILE_DAMAGED = "click_file_damaged", None, "journal-damaged", "A click file is damaged behind its last sync.";
    CLICK_FILES_ROOM_LOW = "click_files_room_low", Bounded, "click-files-room-low", "Little room for click files.";
    // kafka
    KAFKA_ERROR = "kafka_error", Bounded, "clicks-not-delivered", "The client met an error, such as a broker that is away.";
    TOPIC_MISSING = "topic_missing", Bounded, "topic-unusable", "A topic does not exist.";
    TOPIC_NOT_AUTHORIZED = "topic_not_authorized", Bounded, "topic-unusable", "A topic may not be seen or written to.";
    TOPIC_FEW_COPIES = "topic_few_copies", Bounded, "topic-keeps-too-few-copies", "A topic keeps too few copies.";
    // the server
    NOT_READY = "not_ready", Yes, "edge-not-ready", "The edge was ready and is not: a lane has no room.";
    WORKER_FAILED = "worker_failed", Yes, "edge-down", "A worker could not serve.";
    // certificates
    CERTIFICATE_REFUSED = "certificate_refused", Bounded, "certificate-ends", "A new certificate or key was refused, or one is outside its days.";
    // links and keys
    LINKS_UNREADABLE = "links_unreadable", Bounded, "links-stale", "The links file cannot be read.";
    LINKS_REFUSED = "links_refused", Bounded, "links-stale", "A version of the links file was refused.";
    KEYRING_UNREADABLE = "keyring_unreadable", Bounded, "key-ring-stale", "The key ring's file cannot be read.";
    KEYRING_REFUSED = "keyring_refused", Bounded, "key-ring-stale", "A version of the key ring was refused.";
}

/// Logs a fault: level, row, then what `tracing` takes.
macro_rules! say {
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

pub(crate) use say;
