//! The import itself: one thread reads a file, several make records of its rows, and the caller's thread takes the rows
//! in the order of the file.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use crate::import::{
    file_error::FileError,
    options::{ImportOptions, InvalidOption},
    outcome::{AcceptedRow, Mistake, RefusedRow, RowOutcome, RowPosition},
    plan::ImportPlan,
    read_result::{FileFacts, ReadError},
    record_check::{CheckedRecord, CheckedRow, ImportRules},
    row_block::{ReceiverGone, RowBlock, RowSink},
    row_reader::{ReadBlock, ReadRow, RowReader},
    row_source::read_rows,
    seen_codes::{CodeState, DomainCode, RowOfCode, SeenCodes},
    summary::Summary,
};

/// The most blocks between the thread that reads the file and the caller. They bound the memory of an import, also
/// where one block takes long and the blocks behind it wait for their turn.
const MAX_BLOCKS_IN_FLIGHT: usize = 16;

/// An import of one file or of several pages of one list.
pub struct Importer<'a> {
    plan: ImportPlan,
    rules: ImportRules<'a>,
    threads: usize,
    seen_codes: SeenCodes,
    summary: Summary,
    /// What the files say about the list of which they are pages.
    list_total: Option<u64>,
    lacks_next_page: bool,
    files: u32,
}

impl<'a> Importer<'a> {
    /// Checks the options. Rows are parsed on `threads` threads.
    ///
    /// # Errors
    /// Every option that does not fit the others, the format or the configuration.
    pub fn new(
        options: &ImportOptions,
        rules: ImportRules<'a>,
        threads: usize,
    ) -> Result<Importer<'a>, Vec<InvalidOption>> {
        let plan = ImportPlan::check_options_and_build(options, rules.domains, rules.now_ms)?;
        let summary = Summary { replaces_created_at: plan.created_at.is_some(), ..Summary::default() };
        Ok(Importer {
            plan,
            rules,
            threads: threads.max(1),
            seen_codes: SeenCodes::new(),
            summary,
            list_total: None,
            lacks_next_page: false,
            files: 0,
        })
    }

    /// Reads a file and gives each of its rows to `take_row`, in order. After an error the import is over.
    ///
    /// # Errors
    /// The file is refused, or `take_row` failed.
    pub fn read_file(
        &mut self,
        input: &mut (dyn Read + Send),
        take_row: &mut dyn FnMut(RowOutcome) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let Importer { plan, rules, threads, seen_codes, summary, files, .. } = self;
        let (plan, rules, file) = (&*plan, *rules, *files);
        let (take_slot, free_slot) = sync_channel(MAX_BLOCKS_IN_FLIGHT);
        let (send_block, receive_block) = sync_channel::<Numbered<RowBlock>>(MAX_BLOCKS_IN_FLIGHT);
        let (send_read, receive_read) = sync_channel::<Numbered<ReadBlock>>(MAX_BLOCKS_IN_FLIGHT);
        let receive_block = Mutex::new(receive_block);
        let mut taker = RowTaker { seen_codes, summary, take_row };
        let (read, taken) = thread::scope(|scope| {
            let reader = scope.spawn(move || send_rows_of_file(plan, file, input, &take_slot, &send_block));
            for _ in 0..*threads {
                let (send_read, receive_block) = (send_read.clone(), &receive_block);
                scope.spawn(move || read_blocks(RowReader::new(plan, rules), receive_block, &send_read));
            }
            drop(send_read);
            // An error drops both receivers: the thread that reads the file finds no slot, and the others no receiver.
            let taken = taker.take_blocks_in_order(receive_read, free_slot);
            (reader.join(), taken)
        });
        taken.map_err(FileError::Output)?;
        let facts = match read {
            Ok(Ok(facts)) => facts,
            Ok(Err(ReadError::File(error))) => return Err(error),
            Ok(Err(ReadError::ReceiverGone)) => return Err(FileError::refused("the import stopped")),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.remember_facts(facts);
        Ok(())
    }

    fn remember_facts(&mut self, facts: FileFacts) {
        self.files += 1;
        self.list_total = self.list_total.max(facts.total);
        self.lacks_next_page = facts.has_next_page;
    }

    /// Ends the import after its last file.
    ///
    /// # Errors
    /// The files hold one page of a longer list, or no row, and the options do not allow it.
    pub fn finish(self) -> Result<Summary, FileError> {
        let rows = self.summary.rows;
        let is_partial = self.list_total.is_some_and(|total| total > rows) || self.lacks_next_page;
        if is_partial && !self.plan.allow_partial {
            return Err(FileError::refused(match self.list_total.filter(|total| *total > rows) {
                Some(total) => format!("holds {rows} of {total} links; give every page or --allow-partial"),
                None => format!("holds {rows} links and names a next page; give every page or --allow-partial"),
            }));
        }
        if rows == 0 && !self.plan.allow_empty {
            return Err(FileError::refused("no row; an import of nothing is a mistake unless --allow-empty"));
        }
        Ok(self.summary)
    }
}

