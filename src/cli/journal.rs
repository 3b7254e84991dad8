//! `waypost journal`: what lies in a data directory. Apart from `drain`, nothing is changed, and a process may run on it.

mod drain;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    attribution::mint::ClickId,
    journal::{self, Frame},
    model::{
        click::{Click, Text, Topic},
        link::LinkFacts,
    },
};

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub(super) enum Journal {
    /// Show lanes, rings, segments and how far each is delivered
    Inspect {
        /// The data directory
        #[arg(value_name = "DIR", env = "WAYPOST__SERVER__DATA_DIR", default_value = "waypost-data")]
        dir: PathBuf,
    },
    /// Read every undelivered click and verify its checksum, position and number (exit 1 if one cannot be read)
    Verify {
        /// The data directory
        #[arg(value_name = "DIR", env = "WAYPOST__SERVER__DATA_DIR", default_value = "waypost-data")]
        dir: PathBuf,
    },
    /// Print every undelivered click as one JSON line: the raw facts, before labels
    Dump {
        /// The data directory
        #[arg(value_name = "DIR", env = "WAYPOST__SERVER__DATA_DIR", default_value = "waypost-data")]
        dir: PathBuf,
        /// Delivered clicks too, as far as they are not yet overwritten
        #[arg(long)]
        all: bool,
    },
    /// Deliver what a retired edge's data directory holds, from any machine (exit 0 if nothing stays, 1 if something does)
    Drain(drain::Drain),
}

impl Journal {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<ExitCode> {
        match self {
            Journal::Inspect { dir } => write!(out, "{}", journal::inspect(dir)?.told(Topic::ALL.map(Topic::name)))?,
            Journal::Verify { dir } => {
                let verdict = journal::verify(dir)?;
                writeln!(out, "{verdict}")?;
                if !verdict.sound() {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Journal::Dump { dir, all } => dump(dir, *all, out)?,
            Journal::Drain(drain) => return drain.run(out),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn dump(dir: &Path, all: bool, out: &mut impl Write) -> Result<()> {
    let mut out = io::BufWriter::new(out);
    journal::dump(dir, all, |lane, frame| writeln!(out, "{}", line(lane, frame)))?;
    out.flush()?;
    Ok(())
}

fn line(lane: u16, frame: &Frame<'_>) -> Value {
    let topic = Topic::ALL.get(usize::from(frame.stream)).map_or("unknown", |topic| topic.name());
    let mut line = json!({
        "lane": lane, "epoch": frame.epoch, "topic": topic, "seq": frame.seq, "position": frame.pos,
    });
    match Click::decode(frame.payload) {
        Ok(click) => line["click"] = facts(&click),
        Err(error) => {
            line["error"] = error.to_string().into();
            line["payload_base64"] = STANDARD.encode(frame.payload).into();
        }
    }
    line
}

/// The click as it was written down. Bytes that are not UTF-8 show as replacement characters.
fn facts(click: &Click<'_>) -> Value {
    let id = |id: [u8; 16]| String::from_utf8_lossy(&ClickId(id).text()).into_owned();
    let text = |text: Text| Some(click.text(text)).filter(|bytes| !bytes.is_empty()).map(String::from_utf8_lossy);
    let link = LinkFacts::decode(click.text(Text::Link)).map(|link| {
        json!({
            "version": link.version, "creator": link.creator, "seller": link.seller, "product": link.product,
            "campaign": link.campaign, "created_at_ms": link.created_ms, "ends_at_ms": link.ends_ms,
        })
    });
    json!({
        "click_id": id(click.id), "at_ms": click.at_ms, "outcome": click.outcome.as_str(), "status": click.status,
        "carrier": click.carrier.as_str(), "method": click.method.as_str(), "http": click.http.as_str(),
        "cookie": click.cookie_state.as_str(), "visitor": click.visitor.map(id), "previous": click.previous.map(id),
        "address": click.address, "address_mode": click.address_mode.as_str(),
        "address_from": click.address_from.as_str(), "consent": click.consent.as_str(),
        "privacy": click.privacy.as_str(), "flags": click.flags.0, "domain": text(Text::Domain),
        "code": text(Text::Code), "link": link, "destination": text(Text::Destination), "query": text(Text::Query),
        "user_agent": text(Text::UserAgent), "referer": text(Text::Referer),
        "accept_language": text(Text::AcceptLanguage), "app_package": text(Text::AppPackage),
        "sec_fetch": text(Text::SecFetch),
    })
}
