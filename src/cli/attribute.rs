//! `waypost attribute`: credits orders to creators by the programme's rules (`commission`), and prints a commission
//! line for each order line.
//!
//! 1. **inputs**: policy, product sets and links; then **orders**, whose raw tokens are verified (`raw_tokens`);
//! 2. **clicks**: reads the records twice, and keeps those that an order can name (`file_scan` reads files on all
//!    cores);
//! 3. **table**, **explain**: the rows for a person; `--json` prints them as they are;
//! 4. **compare**: the lines that two runs decide differently.
//!
//! Everything is read before the first row is printed: bad input prints nothing.

mod amount;
mod clicks;
mod compare;
mod explain;
mod file_scan;
mod inputs;
mod orders;
mod programme_args;
mod raw_tokens;
mod table;

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::Args;

pub(in crate::cli) use self::{
    amount::format_amount,
    clicks::{ClickInput, read_records_that_orders_can_name},
    programme_args::ProgrammeArgs,
    table::clawed_back_minor,
};
use super::click_source_args::ClickSourceArgs;
use crate::{
    commission::{OrderVersion, group_versions_into_orders},
    config::{ConfigError, ConfigErrors, ValueSource},
};

/// The size of the output's buffer, bytes.
const OUTPUT_BUFFER_BYTES: usize = 1 << 20;

/// Credit orders to creators: a commission line for each order line, and why
///
/// The clicks are those of --clicks; without it those of the topics (--kafka) or of the click files in a data directory
/// (--data-dir), as `waypost clicks` reads them.
#[derive(Debug, Args)]
pub(super) struct AttributeArgs {
    #[command(flatten)]
    source: ClickSourceArgs,
    /// Click events of the topics clicks and clicks.orphan, one JSON object a line; can be given several times
    #[arg(long, value_name = "FILE", conflicts_with = "kafka")]
    clicks: Vec<PathBuf>,
    /// Versions of orders, one JSON object a line
    #[arg(long, value_name = "FILE", required_unless_present = "compare")]
    orders: Option<PathBuf>,
    #[command(flatten)]
    programme: ProgrammeArgs,
    /// Print one JSON object an order line, ordered by order id and line id
    #[arg(long)]
    json: bool,
    /// Explain one order: every candidate, and why it won or lost
    #[arg(long, value_name = "ORDER", conflicts_with = "json")]
    explain: Option<String>,
    /// List the lines that two outputs of --json decide differently (exit 0 none, 2 some)
    #[arg(
        long,
        value_names = ["A", "B"],
        num_args = 2,
        conflicts_with_all = ["clicks", "kafka", "orders", "product_sets", "links", "policy", "as_of", "keys", "json",
            "explain"]
    )]
    compare: Option<Vec<PathBuf>>,
}

impl AttributeArgs {
    /// Runs the command. `now_ms` is the wall clock, milliseconds since the epoch.
    ///
    /// # Errors
    /// An input is missing, cannot be read or is bad; the text names file and line. `out` cannot be written.
    pub(super) fn credit_orders_and_print(&self, now_ms: u64, out: &mut impl Write) -> Result<ExitCode> {
        let mut out = BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, out);
        if let Some([one, other]) = self.compare.as_deref() {
            return compare::compare_outputs_and_print_differences(one, other, &mut out);
        }
        let as_of_ms = self.programme.as_of_ms_or(now_ms);
        let click_input = self.choose_click_input()?;
        let inputs = self.programme.read_inputs(as_of_ms)?;
        let versions = self.read_order_versions()?;
        let records = clicks::read_records_that_orders_can_name(&click_input, &versions)?;
        let programme = inputs.programme(&records);
        let orders = group_versions_into_orders(&versions);
        if self.explain.is_some() {
            for order in orders {
                explain::explain_order(&programme.credit_order(order), order, as_of_ms, &mut out)?;
            }
        } else if self.json {
            for row in orders.into_iter().flat_map(|order| programme.credit_order(order).rows) {
                serde_json::to_writer(&mut out, &row)?;
                out.write_all(b"\n")?;
            }
        } else {
            table::print_table(orders.into_iter().flat_map(|order| programme.credit_order(order).rows), &mut out)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }

    /// The versions of all orders; with `--explain` those of the one order.
    fn read_order_versions(&self) -> Result<Vec<OrderVersion>> {
        let Some(path) = &self.orders else { bail!("--orders is missing; give the file of orders") };
        let mut versions = self.programme.read_order_versions(path, &self.source)?;
        if let Some(wanted) = &self.explain {
            versions.retain(|version| version.order_id == *wanted);
            if versions.is_empty() {
                bail!("{} has no order {wanted:?} (--explain); give an order_id as the file has it", path.display());
            }
            if versions.iter().all(|version| version.paid_at_ms.is_none()) {
                bail!(
                    "order {wanted:?} has no paid_at_ms in {}; an order that is not paid has no lines",
                    path.display()
                );
            }
        }
        Ok(versions)
    }

    fn choose_click_input(&self) -> Result<ClickInput, ConfigErrors> {
        if !self.clicks.is_empty() {
            return Ok(ClickInput::Files(self.clicks.clone()));
        }
        if !self.source.is_any_given() {
            return Err(ConfigErrors(vec![ConfigError {
                source: ValueSource::Flag("--clicks"),
                key: String::new(),
                message: "is missing; give --clicks FILE, --kafka HOST:PORT or --data-dir DIR".to_owned(),
            }]));
        }
        self.source.choose_click_source_from_flags_else_config().map(ClickInput::Source)
    }
}