/// A block with its place in the file.
struct Numbered<T> {
    number: u64,
    value: T,
}

fn send_rows_of_file(
    plan: &ImportPlan,
    file: u32,
    input: &mut (dyn Read + Send),
    take_slot: &SyncSender<()>,
    send_block: &SyncSender<Numbered<RowBlock>>,
) -> Result<FileFacts, ReadError> {
    let mut number = 0;
    let mut send = |value| {
        take_slot.send(()).map_err(|_| ReceiverGone)?;
        send_block.send(Numbered { number, value }).map_err(|_| ReceiverGone)?;
        number += 1;
        Ok(())
    };
    read_rows(plan, input, &mut RowSink::new(file, &mut send))
}

fn read_blocks(
    mut reader: RowReader<'_>,
    blocks: &Mutex<Receiver<Numbered<RowBlock>>>,
    send_read: &SyncSender<Numbered<ReadBlock>>,
) {
    let next = || blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
    while let Ok(Numbered { number, value }) = next() {
        if send_read.send(Numbered { number, value: reader.read_block(&value) }).is_err() {
            return;
        }
    }
}

/// Gives rows to the caller, and knows the codes of all of them.
struct RowTaker<'a> {
    seen_codes: &'a mut SeenCodes,
    summary: &'a mut Summary,
    take_row: &'a mut dyn FnMut(RowOutcome) -> io::Result<()>,
}

