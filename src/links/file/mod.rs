//! The links file: JSON lines, one record a line, loaded as a whole or refused as a whole.
//!
//! 1. [`blocks`] cuts the file into blocks of whole lines, one reader at a time.
//! 2. `parallel` parses the blocks on several threads and adds each record to a batch (`links::batch`).
//! 3. `conflicts` names the lines of records that are valid alone and not together.
//!
//! A single error refuses the file. The first [`MAX_LISTED`] errors are listed, all are counted. A blank line is
//! skipped. A last line without a line end counts.

pub mod blocks;
mod conflicts;
mod errors;
mod json_line;
mod load;
mod parallel;

pub(crate) use errors::at_line;
pub use errors::{LineError, LineErrors, LoadError, MAX_LISTED};
pub use json_line::MAX_LINE;
pub use load::{LoadRequest, LoadedFile, load_and_validate_file};
pub use parallel::Progress;

#[cfg(test)]
mod tests;
