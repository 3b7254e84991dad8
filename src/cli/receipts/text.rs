//! A receipt for a person.

use std::io::Write;

use anyhow::Result;

use crate::{
    cli::{
        attribute::format_amount,
        clicks::text::{escape_for_terminal_or_dash, format_utc_ms},
    },
    receipts::Receipt,
};

/// Prints the counts of a receipt.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn print_receipt(receipt: &Receipt, out: &mut impl Write) -> Result<()> {
    let text = |text: &str| escape_for_terminal_or_dash(text).into_owned();
    let clicks = &receipt.clicks;
    let completeness = if receipt.complete { "complete" } else { "not proved to be complete" };
    writeln!(
        out,
        "creator {}, {}, revision {}: {} clicks, {} count; {completeness}",
        text(&receipt.creator_id),
        receipt.day,
        receipt.revision,
        clicks.count,
        clicks.countable
    )?;
    for group in &clicks.groups {
        let verdict = if group.countable { "counts" } else { "does not count" };
        let (code, class, domain) = (text(&group.code), text(&group.class), text(&group.domain));
        writeln!(out, "  {code:<16} {domain:<16} {class:<14} {verdict:<14} {:>10}", group.clicks)?;
    }
    if let Some(lines) = &receipt.lines {
        writeln!(out, "  {} order lines, as of {}", lines.count, format_utc_ms(receipt.as_of_ms))?;
        for total in &lines.totals {
            let amount = |minor: i64| format_amount(minor, &total.currency);
            write!(out, "    {:<10} {:>8} lines  {}", total.state, total.lines, amount(total.commission_minor))?;
            if total.clawed_back_minor != 0 {
                write!(out, ", clawed back {}", amount(total.clawed_back_minor))?;
            }
            writeln!(out)?;
        }
        writeln!(out, "  root of the order lines  {}", lines.root)?;
    }
    writeln!(out, "  root of the clicks       {}", clicks.root)?;
    writeln!(out, "  signed by key {} at {}", receipt.key_id, format_utc_ms(receipt.issued_at_ms))?;
    Ok(())
}
