//! Parses the blocks of a links file on several threads and adds each record to a batch.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use crate::links::{
    batch::{LinkBatch, RecordResult},
    file::{
        blocks::{BlockReader, LineBlock},
        errors::{ErrorList, LineError},
        json_line::parse_json_record_of_line,
    },
};

/// How much of a file is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes parsed so far.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// The links, errors and warnings of the lines parsed so far.
#[derive(Default)]
pub(super) struct ParsedLines {
    pub(super) links: u64,
    pub(super) errors: ErrorList,
    pub(super) warnings: ErrorList,
}

impl ParsedLines {
    fn merge(mut self, other: ParsedLines) -> ParsedLines {
        self.links += other.links;
        self.errors.merge(other.errors);
        self.warnings.merge(other.warnings);
        self
    }

    /// Parses one line and adds its record to the batch.
    fn parse_line_and_add_record_or_errors(&mut self, batch: &LinkBatch<'_>, line: u64, bytes: &[u8]) {
        if bytes.trim_ascii().is_empty() {
            return;
        }
        let record = match parse_json_record_of_line(line, bytes) {
            Ok(record) => record,
            Err(error) => return self.errors.count_and_keep_if_among_first_lines(error),
        };
        match batch.check_record_alone_and_add_link(line, &record) {
            RecordResult::Added(warnings) => {
                self.links += 1;
                warnings.iter().for_each(|warning| {
                    self.warnings
                        .count_and_keep_if_among_first_lines(LineError::at_field_or_line_start(line, bytes, warning))
                });
            }
            RecordResult::DuplicateCode => {}
            RecordResult::Invalid(errors) => {
                errors.iter().for_each(|error| {
                    self.errors
                        .count_and_keep_if_among_first_lines(LineError::at_field_or_line_start(line, bytes, error))
                });
            }
        }
    }
}

/// What the threads of one load share.
pub(super) struct ParallelLoad<'a> {
    pub(super) batch: &'a LinkBatch<'a>,
    pub(super) blocks: Mutex<BlockReader<'a>>,
    pub(super) file_bytes: u64,
    /// Called after each block, from any of the threads.
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
}

impl ParallelLoad<'_> {
    /// Adds every line of the file to the batch, on this thread and `threads - 1` others.
    pub(super) fn parse_file_and_add_records_on_threads(&self, threads: usize) -> io::Result<ParsedLines> {
        std::thread::scope(|scope| {
            let helpers: Vec<_> =
                (1..threads).map(|_| scope.spawn(|| self.parse_remaining_blocks_and_add_records())).collect();
            let own = self.parse_remaining_blocks_and_add_records();
            let joined = helpers.into_iter().map(|helper| match helper.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.fold(own, |merged, parsed| Ok(merged?.merge(parsed?)))
        })
    }

    fn parse_remaining_blocks_and_add_records(&self) -> io::Result<ParsedLines> {
        let mut parsed = ParsedLines::default();
        while let Some(block) = self.read_next_block()? {
            for (line, bytes) in block.numbered_lines() {
                parsed.parse_line_and_add_record_or_errors(self.batch, line, bytes);
            }
            (self.progress)(Progress { bytes: block.end_offset, total: self.file_bytes });
        }
        Ok(parsed)
    }

    fn read_next_block(&self) -> io::Result<Option<LineBlock>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).read_next_block()
    }
}
