//! `waypost receipts prove`: the path that shows that a click was counted.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::civil::Date;

use super::{
    count::{ClickOwner, DayCounter, OrderArgs, find_owner},
    file::read_receipts_in_force_from_file,
    topic::ReceiptTopic,
};
use crate::{
    cli::{
        click_source_args::ClickSourceArgs,
        clicks::{
            ClickQuery, ClickSource, ReadProgress,
            click_lines::build_line_with_arrival,
            day_range::{DayRange, utc_day},
        },
    },
    model::click::Topic,
    receipts::{ClickProof, CountedDay, NotProved, SignedReceipt},
};

/// The flags of `waypost receipts prove`.
#[derive(Debug, Args)]
pub(super) struct ProveArgs {
    /// A click id, or a token that contains one
    #[arg(value_name = "CLICK_ID|TOKEN", value_parser = ClickQuery::parse_click_id_or_token)]
    click: ClickQuery,
    /// The receipts, one JSON object a line [default: those on the topic]
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    orders: OrderArgs,
}

impl ProveArgs {
    /// Prints the proof as one JSON object: the leaf, its place and path, and the receipt. With orders also the lines
    /// that the click earned.
    ///
    /// # Errors
    /// The click has no record, its day has no receipt, or the receipt states something else than the source has.
    pub(super) fn prove_click_and_print(
        &self,
        source_args: &ClickSourceArgs,
        source: &ClickSource,
        topic: &str,
        out: &mut impl Write,
    ) -> Result<()> {
        let click_id = String::from_utf8_lossy(&self.click.click_id().text()).into_owned();
        let owner = self.find_owner_in_source(&click_id, source)?;
        let signed = self.find_receipt(&owner, source, topic)?;
        let counted = self.count_day(&owner, source_args, source, &signed)?;
        let proof = match ClickProof::prove(&counted, &click_id, &signed) {
            Ok(proof) if proof.leads_to_stated_roots() => proof,
            Ok(_) | Err(NotProved::OtherReceipt) => bail!(
                "the receipt of {} for {}, revision {}, states other counts than the source has now: issue it again, \
                 and publish the correction",
                owner.creator_id,
                owner.day,
                signed.receipt.revision
            ),
            Err(NotProved::NoSuchClick) => bail!("click {click_id} is not among the clicks of its day"),
        };
        writeln!(out, "{}", serde_json::to_string(&proof)?)?;
        Ok(out.flush()?)
    }

    fn find_owner_in_source(&self, click_id: &str, source: &ClickSource) -> Result<ClickOwner> {
        let mut lines = Vec::new();
        source.visit_records_and_follow_if_asked(&Topic::ALL, self.day_range().read_range(), &mut |progress| {
            if let ReadProgress::Record(record) = progress
                && memchr::memmem::find(record.value, click_id.as_bytes()).is_some()
                && is_of_click(record.value, click_id)
                && let Ok(line) = build_line_with_arrival(record.value, record.shipped_ms)
            {
                lines.push(line.into_owned());
            }
            Ok(())
        })?;
        find_owner(click_id, &lines)
    }

    /// From the day of the click id's time on. The click's own time can be a little earlier.
    fn day_range(&self) -> DayRange {
        let day: Date = utc_day(self.click.click_id().timestamp_ms());
        DayRange { from: Some(day.yesterday().unwrap_or(day)), to: None }
    }

    fn find_receipt(&self, owner: &ClickOwner, source: &ClickSource, topic: &str) -> Result<SignedReceipt> {
        let ClickOwner { creator_id, day } = owner;
        let mut receipts = match (&self.receipt, source) {
            (Some(path), _) => read_receipts_in_force_from_file(path, *day)?,
            (None, ClickSource::Kafka(config)) => {
                ReceiptTopic { config, name: topic }.read_receipts_in_force(*day, Some(creator_id), None)?
            }
            (None, ClickSource::Files(_)) => bail!("--receipt is missing; click files have no topic of receipts"),
        };
        receipts.remove(creator_id).with_context(|| {
            format!("creator {creator_id} has no receipt for {day}; a receipt is published once the day is complete")
        })
    }

    fn count_day(
        &self,
        owner: &ClickOwner,
        source_args: &ClickSourceArgs,
        source: &ClickSource,
        signed: &SignedReceipt,
    ) -> Result<CountedDay> {
        let mut counter = DayCounter::new(owner.day, Some(owner.creator_id.clone()));
        let range = DayRange { from: Some(owner.day), to: Some(owner.day) }.read_range();
        source.visit_records_and_follow_if_asked(&Topic::ALL, range, &mut |progress| match progress {
            ReadProgress::Record(record) => counter.add_record(&record),
            ReadProgress::CaughtUp => Ok(()),
        })?;
        // The lines have the states of the time that the receipt names.
        let earned = self.orders.credit_lines(source_args, source, signed.receipt.as_of_ms)?;
        let mut day = CountedDay::default();
        counter.visit_creators(earned, &mut |_, counted| {
            day = counted;
            Ok(())
        })?;
        Ok(day)
    }
}

/// Whether a record is about this click, and does not only mention it.
fn is_of_click(value: &[u8], click_id: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Named {
        click_id: String,
    }
    serde_json::from_slice::<Named>(value).is_ok_and(|event| event.click_id == click_id)
}
