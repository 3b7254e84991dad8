//! Files that are no export at all, known by their first bytes: compressed, in another encoding, a saved web page.

use crate::import::{column::Layout, file_error::FileError};

/// The bytes that the check looks at.
pub(super) const HEAD_BYTES: usize = 1024;

/// What some programs write in front of a text in UTF-8.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Checks that the first bytes may be those of an export.
///
/// # Errors
/// They are those of something else; the message names it.
pub(super) fn check_head(head: &[u8], layout: Layout) -> Result<(), FileError> {
    let what = match head {
        [0x1f, 0x8b, ..] => "is a gzip file; unpack it first",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => {
            "is a zip file (a workbook of a spreadsheet is one); unpack it, or save it as CSV"
        }
        [0xd0, 0xcf, 0x11, 0xe0, ..] => "is a workbook of a spreadsheet; save it as CSV in UTF-8",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "is a zstd file; unpack it first",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "looks like UTF-16; save as UTF-8",
        _ if has_zero_bytes_as_utf16(head) => "looks like UTF-16; save as UTF-8",
        _ => return check_text(head, layout),
    };
    Err(FileError::refused(what))
}

/// In UTF-16 about every second byte of a header is zero.
fn has_zero_bytes_as_utf16(head: &[u8]) -> bool {
    let start = &head[..head.len().min(64)];
    memchr::memchr_iter(0, start).count() * 4 > start.len()
}

fn check_text(head: &[u8], layout: Layout) -> Result<(), FileError> {
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    let is_table = matches!(layout, Layout::Csv);
    match (text.first(), layout) {
        (None, Layout::Csv) => Err(FileError::refused("is empty: no header")),
        (None, _) => Err(FileError::refused("is empty")),
        (Some(b'<'), _) => {
            let what = if is_table { "a table" } else { "an export" };
            Err(FileError::refused(format!("is an HTML page, not {what} (a saved log-in page?)")))
        }
        (Some(b'{' | b'['), Layout::Csv | Layout::Sql) => {
            Err(FileError::refused("is JSON; take the format of the product whose name ends in -json"))
        }
        (Some(first), Layout::Json(_)) if !b"{[".contains(first) => {
            Err(FileError::refused("is not JSON: an export starts with { or ["))
        }
        _ => Ok(()),
    }
}
