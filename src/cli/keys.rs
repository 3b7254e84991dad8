//! `waypost keys`: the key ring in an operator's hands.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{ArgGroup, Subcommand};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use zeroize::Zeroizing;

use crate::{
    attribution::{
        file,
        keys::{Audience, Keyring},
    },
    cli::token::RingArgs,
};

/// `waypost keys …`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ring: RingArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show every key: its id, what it does now, its times.
    List {
        /// One JSON object a key.
        #[arg(long)]
        json: bool,
    },
    /// Add a key that every edge verifies at once and that signs after a delay; the others retire then.
    ///
    /// On one edge nothing more is to be done: the server sees the change. In a fleet, export the new ring and import it on
    /// every edge before the delay is over. A shop that verifies on its own needs `keys export --seller …` anew by then,
    /// or it refuses every new token. A retired key verifies for 14 days more. To distrust a key at once, delete its
    /// entry from the file.
    Rotate {
        /// How long the new key waits before it signs.
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
        sign_in: Duration,
    },
    /// Write the whole ring for another edge, or one shop's URL keys: secrets, to standard output or a file of mode 0600.
    #[command(group = ArgGroup::new("audience").multiple(false))]
    Export {
        /// This seller's URL keys alone, so that its shop can verify its own tokens.
        #[arg(long, group = "audience", value_name = "ID")]
        seller: Option<String>,
        /// This partner's URL keys alone.
        #[arg(long, group = "audience", value_name = "ID")]
        partner: Option<String>,
        /// This domain's URL keys alone (of links without seller and partner).
        #[arg(long, group = "audience", value_name = "HOST")]
        domain: Option<String>,
        /// The file to write instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Take another edge's exported ring. Keys that only this edge had stop signing and verify for 14 days more.
    Import {
        /// The exported ring, or `-` for standard input.
        file: PathBuf,
        /// Drop the keys that only this edge had: what they signed is refused from now on.
        #[arg(long)]
        replace: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|_| format!("{text:?} is no duration such as 30m, 1h or 2d"))?;
    Duration::try_from(parsed).map_err(|_| format!("{text:?} is negative"))
}

/// Runs the command; `out` is standard output. Called by `cli`, which prints errors and exits 1.
pub fn run(args: &Args, now_ms: u64, out: &mut impl Write) -> anyhow::Result<()> {
    let path = args.ring.path();
    match &args.command {
        Command::List { json } => list(&Keyring::load(&path)?, now_ms, *json, out),
        Command::Rotate { sign_in } => {
            let from_ms = now_ms.saturating_add(u64::try_from(sign_in.as_millis()).unwrap_or(u64::MAX));
            let (id, ring) = file::rotate(&path, now_ms, from_ms)?;
            let (id, from) = (String::from_utf8_lossy(&id), time(from_ms));
            writeln!(out, "key {id} verifies as soon as a server has read the ring, and signs from {from}.")?;
            writeln!(out, "In a fleet, export the ring and import it on every edge before then.")?;
            writeln!(out, "Shops that verify on their own need their keys exported anew before then.")?;
            writeln!(out, "Ring {}.", ring.fingerprint_text())?;
            Ok(())
        }
        Command::Export { seller, partner, domain, out: to } => {
            let ring = Keyring::load(&path)?;
            let audience = match (seller, partner, domain) {
                (Some(name), _, _) => Some(Audience::Seller(name)),
                (_, Some(name), _) => Some(Audience::Partner(name)),
                (_, _, Some(name)) => Some(Audience::Domain(name)),
                _ => None,
            };
            export(&ring, audience, to.as_deref(), out)
        }
        Command::Import { file: from, replace } => {
            let ring = file::import(&path, &read(from)?, now_ms, *replace)?;
            writeln!(out, "{} holds the imported ring {}.", path.display(), ring.fingerprint_text())?;
            list(&ring, now_ms, false, out)
        }
    }
}

fn list(ring: &Keyring, now_ms: u64, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    for info in ring.infos(now_ms) {
        let (id, role) = (String::from_utf8_lossy(&info.id), info.role.as_str());
        let (from, retired) = (time(info.not_before_ms), info.retired_at_ms.map(time));
        if json {
            let key = serde_json::json!({
                "id": id, "role": role, "not_before": from.to_string(),
                "retired_at": retired.map(|at| at.to_string()), "ring": ring.fingerprint_text(),
            });
            writeln!(out, "{key}")?;
        } else {
            let retired = retired.map(|at| format!(", retired at {at}")).unwrap_or_default();
            writeln!(out, "{id}  {role:<9}  signs from {from}{retired}")?;
        }
    }
    if !json {
        writeln!(out, "ring {}", ring.fingerprint_text())?;
    }
    Ok(())
}

fn export(
    ring: &Keyring,
    audience: Option<Audience<'_>>,
    to: Option<&Path>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let bytes = match audience {
        None => ring.export()?,
        Some(audience) => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
            serde_json::to_writer_pretty(&mut *bytes, &ring.url_keys(audience))?;
            bytes.push(b'\n');
            bytes
        }
    };
    match to {
        Some(path) => file::write_private(path, &bytes)?,
        None => out.write_all(&bytes)?,
    }
    Ok(())
}

/// Reads what was exported: a private file, or standard input.
fn read(from: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if from != Path::new("-") {
        return Ok(file::read_private(from)?);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    std::io::stdin().read_to_end(&mut bytes).context("cannot read the ring from standard input")?;
    Ok(bytes)
}

/// A time as people and RFC 3339 write it, UTC, to the second.
fn time(at_ms: u64) -> impl std::fmt::Display {
    let at = i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
