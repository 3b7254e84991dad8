//! `waypost journal`: shows, verifies, prints or delivers the journal of a data directory. Every command but `drain`
//! leaves the directory unchanged and can run beside a server.

mod drain;

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Subcommand;
use serde_json::{Value, json};

use super::config_args::ConfigArgs;
use crate::{
    attribution::click_id::ClickId,
    journal::{self, Frame},
    model::{
        click::{Click, Text, Topic},
        link::LinkFacts,
    },
};

/// `waypost journal …`
#[derive(Debug, clap::Args)]
pub(super) struct JournalArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show lanes, rings, segments and how far each lane is delivered
    Inspect,
    /// Read every undelivered click and verify its checksum, position and number (exit 1 if one cannot be read)
    Verify,
    /// Print every undelivered click as one JSON line: the recorded facts, before labels
    Dump {
        /// Print delivered clicks too, as far as they are not yet overwritten
        #[arg(long)]
        all: bool,
    },
    /// Deliver the clicks of a retired edge's data directory, from any machine (exit 0 if none remains, 1 if some
    /// remain)
    Drain(drain::DrainArgs),
}

impl JournalArgs {
    /// Runs the command and prints its result to `out`.
    pub(super) fn run_journal_command(&self, out: &mut impl Write) -> Result<ExitCode> {
        if let Command::Drain(drain) = &self.command {
            return drain.drain_to_kafka_or_file_and_print_summary(&self.config, out);
        }
        let dir = self.config.find_data_dir_from_flag_else_config()?;
        match &self.command {
            Command::Inspect => {
                for topic in Topic::ALL {
                    write!(out, "{}", journal::inspect(&dir, topic.name())?)?;
                }
            }
            Command::Verify => {
                let mut is_sound = true;
                for topic in Topic::ALL {
                    let report = journal::verify_undelivered_frames(&dir, topic.name())?;
                    writeln!(out, "{}: {report}", topic.name())?;
                    is_sound &= report.is_sound();
                }
                if !is_sound {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Command::Dump { all } => print_frames_as_json_lines(&dir, *all, out)?,
            Command::Drain(_) => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_frames_as_json_lines(data_dir: &Path, include_delivered: bool, out: &mut impl Write) -> Result<()> {
    let mut out = io::BufWriter::new(out);
    for topic in Topic::ALL {
        journal::dump_frames_and_count(data_dir, topic.name(), include_delivered, |lane, frame| {
            writeln!(out, "{}", format_frame_as_json(topic, lane, frame))
        })?;
    }
    out.flush()?;
    Ok(())
}

fn format_frame_as_json(topic: Topic, lane: u16, frame: &Frame<'_>) -> Value {
    let topic = topic.name();
    let mut line = json!({
        "lane": lane, "epoch": frame.epoch, "topic": topic, "seq": frame.seq, "position": frame.position,
    });
    match Click::decode(frame.payload) {
        Ok(click) => line["click"] = format_click_as_json(&click),
        Err(error) => {
            line["error"] = error.to_string().into();
            line["payload_base64"] = STANDARD.encode(frame.payload).into();
        }
    }
    line
}

/// The click as it was recorded. Bytes that are not UTF-8 become replacement characters.
fn format_click_as_json(click: &Click<'_>) -> Value {
    let uuid = |id: [u8; 16]| String::from_utf8_lossy(&ClickId(id).text()).into_owned();
    let text = |text: Text| Some(click.text(text)).filter(|bytes| !bytes.is_empty()).map(String::from_utf8_lossy);
    let link = LinkFacts::decode(click.text(Text::Link)).map(|link| {
        json!({
            "version": link.version, "creator": link.creator, "seller": link.seller, "product": link.product,
            "campaign": link.campaign, "created_at_ms": link.created_ms, "ends_at_ms": link.end_ms(),
        })
    });
    json!({
        "click_id": uuid(click.id), "at_ms": click.at_ms, "outcome": click.outcome.as_str(), "status": click.status,
        "carrier": click.carrier.as_str(), "method": click.method.as_str(), "http": click.http.as_str(),
        "cookie": click.cookie_state.as_str(), "visitor": click.visitor.map(uuid), "previous": click.previous.map(uuid),
        "address": click.address, "address_mode": click.address_mode.as_str(),
        "address_from": click.address_source.as_str(), "consent": click.consent.as_str(),
        "privacy": click.privacy.as_str(), "flags": click.flags.0, "domain": text(Text::Domain),
        "code": text(Text::Code), "link": link, "destination": text(Text::Destination), "query": text(Text::Query),
        "user_agent": text(Text::UserAgent), "referer": text(Text::Referer),
        "accept_language": text(Text::AcceptLanguage), "app_package": text(Text::AppPackage),
        "sec_fetch": text(Text::SecFetch),
    })
}
