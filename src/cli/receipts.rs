//! `waypost receipts`: signed counts of a creator's day, which others can verify (`receipts` has the format).
//!
//! 1. With Kafka the statements of the lanes are read, then the clicks: `clicks::DayAudit` says whether the day is
//!    complete, **count** counts the clicks of each creator and the order lines that they earned;
//! 2. **topic** has the receipt that is in force. A receipt that says the same is issued no second time;
//! 3. the receipts are printed, and with `--publish` written to the topic first.
//!
//! `waypost receipts prove` counts the day of one click again, and prints the path from the click to the receipt.

mod count;
mod file;
mod prove;
mod text;
mod topic;

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use jiff::civil::Date;

use self::{
    count::{DayCounter, EarnedLines, OrderArgs},
    file::read_receipts_in_force_from_file,
    topic::{Publisher, ReceiptTopic},
};
use super::{
    click_source_args::ClickSourceArgs,
    clicks::{
        ClickSource, DayAudit, ReadProgress,
        day_range::{DayRange, start_of_day_ms},
    },
};
use crate::{
    model::click::Topic,
    receipts::{CountedDay, ReceiptTerms, SignedReceipt, SigningKey},
};

/// A day, milliseconds.
const DAY_MS: u64 = 86_400_000;

/// Sign what was counted for a creator on a day, and prove that a click was counted
#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub(super) struct ReceiptsArgs {
    #[command(flatten)]
    source: ClickSourceArgs,
    /// The topic of receipts
    #[arg(long, value_name = "TOPIC", default_value = "receipts", global = true)]
    topic: String,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    issue: IssueArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the path that shows that a click was counted
    Prove(prove::ProveArgs),
}

/// The flags for the receipts of a day.
#[derive(Debug, Args)]
struct IssueArgs {
    /// The day (UTC), such as 2026-11-21
    #[arg(long, value_name = "DATE", required = true)]
    day: Option<Date>,
    /// The creator [default: every creator who has a click or an order line of the day]
    #[arg(long, value_name = "ID")]
    creator: Option<String>,
    /// The key that signs, made by `waypost keys new-receipt-key`
    #[arg(long, value_name = "FILE", required = true)]
    key: Option<PathBuf>,
    #[command(flatten)]
    orders: OrderArgs,
    /// The receipts in force, one JSON object a line [default: those on the topic]
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Publish the receipts on the topic, once the day is complete
    #[arg(long)]
    publish: bool,
    /// Publish although not all is proved: the receipts say so
    #[arg(long, requires = "publish")]
    accept_incomplete: bool,
    /// Edges that must have made a statement, separated by commas
    #[arg(long, value_name = "EDGE", value_delimiter = ',')]
    edges: Vec<String>,
    /// Print the signed receipts, one JSON object a line
    #[arg(long)]
    json: bool,
    /// After each receipt print its leaves: every click and order line, one JSON object a line
    #[arg(long, requires = "json")]
    leaves: bool,
}

/// A receipt, and what it counts.
struct IssuedReceipt {
    signed: SignedReceipt,
    counted: CountedDay,
    /// It was in force already.
    is_old: bool,
}

impl ReceiptsArgs {
    /// Runs the command. `now_ms` is the wall clock, milliseconds since the epoch.
    ///
    /// # Errors
    /// An input cannot be read or is bad; the day is not complete; the click is on no receipt; `out` cannot be written.
    pub(super) fn run_receipts_command(&self, now_ms: u64, out: &mut impl Write) -> Result<()> {
        let source = self.source.choose_click_source_from_flags_else_config()?;
        match (&self.command, self.issue.day, &self.issue.key) {
            (Some(Command::Prove(args)), ..) => args.prove_click_and_print(&self.source, &source, &self.topic, out),
            (None, Some(day), Some(key)) => {
                self.issue_receipts_and_print(day, &SigningKey::load(key)?, &source, now_ms, out)
            }
            // The parser lets this pass with a subcommand alone.
            (None, ..) => bail!("--day and --key are missing; give the day of the receipts, and the key that signs"),
        }
    }

    fn issue_receipts_and_print(
        &self,
        day: Date,
        key: &SigningKey,
        source: &ClickSource,
        now_ms: u64,
        out: &mut impl Write,
    ) -> Result<()> {
        let issue = &self.issue;
        let topic = self.choose_topic(day, source, now_ms)?;
        // Before the receipts in force are read, so that no other publisher can add one meanwhile.
        let publisher = match &topic {
            Some(topic) if issue.publish => Some(topic.take_publishers_place()?),
            _ => None,
        };
        let in_force = match (&issue.previous, &topic) {
            (Some(path), _) => read_receipts_in_force_from_file(path, day)?,
            (None, Some(topic)) => topic.read_receipts_in_force(day, issue.creator.as_deref(), Some(key))?,
            (None, None) => BTreeMap::new(),
        };
        let CountedClicks { counter, reasons_not_complete } = issue.read_clicks(day, source, now_ms)?;
        if issue.publish && !issue.accept_incomplete && !reasons_not_complete.is_empty() {
            bail!("{day} is not complete, so nothing is published:\n  {}", reasons_not_complete.join("\n  "));
        }
        let as_of_ms = issue.orders.programme.as_of_ms_or(now_ms);
        let earned = issue.orders.credit_lines(&self.source, source, as_of_ms)?;
        let complete = reasons_not_complete.is_empty();
        let terms = IssueTerms { day, key, in_force: &in_force, as_of_ms, issued_at_ms: now_ms, complete };
        let receipts = issue.issue(counter, earned, &terms)?;
        if let Some(publisher) = &publisher {
            publish_new_receipts(publisher, &receipts)?;
        }
        if !complete {
            eprintln!("waypost: it is not proved that {day} is complete:\n  {}", reasons_not_complete.join("\n  "));
        }
        issue.print(&receipts, out)
    }

