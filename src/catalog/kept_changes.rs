//! Changes of many links that a server was asked for, kept until they end: one for a later time waits over restarts,
//! and one that runs goes on behind a restart with the chunk where it was. The act of each is in the audit from the
//! moment at which it was asked for.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    CatalogHandle,
    act::{Act, write_act_with_detail},
    change::LinkName,
    error::CatalogError,
    many::ManyChange,
    query::{CatalogReader, FilterField, LinkFilter, StateFilter},
    time_text::time_text,
};
use crate::{clock, word_enum::word_enum};

/// How long a change is kept behind its end: as long as the audit, milliseconds.
const KEPT_MS: u64 = 90 * 24 * 60 * 60 * 1000;

word_enum! {
    /// Where a change of many links is.
    pub enum ChangeState {
        /// It waits for its time.
        Scheduled = "scheduled",
        /// Its links are being changed.
        Running = "running",
        /// It has ended.
        Done = "done",
        /// It broke off; what was changed by then stays changed.
        Failed = "failed",
        /// Somebody has stopped it; what was changed by then stays changed.
        Cancelled = "cancelled",
    }
}

/// A change of many links, as the catalog keeps it.
#[derive(Clone, Debug)]
pub struct KeptChange {
    /// The act.
    pub act: Act,
    /// What is changed.
    pub change: ManyChange,
    /// When it was asked for, milliseconds since the epoch.
    pub asked_ms: u64,
    /// When it takes effect, milliseconds since the epoch.
    pub effective_ms: u64,
    /// Where it is.
    pub state: ChangeState,
    /// The last link of the last chunk.
    pub after: LinkName,
    /// What became of the links so far, a JSON object.
    pub report: Option<String>,
    /// Why it broke off.
    pub error: Option<String>,
}

/// What became of a request to stop a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// No link is changed from now on.
    Cancelled,
    /// It has ended before.
    HasEnded(ChangeState),
    /// There is no such change.
    Unknown,
}

impl KeptChange {
    /// A change that is asked for now.
    pub fn new(act: Act, change: ManyChange, asked_ms: u64, effective_ms: u64) -> KeptChange {
        let state = if effective_ms > asked_ms { ChangeState::Scheduled } else { ChangeState::Running };
        let after = LinkName { domain: String::new(), code: String::new() };
        KeptChange { act, change, asked_ms, effective_ms, state, after, report: None, error: None }
    }

    /// The change as the API and the commands show it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.act.id.to_string(),
            "at": time_text(self.asked_ms),
            "actor": self.act.actor,
            "reason": self.act.reason,
            "change": change_to_json(&self.change),
            "progress": self.progress_to_json(),
        })
    }

    /// Where the change is.
    pub fn progress_to_json(&self) -> Value {
        let report: Option<Value> = self.report.as_ref().and_then(|text| serde_json::from_str(text).ok());
        let effective_at = (self.effective_ms > self.asked_ms).then(|| time_text(self.effective_ms));
        json!({"state": self.state.as_str(), "effective_at": effective_at, "report": report, "error": self.error})
    }

    const COLUMNS: &str =
        "act, actor, reason, change, asked_ms, effective_ms, state, after_domain, after_code, report, error";

    /// `None` if this build does not know the change.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Option<KeptChange>> {
        let (id, change, state): (String, String, String) = (row.get(0)?, row.get(3)?, row.get(6)?);
        let read = || Some((Uuid::parse_str(&id).ok()?, change_of_json(&change)?, ChangeState::from_word(&state)?));
        let Some((id, change, state)) = read() else { return Ok(None) };
        Ok(Some(KeptChange {
            act: Act { id, actor: row.get(1)?, reason: row.get(2)? },
            change,
            asked_ms: row.get(4)?,
            effective_ms: row.get(5)?,
            state,
            after: LinkName { domain: row.get(7)?, code: row.get(8)? },
            report: row.get(9)?,
            error: row.get(10)?,
        }))
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = format!(
            "INSERT OR REPLACE INTO kept_change ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            KeptChange::COLUMNS
        );
        connection.prepare_cached(&sql)?.execute(params![
            self.act.id.to_string(),
            self.act.actor,
            self.act.reason,
            change_to_json(&self.change).to_string(),
            self.asked_ms,
            self.effective_ms,
            self.state.as_str(),
            self.after.domain,
            self.after.code,
            self.report,
            self.error
        ])?;
        Ok(())
    }

    /// Writes the change and its act, which says what is changed and when.
    fn write_with_act(&self, connection: &Connection) -> rusqlite::Result<()> {
        let ended = "DELETE FROM kept_change WHERE effective_ms < ?1 AND state NOT IN ('scheduled', 'running')";
        connection.prepare_cached(ended)?.execute([self.asked_ms.saturating_sub(KEPT_MS)])?;
        self.write(connection)?;
        let mut detail = change_to_json(&self.change);
        if self.effective_ms > self.asked_ms {
            detail["effective_at"] = time_text(self.effective_ms).into();
        }
        write_act_with_detail(connection, &self.act, action_of(&self.change), self.asked_ms, Some(&detail))
    }
}

