//! Reads the lines of a file on several threads.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail};

use crate::links::file::blocks::{BlockReader, LineBlock};

/// What a thread does with a line; each thread has a `T` of its own.
pub(super) type LineVisitor<'a, T> = &'a (dyn Fn(&mut T, &[u8]) -> Result<(), String> + Sync);

/// Calls `visit` with each line that is not blank, on this thread and `threads - 1` others, and returns what each
/// thread made of its lines.
///
/// # Errors
/// The file cannot be read, or `visit` fails: the text names the file and the first bad line.
pub(super) fn scan_lines_on_threads<T: Default + Send>(
    path: &Path,
    threads: usize,
    visit: LineVisitor<'_, T>,
) -> Result<Vec<T>> {
    let file = File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    let scan = Scan { blocks: Mutex::new(BlockReader::new(&file)), has_failed: AtomicBool::new(false), visit };
    let outcomes: Vec<Result<T, ScanError>> = std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| scan.visit_remaining_blocks())).collect();
        let own = scan.visit_remaining_blocks();
        let joined = helpers.into_iter().map(|helper| match helper.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(own).chain(joined).collect()
    });
    let (mut parts, mut first_bad): (Vec<T>, Option<(u64, String)>) = (Vec::new(), None);
    for outcome in outcomes {
        match outcome {
            Ok(part) => parts.push(part),
            Err(ScanError::Unreadable(error)) => {
                return Err(error).with_context(|| format!("{}: cannot be read", path.display()));
            }
            Err(ScanError::BadLine { number, message }) => {
                if first_bad.as_ref().is_none_or(|(first, _)| number < *first) {
                    first_bad = Some((number, message));
                }
            }
        }
    }
    match first_bad {
        Some((number, message)) => bail!("{}:{number}: {message}", path.display()),
        None => Ok(parts),
    }
}

enum ScanError {
    Unreadable(io::Error),
    BadLine { number: u64, message: String },
}

/// What the threads of one scan share.
struct Scan<'a, T> {
    blocks: Mutex<BlockReader<'a>>,
    /// A thread has met a bad line. The others finish their blocks: an earlier line can be bad too.
    has_failed: AtomicBool,
    visit: LineVisitor<'a, T>,
}

impl<T: Default> Scan<'_, T> {
    fn visit_remaining_blocks(&self) -> Result<T, ScanError> {
        let mut part = T::default();
        while let Some(block) = self.read_next_block_unless_failed().map_err(ScanError::Unreadable)? {
            for (number, line) in block.numbered_lines().filter(|(_, line)| !line.trim_ascii().is_empty()) {
                if let Err(message) = (self.visit)(&mut part, line) {
                    self.has_failed.store(true, Ordering::Relaxed);
                    return Err(ScanError::BadLine { number, message });
                }
            }
        }
        Ok(part)
    }

    fn read_next_block_unless_failed(&self) -> io::Result<Option<LineBlock>> {
        if self.has_failed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).read_next_block()
    }
}