    /// The topic of receipts; none for click files.
    ///
    /// # Errors
    /// `--publish` without topics, or before the day is over.
    fn choose_topic<'a>(&'a self, day: Date, source: &'a ClickSource, now_ms: u64) -> Result<Option<ReceiptTopic<'a>>> {
        if self.issue.publish && start_of_day_ms(day) + DAY_MS > now_ms {
            bail!("--publish: {day} is not over (UTC); its receipts can be published tomorrow");
        }
        match source {
            ClickSource::Kafka(config) => Ok(Some(ReceiptTopic { config, name: &self.topic })),
            ClickSource::Files(_) if self.issue.publish => {
                bail!("--publish needs topics: give --kafka HOST:PORT, or set kafka.brokers in the configuration")
            }
            ClickSource::Files(_) => Ok(None),
        }
    }
}

/// Publishes the receipts that say something new.
fn publish_new_receipts(publisher: &Publisher<'_>, receipts: &[IssuedReceipt]) -> Result<()> {
    let is_new = |receipt: &&IssuedReceipt| !receipt.is_old;
    let new: Vec<SignedReceipt> = receipts.iter().filter(is_new).map(|receipt| receipt.signed.clone()).collect();
    publisher.publish(&new)?;
    let (published, old) = (new.len(), receipts.len() - new.len());
    eprintln!("waypost: {published} receipts are published, {old} say the same as before");
    Ok(())
}

/// The clicks of the day, counted, and why it is not proved that they are all; nothing if it is.
struct CountedClicks {
    counter: DayCounter,
    reasons_not_complete: Vec<String>,
}

/// What all receipts of a run have in common.
struct IssueTerms<'a> {
    day: Date,
    key: &'a SigningKey,
    in_force: &'a BTreeMap<String, SignedReceipt>,
    as_of_ms: u64,
    issued_at_ms: u64,
    complete: bool,
}

impl IssueArgs {
    fn read_clicks(&self, day: Date, source: &ClickSource, now_ms: u64) -> Result<CountedClicks> {
        let start_ms = start_of_day_ms(day);
        let mut audit = match source {
            ClickSource::Kafka(config) => Some(DayAudit::read_statements(config, start_ms, now_ms)?),
            ClickSource::Files(_) => None,
        };
        let mut counter = DayCounter::new(day, self.creator.clone());
        let range = DayRange { from: Some(day), to: Some(day) }.read_range();
        source.visit_records_and_follow_if_asked(&Topic::ALL, range, &mut |progress| {
            let ReadProgress::Record(record) = progress else { return Ok(()) };
            if let Some(audit) = &mut audit {
                audit.add_click(&record);
            }
            counter.add_record(&record)
        })?;
        let reasons_not_complete = match &audit {
            Some(audit) => audit.list_reasons_not_complete(start_ms + DAY_MS, &self.edges),
            None => vec!["click files prove nothing; the topics do".to_owned()],
        };
        Ok(CountedClicks { counter, reasons_not_complete })
    }

    fn issue(&self, counter: DayCounter, earned: EarnedLines, terms: &IssueTerms<'_>) -> Result<Vec<IssuedReceipt>> {
        let (day, mut receipts) = (terms.day.to_string(), Vec::new());
        counter.visit_creators(earned, &mut |creator_id, counted| {
            let IssueTerms { key, in_force, as_of_ms, issued_at_ms, complete, .. } = *terms;
            let previous = in_force.get(creator_id);
            let terms = ReceiptTerms { creator_id, day: &day, as_of_ms, issued_at_ms, complete };
            let signed = SignedReceipt::issue(terms, &counted, previous, key);
            let is_old = previous.is_some_and(|previous| *previous == signed);
            // Leaves are kept only to be printed.
            let counted = if self.leaves { counted } else { CountedDay::default() };
            receipts.push(IssuedReceipt { signed, counted, is_old });
            Ok(())
        })?;
        Ok(receipts)
    }

    fn print(&self, receipts: &[IssuedReceipt], out: &mut impl Write) -> Result<()> {
        for IssuedReceipt { signed, counted, .. } in receipts {
            if !self.json {
                text::print_receipt(&signed.receipt, out)?;
                continue;
            }
            writeln!(out, "{}", serde_json::to_string(signed)?)?;
            if self.leaves {
                for click in counted.clicks() {
                    writeln!(out, "{}", serde_json::to_string(click)?)?;
                }
                for line in counted.lines() {
                    writeln!(out, "{}", serde_json::to_string(line)?)?;
                }
            }
        }
        Ok(out.flush()?)
    }
}