impl CatalogReader {
    /// The change of an act.
    pub fn find_kept_change(&self, act: &str) -> rusqlite::Result<Option<KeptChange>> {
        let sql = format!("SELECT {} FROM kept_change WHERE act = ?1", KeptChange::COLUMNS);
        Ok(self.0.prepare_cached(&sql)?.query_row([act], KeptChange::from_row).optional()?.flatten())
    }

    /// The changes in one of these states, the latest first; `limit` at most.
    pub fn list_kept_changes(&self, states: &[ChangeState], limit: usize) -> rusqlite::Result<Vec<KeptChange>> {
        let words: Vec<String> = states.iter().map(|state| format!("'{}'", state.as_str())).collect();
        let sql = format!(
            "SELECT {} FROM kept_change WHERE state IN ({}) ORDER BY asked_ms DESC, act DESC LIMIT ?1",
            KeptChange::COLUMNS,
            words.join(", ")
        );
        let mut statement = self.0.prepare_cached(&sql)?;
        let rows = statement.query_map([limit as i64], KeptChange::from_row)?;
        rows.filter_map(Result::transpose).collect()
    }
}

impl CatalogHandle {
    /// Keeps a change that is asked for, and its act. Resolves once they are on the disk.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub async fn keep_change(&self, change: KeptChange) -> Result<(), CatalogError> {
        self.write_rows(move |connection| change.write_with_act(connection)).await
    }

    /// [`CatalogHandle::keep_change`] for a thread that may wait.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub fn keep_change_blocking(&self, change: KeptChange) -> Result<(), CatalogError> {
        self.write_rows_blocking(move |connection| change.write_with_act(connection))
    }

    /// Writes how far a change is, unless somebody has stopped it meanwhile. For a thread that may wait. Returns the
    /// state in which it is then.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub fn update_kept_change_blocking(&self, change: KeptChange) -> Result<ChangeState, CatalogError> {
        self.write_rows_blocking(move |connection| {
            let id = change.act.id.to_string();
            let sql = "SELECT state = 'cancelled' FROM kept_change WHERE act = ?1";
            let is_cancelled: Option<bool> =
                connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
            let change = match is_cancelled {
                Some(true) => KeptChange { state: ChangeState::Cancelled, ..change },
                _ => change,
            };
            change.write(connection)?;
            Ok(change.state)
        })
    }

    /// Stops a change that waits or runs. Resolves once that is on the disk.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub async fn cancel_change(&self, id: String, by: Act) -> Result<Cancellation, CatalogError> {
        self.write_rows(move |connection| cancel(connection, &id, &by)).await
    }

    /// [`CatalogHandle::cancel_change`] for a thread that may wait.
    ///
    /// # Errors
    /// The store fails, or the process stops.
    pub fn cancel_change_blocking(&self, id: String, by: Act) -> Result<Cancellation, CatalogError> {
        self.write_rows_blocking(move |connection| cancel(connection, &id, &by))
    }
}

fn cancel(connection: &Connection, id: &str, by: &Act) -> rusqlite::Result<Cancellation> {
    let state: Option<String> = connection
        .prepare_cached("SELECT state FROM kept_change WHERE act = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    match state.as_deref().map(ChangeState::from_word) {
        None => Ok(Cancellation::Unknown),
        Some(Some(ChangeState::Scheduled | ChangeState::Running)) => {
            connection.prepare_cached("UPDATE kept_change SET state = 'cancelled' WHERE act = ?1")?.execute([id])?;
            write_act_with_detail(connection, by, "cancel", clock::wall_ms(), Some(&json!({"act": id})))?;
            Ok(Cancellation::Cancelled)
        }
        Some(ended) => Ok(Cancellation::HasEnded(ended.unwrap_or(ChangeState::Failed))),
    }
}

