//! The rows as a table, with totals by state and currency.

use std::{collections::BTreeMap, io::Write};

use anyhow::Result;

use super::amount::format_amount;
use crate::{
    cli::clicks::text::escape_for_terminal_or_dash,
    commission::{LineRow, LineState},
};

const COLUMN_NAMES: [&str; 8] = ["order", "line", "state", "reason", "creator", "commission", "clawed back", "click"];

type Columns = [String; COLUMN_NAMES.len()];

/// The amounts of one state and currency, minor units.
#[derive(Default)]
struct Total {
    lines: u64,
    commission_minor: i128,
    clawed_back_minor: i128,
}

/// Prints one line a row, then the totals. Holds the texts of all rows in memory, for the widths.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn print_table<'a>(rows: impl Iterator<Item = LineRow<'a>>, out: &mut impl Write) -> Result<()> {
    let mut lines: Vec<Columns> = vec![COLUMN_NAMES.map(str::to_owned)];
    let mut totals: BTreeMap<(usize, String), Total> = BTreeMap::new();
    for row in rows {
        let total = totals.entry((row.state as usize, row.currency.to_owned())).or_default();
        total.lines += 1;
        total.commission_minor += i128::from(row.commission_minor);
        total.clawed_back_minor += i128::from(clawed_back_minor(&row));
        lines.push(format_columns(&row));
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMN_NAMES.len()).map(width).collect();
    for line in &lines {
        let columns = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}"));
        writeln!(out, "{}", columns.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    writeln!(out)?;
    for ((state, currency), total) in &totals {
        let state = LineState::ALL[*state].as_str();
        let amount = |minor: i128| format_amount(i64::try_from(minor).unwrap_or(i64::MAX), currency);
        write!(out, "{state:<10} {:>8} lines  {}", total.lines, amount(total.commission_minor))?;
        if total.clawed_back_minor != 0 {
            write!(out, ", clawed back {}", amount(total.clawed_back_minor))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The sum of a row's clawbacks, minor units, at most 0.
pub(in crate::cli) fn clawed_back_minor(row: &LineRow<'_>) -> i64 {
    let clawbacks = row.credit.iter().flat_map(|credit| &credit.clawbacks);
    clawbacks.map(|clawback| clawback.amount_minor).sum()
}

fn format_columns(row: &LineRow<'_>) -> Columns {
    let text = |text: &str| escape_for_terminal_or_dash(text).into_owned();
    let (creator, click) = row.credit.as_ref().map_or(("", ""), |credit| (credit.creator_id, credit.click_id));
    let clawed_back = match clawed_back_minor(row) {
        0 => "-".to_owned(),
        minor => format_amount(minor, row.currency),
    };
    [
        text(row.order_id),
        text(row.line_id),
        row.state.as_str().to_owned(),
        row.reason.as_str().to_owned(),
        text(creator),
        format_amount(row.commission_minor, row.currency),
        clawed_back,
        text(click),
    ]
}