impl RowTaker<'_> {
    fn take_blocks_in_order(
        &mut self,
        blocks: Receiver<Numbered<ReadBlock>>,
        free_slot: Receiver<()>,
    ) -> io::Result<()> {
        let mut early = BTreeMap::new();
        let mut next = 0;
        for Numbered { number, value } in blocks {
            early.insert(number, value);
            while let Some(block) = early.remove(&next) {
                next += 1;
                self.take_block(block)?;
                // A block in flight has a slot, so this does not wait.
                let _ = free_slot.recv();
            }
        }
        Ok(())
    }

    fn take_block(&mut self, block: ReadBlock) -> io::Result<()> {
        for (column, count) in block.left_out {
            *self.summary.left_out.entry(column).or_insert(0) += count;
        }
        for row in block.rows {
            let outcome = self.decide_row(row);
            (self.take_row)(outcome)?;
        }
        Ok(())
    }

    fn decide_row(&mut self, row: ReadRow) -> RowOutcome {
        let position = row.position;
        self.summary.rows += 1;
        let checked = row.result.and_then(|checked| {
            let twice = self.find_codes_that_stand_twice(position.file, &checked);
            if twice.is_empty() { Ok(checked) } else { Err(twice) }
        });
        match checked {
            Ok(checked) => RowOutcome::Accepted(self.accept(position, checked)),
            Err(mistakes) => {
                self.summary.refused_rows += 1;
                mistakes.iter().for_each(|mistake| *self.summary.mistakes.entry(mistake.rule).or_insert(0) += 1);
                RowOutcome::Refused(RefusedRow { row: position.row, line: position.line, mistakes })
            }
        }
    }

    fn find_codes_that_stand_twice(&self, file: u32, row: &CheckedRow) -> Vec<Mistake> {
        let name_of = |first: RowOfCode| match first {
            RowOfCode { file: other, row } if other != file => format!("row {row} of file {}", other + 1),
            RowOfCode { row, .. } => format!("row {row}"),
        };
        let find = |checked: &CheckedRecord| {
            let code = &checked.record.code;
            let (rule, message) = match self.seen_codes.find(DomainCode { domain: checked.domain, code }) {
                CodeState::New => return None,
                CodeState::Taken(first) => ("code-twice", format!("{code:?} stands on {} already", name_of(first))),
                CodeState::TakenInOtherCase(first) => {
                    let first = name_of(first);
                    let message = format!("{code:?} stands on {first} in other case, and its domain ignores case");
                    ("code-twice-folded", message)
                }
            };
            Some(Mistake::of_column(&checked.code_column, rule, message))
        };
        row.records.iter().filter_map(find).collect()
    }

    fn accept(&mut self, position: RowPosition, checked: CheckedRow) -> AcceptedRow {
        let RowPosition { file, row, line } = position;
        let CheckedRow { records, notes } = checked;
        for record in &records {
            self.seen_codes
                .insert(DomainCode { domain: record.domain, code: &record.record.code }, RowOfCode { file, row });
            self.summary.ended_records += u64::from(record.has_ended);
        }
        self.summary.accepted_rows += 1;
        self.summary.records += records.len() as u64;
        notes.iter().for_each(|note| *self.summary.notes.entry(note.kind).or_insert(0) += 1);
        AcceptedRow { row, line, records: records.into_iter().map(|record| record.record).collect(), notes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        import::{Assignment, CreatedAt, HtmlEntities, Placeholders, format::Format},
        links::{destination::policy::DestinationPolicy, domains::Domains},
    };

    fn options() -> ImportOptions {
        let assignment = |text: &str| text.parse::<Assignment>().unwrap();
        ImportOptions {
            format: Format::Csv,
            map_host: Vec::new(),
            domain: Some("*".to_owned()),
            zone: None,
            created_at: Some(CreatedAt::Now),
            defaults: vec![assignment("kind=plain")],
            take: Vec::new(),
            drop: Vec::new(),
            ignore_column: Vec::new(),
            strip_prefix: None,
            placeholders: Placeholders::Escape,
            html_entities: HtmlEntities::Refuse,
            separator: ',',
            column: vec![assignment("code=code"), assignment("url=url")],
            date_format: None,
            table: None,
            allow_partial: false,
            allow_empty: false,
        }
    }

    fn table(rows: usize) -> String {
        let rows = (0..rows).map(|row| format!("c{row},https://shop.example.com/{row}\n"));
        std::iter::once("code,url\n".to_owned()).chain(rows).collect()
    }

    fn with_importer<T>(threads: usize, test: impl FnOnce(Importer<'_>) -> T) -> T {
        let (policy, domains) = (DestinationPolicy::default(), Domains::new(&Default::default()).unwrap());
        let rules = ImportRules { policy: &policy, domains: &domains, now_ms: 1_793_600_000_000 };
        test(Importer::new(&options(), rules, threads).unwrap())
    }

    #[test]
    fn rows_come_in_the_order_of_the_file_whatever_the_threads() {
        let table = table(20_000);
        for threads in [1, 4] {
            with_importer(threads, |mut importer| {
                let mut next = 1;
                let take_row = &mut |outcome: RowOutcome| {
                    let RowOutcome::Accepted(row) = outcome else { panic!("{outcome:?}") };
                    assert_eq!((row.row, row.line), (next, next + 1));
                    next += 1;
                    Ok(())
                };
                importer.read_file(&mut table.as_bytes(), take_row).unwrap();
                assert_eq!(importer.finish().unwrap().records, 20_000);
            });
        }
    }

    #[test]
    fn a_caller_that_fails_ends_the_import_at_once() {
        let table = table(100_000);
        with_importer(4, |mut importer| {
            let mut rest = table.as_bytes();
            let failed = importer.read_file(&mut rest, &mut |_| Err(io::Error::other("the disk is full")));
            assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
            assert!(rest.len() > table.len() / 2, "{} bytes are not read", rest.len());
        });
    }
}
