//! `--compare`: the lines that two outputs of `--json` decide differently. Both are in the order of order id and line
//! id, so that they are read side by side, a line at a time.

use std::{
    cmp::Ordering,
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::amount::{format_amount, format_rate};
use crate::cli::{clicks::text::escape_for_terminal_or_dash, json_line::parse_json_object};

/// Exit code: some lines are decided differently.
const SOME_DIFFER: u8 = 2;

/// What a row says about the decision. `as_of_ms`, and what follows from the order alone, are not compared.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Decision {
    state: String,
    reason: String,
    currency: String,
    commission_minor: i64,
    kept_quantity: i64,
    click_id: String,
    domain: String,
    code: String,
    creator_id: String,
    partner_id: String,
    plan: String,
    rate_bp: u16,
    flags: Vec<String>,
    clawbacks: Vec<Clawback>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Clawback {
    returned_at_ms: u64,
    quantity: i64,
    amount_minor: i64,
}

#[derive(Debug, Deserialize)]
struct CandidateOfRow {
    click_id: String,
    domain: String,
    code: String,
    reason: String,
}

/// A row of an output.
#[derive(Debug, Deserialize)]
struct ComparedRow {
    order_id: String,
    line_id: String,
    #[serde(flatten)]
    decision: Decision,
    #[serde(default)]
    candidates: Vec<CandidateOfRow>,
}

impl ComparedRow {
    fn key(&self) -> (&str, &str) {
        (&self.order_id, &self.line_id)
    }

    /// What this run says of the other run's winner.
    fn reason_of_winner_of(&self, other: &ComparedRow) -> Option<&str> {
        let Decision { click_id, domain, code, .. } = &other.decision;
        let is_same = |candidate: &&CandidateOfRow| {
            (&candidate.click_id, &candidate.domain, &candidate.code) == (click_id, domain, code)
        };
        self.candidates.iter().find(is_same).map(|candidate| candidate.reason.as_str())
    }
}

/// An output that is read row by row.
struct RowReader {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
    line: Vec<u8>,
    last_key: Option<(String, String)>,
}

impl RowReader {
    fn open(path: &Path) -> Result<RowReader> {
        let file = File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
        let reader = BufReader::with_capacity(1 << 18, file);
        Ok(RowReader { path: path.to_owned(), reader, number: 0, line: Vec::new(), last_key: None })
    }

    /// The next row; `None` at the end.
    fn read_next(&mut self) -> Result<Option<ComparedRow>> {
        loop {
            self.line.clear();
            let read = self.reader.read_until(b'\n', &mut self.line);
            if read.with_context(|| format!("{}: cannot be read", self.path.display()))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !self.line.trim_ascii().is_empty() {
                return self.parse_row().map(Some);
            }
        }
    }

    fn parse_row(&mut self) -> Result<ComparedRow> {
        let (path, number) = (self.path.display(), self.number);
        let row: ComparedRow = match parse_json_object(&self.line) {
            Ok(row) => row,
            Err(message) => bail!("{path}:{number}: {message}"),
        };
        let key = (row.order_id.clone(), row.line_id.clone());
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            bail!(
                "{path}:{number}: order {:?}, line {:?} is not behind the line before it; compare files as \
                 `waypost attribute --json` printed them",
                row.order_id,
                row.line_id
            );
        }
        self.last_key = Some(key);
        Ok(row)
    }
}

/// Prints every line that two outputs decide differently, with both decisions and why, then the count.
///
/// # Errors
/// A file cannot be read, or is no output of `--json`; the text names file and line. `out` cannot be written.
pub(super) fn compare_outputs_and_print_differences(
    one: &Path,
    other: &Path,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let (mut ones, mut others) = (RowReader::open(one)?, RowReader::open(other)?);
    let (mut one, mut other) = (ones.read_next()?, others.read_next()?);
    let (mut compared, mut different) = (0u64, 0u64);
    loop {
        let side = match (&one, &other) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.key().cmp(&other.key()),
        };
        compared += 1;
        let row_of_one = if side.is_le() { one.take() } else { None };
        let row_of_other = if side.is_ge() { other.take() } else { None };
        if print_difference(row_of_one.as_ref(), row_of_other.as_ref(), out)? {
            different += 1;
        }
        if side.is_le() {
            one = ones.read_next()?;
        }
        if side.is_ge() {
            other = others.read_next()?;
        }
    }
    writeln!(out, "{different} of {compared} lines are decided differently")?;
    out.flush()?;
    Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::from(SOME_DIFFER) })
}

/// Prints the decisions of a line if they differ, and tells whether they do.
fn print_difference(one: Option<&ComparedRow>, other: Option<&ComparedRow>, out: &mut impl Write) -> Result<bool> {
    let decisions = (one.map(|row| &row.decision), other.map(|row| &row.decision));
    let Some(row) = one.or(other).filter(|_| decisions.0 != decisions.1) else { return Ok(false) };
    let text = |text: &str| escape_for_terminal_or_dash(text).into_owned();
    writeln!(out, "order {}, line {}", text(&row.order_id), text(&row.line_id))?;
    writeln!(out, "  A: {}", describe_decision(decisions.0))?;
    writeln!(out, "  B: {}", describe_decision(decisions.1))?;
    if let (Some(one), Some(other)) = (one, other) {
        for (name, row, other_name, winner) in [("A", one, "B", other), ("B", other, "A", one)] {
            let is_same_click = one.decision.click_id == other.decision.click_id;
            if is_same_click || winner.decision.click_id.is_empty() {
                continue;
            }
            let reason = row.reason_of_winner_of(winner).unwrap_or("no candidate");
            writeln!(out, "  in {name} the click that wins in {other_name} has: {reason}")?;
        }
    }
    Ok(true)
}

fn describe_decision(decision: Option<&Decision>) -> String {
    let Some(decision) = decision else { return "no such line".to_owned() };
    let text = |text: &str| escape_for_terminal_or_dash(text).into_owned();
    let (state, reason) = (text(&decision.state), text(&decision.reason));
    if decision.click_id.is_empty() {
        return format!("{state}, {reason}: nobody earns");
    }
    let mut line = format!(
        "{state}, {reason}: {} earns {} at {} for {} pieces by click {} on {} of {}",
        text(&decision.creator_id),
        format_amount(decision.commission_minor, &text(&decision.currency)),
        format_rate(decision.rate_bp),
        decision.kept_quantity,
        text(&decision.click_id),
        text(&decision.code),
        text(&decision.domain),
    );
    for (name, value) in [("plan", &decision.plan), ("partner", &decision.partner_id)] {
        if !value.is_empty() {
            line += &format!(", {name} {}", text(value));
        }
    }
    for clawback in &decision.clawbacks {
        let amount = format_amount(clawback.amount_minor, &text(&decision.currency));
        line += &format!(", clawed back {amount} for {} pieces at {}", clawback.quantity, clawback.returned_at_ms);
    }
    if !decision.flags.is_empty() {
        line += &format!(", flags {}", text(&decision.flags.join(" ")));
    }
    line
}
