//! Finds the lines of records that conflict with each other. Reads the file once more, for the first conflicts only:
//! conflicts are rare, and to keep the line of each link would cost every load memory.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Seek,
};

use crate::{
    links::{
        batch::BatchConflicts,
        domains::Domains,
        file::{
            blocks::BlockReader,
            errors::{LineError, MAX_LISTED},
            json_line::parse_json_record_of_line,
        },
        link_key::LinkKey,
    },
    model::link::record::{Record, RecordError, RecordErrorKind},
};

/// The conflicts to locate.
struct ConflictLocator<'a> {
    domains: &'a Domains,
    /// Each duplicate code with the first line it is on, once that is found.
    first_lines: HashMap<LinkKey, Option<u64>>,
    /// The errors of the other records, by line.
    records: BTreeMap<u64, RecordError>,
    located: Vec<LineError>,
}

/// Reads the file again and gives the line and column of the first [`MAX_LISTED`] conflicts of either kind. A conflict
/// that is not found, because the file changes meanwhile, is left out.
pub(super) fn reread_file_and_locate_first_conflicts(
    mut file: &File,
    domains: &Domains,
    conflicts: BatchConflicts,
) -> Vec<LineError> {
    if file.rewind().is_err() {
        return Vec::new();
    }
    let mut locator = ConflictLocator::new(domains, conflicts);
    let mut blocks = BlockReader::new(file);
    while let Ok(Some(block)) = blocks.read_next_block() {
        for (line, bytes) in block.numbered_lines() {
            if let Ok(record) = parse_json_record_of_line(line, bytes) {
                locator.remember_first_line_or_add_conflict(line, bytes, record);
            }
        }
    }
    locator.located
}

impl<'a> ConflictLocator<'a> {
    fn new(domains: &'a Domains, conflicts: BatchConflicts) -> ConflictLocator<'a> {
        let BatchConflicts { mut duplicates, mut records } = conflicts;
        duplicates.sort_by(|one, other| one.code.cmp(&other.code));
        duplicates.dedup();
        duplicates.truncate(MAX_LISTED);
        records.sort_by_key(|record| record.number);
        records.truncate(MAX_LISTED);
        ConflictLocator {
            domains,
            first_lines: duplicates.into_iter().map(|key| (key, None)).collect(),
            records: records.into_iter().map(|record| (record.number, record.error)).collect(),
            located: Vec::new(),
        }
    }

    fn remember_first_line_or_add_conflict(&mut self, line: u64, bytes: &[u8], record: Record) {
        if let Some(error) = self.records.get(&line) {
            self.located.push(LineError::at_field_or_line_start(line, bytes, error));
        }
        let Some(domain) = self.domains.find_by_name(&record.domain) else { return };
        let code = if domain.id.ignores_case() { record.code.to_ascii_lowercase() } else { record.code };
        let key = LinkKey { domain: domain.id, code: code.into_bytes() };
        match self.first_lines.get_mut(&key) {
            None => {}
            Some(unknown @ None) => *unknown = Some(line),
            Some(Some(first)) => {
                let code = String::from_utf8_lossy(&key.code);
                let message = format!("{code:?} of domain {:?} is on line {first} already", domain.name);
                let error = RecordError::new("code", message).with_kind(RecordErrorKind::CodeTaken);
                self.located.push(LineError::at_field_or_line_start(line, bytes, &error));
            }
        }
    }
}