const fn action_of(change: &ManyChange) -> &'static str {
    match change {
        ManyChange::Patch { .. } => "patch",
        ManyChange::Undo { .. } => "undo",
        ManyChange::RollBack { .. } => "rollback",
    }
}

fn change_to_json(change: &ManyChange) -> Value {
    match change {
        ManyChange::Patch { filter, patch } => json!({"patch": patch, "filter": filter_to_json(filter)}),
        ManyChange::Undo { act } => json!({"undo": act}),
        ManyChange::RollBack { to_version } => json!({"to_version": to_version}),
    }
}

/// The change of a text that [`change_to_json`] made; `None` if it is none of this build.
fn change_of_json(text: &str) -> Option<ManyChange> {
    let value: Value = serde_json::from_str(text).ok()?;
    if let Some(patch) = value.get("patch") {
        return Some(ManyChange::Patch { filter: filter_of_json(&value["filter"])?, patch: patch.clone() });
    }
    if let Some(act) = value.get("undo") {
        return Some(ManyChange::Undo { act: act.as_str()?.to_owned() });
    }
    Some(ManyChange::RollBack { to_version: value.get("to_version")?.as_u64()? })
}

fn filter_to_json(filter: &LinkFilter) -> Value {
    let fields: serde_json::Map<String, Value> =
        filter.fields.iter().map(|(field, value)| (field.as_str().to_owned(), json!(value))).collect();
    let mut value = Value::Object(fields);
    // The state is judged when the change runs, not when it is asked for.
    if let Some((state, _)) = filter.state {
        value["state"] = state.as_str().into();
    }
    if let Some(ms) = filter.created_after_ms {
        value["created_after"] = time_text(ms).into();
    }
    if !filter.any_of.is_empty() {
        let any_of: serde_json::Map<String, Value> =
            filter.any_of.iter().map(|(field, values)| (field.as_str().to_owned(), json!(values))).collect();
        value["within"] = Value::Object(any_of);
    }
    value
}

fn filter_of_json(value: &Value) -> Option<LinkFilter> {
    let mut filter = LinkFilter::default();
    for (name, value) in value.as_object()? {
        match &**name {
            "state" => filter.state = Some((StateFilter::from_word(value.as_str()?)?, clock::wall_ms())),
            "created_after" => {
                let time: Timestamp = value.as_str()?.parse().ok()?;
                filter.created_after_ms = Some(u64::try_from(time.as_millisecond()).unwrap_or(0));
            }
            "within" => {
                for (field, values) in value.as_object()? {
                    let values: Vec<String> = serde_json::from_value(values.clone()).ok()?;
                    filter.any_of.push((FilterField::from_word(field)?, values));
                }
            }
            field => filter.fields.push((FilterField::from_word(field)?, value.as_str()?.to_owned())),
        }
    }
    Some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let filter = LinkFilter {
            fields: vec![(FilterField::Host, "a.example".to_owned()), (FilterField::Tag, "x".to_owned())],
            any_of: vec![(FilterField::Creator, vec!["c_1".to_owned(), "c_2".to_owned()])],
            state: Some((StateFilter::NotStarted, 5)),
            created_after_ms: Some(1_793_600_000_123),
        };
        let patch = ManyChange::Patch { filter, patch: json!({"title": null, "host": "b.example"}) };
        for change in [patch, ManyChange::Undo { act: "a".to_owned() }, ManyChange::RollBack { to_version: 7 }] {
            let text = change_to_json(&change).to_string();
            let read = change_of_json(&text).expect(&text);
            assert_eq!(change_to_json(&read).to_string(), text);
            if let ManyChange::Patch { filter, .. } = read {
                assert_eq!(filter.any_of.len() + filter.fields.len(), 3);
                assert_ne!(filter.state.unwrap().1, 5, "the state is judged anew");
            }
        }
        for text in ["{}", "[]", "{\"patch\":{},\"filter\":{\"colour\":\"red\"}}", "{\"undo\":5}"] {
            assert!(change_of_json(text).is_none(), "{text}");
        }
    }
}
