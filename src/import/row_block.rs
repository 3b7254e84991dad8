//! Rows on their way from the reader of a file to the threads that make records of them.

use std::sync::Arc;

use crate::import::{outcome::RowPosition, plan::Column};

/// Rows and bytes after which a block is full.
const MAX_ROWS: usize = 1024;
const MAX_BYTES: usize = 256 << 10;

/// Some successive rows, not parsed yet.
#[derive(Debug)]
pub(super) struct RowBlock {
    /// The columns of the rows: of a table and a dump in the order of the fields, of JSON all that are known.
    pub(super) columns: Arc<[Column]>,
    pub(super) rows: Vec<RawRow>,
    bytes: Vec<u8>,
}

/// A row and where its bytes lie in the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawRow {
    pub(super) position: RowPosition,
    start: usize,
    end: usize,
}

impl RowBlock {
    pub(super) fn new(columns: Arc<[Column]>) -> RowBlock {
        RowBlock { columns, rows: Vec::new(), bytes: Vec::new() }
    }

    pub(super) fn push(&mut self, position: RowPosition, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.rows.push(RawRow { position, start, end: self.bytes.len() });
    }

    pub(super) fn bytes_of(&self, row: &RawRow) -> &[u8] {
        &self.bytes[row.start..row.end]
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_ROWS || self.bytes.len() >= MAX_BYTES
    }
}

/// Nobody takes blocks any more, because the import has failed elsewhere.
#[derive(Debug)]
pub(super) struct ReceiverGone;

/// Collects the rows of a file, numbers them and hands them on in blocks.
pub(super) struct RowSink<'a> {
    pub(super) file: u32,
    pub(super) rows: u64,
    block: RowBlock,
    send: &'a mut dyn FnMut(RowBlock) -> Result<(), ReceiverGone>,
}

impl<'a> RowSink<'a> {
    /// A sink without columns; [`RowSink::set_columns`] comes before the first row.
    pub(super) fn new(file: u32, send: &'a mut dyn FnMut(RowBlock) -> Result<(), ReceiverGone>) -> RowSink<'a> {
        RowSink { file, rows: 0, block: RowBlock::new(Arc::new([])), send }
    }

    /// Sets the columns of the rows that follow.
    pub(super) fn set_columns(&mut self, columns: Arc<[Column]>) -> Result<(), ReceiverGone> {
        self.flush()?;
        self.block.columns = columns;
        Ok(())
    }

    /// Adds the row that starts on `line`.
    pub(super) fn push(&mut self, line: u64, bytes: &[u8]) -> Result<(), ReceiverGone> {
        self.rows += 1;
        self.block.push(RowPosition { file: self.file, row: self.rows, line }, bytes);
        if self.block.is_full() { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<(), ReceiverGone> {
        if self.block.rows.is_empty() {
            return Ok(());
        }
        let empty = RowBlock::new(self.block.columns.clone());
        (self.send)(std::mem::replace(&mut self.block, empty))
    }
}
