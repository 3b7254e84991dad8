//! `waypost keys`: lists, rotates, exports and imports the key ring that signs cookies and destination tokens; and
//! makes the key that signs receipts.

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
        file::{self, OwnKeys, RotatedKeyring},
        key_scope::KeyScope,
        keyring::Keyring,
        next_hop_signature::SignedNextHop,
        private_file::{read_file_if_private, replace_private_file_atomically_and_sync},
    },
    cli::ring_args::RingArgs,
    links::next_hop::short_url_with_next_hop,
    receipts::SigningKey,
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
    #[command(flatten)]
    Ring(RingCommand),
    /// Make a key that signs receipts, in a new file of mode 0600, and print its public key
    NewReceiptKey {
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the public key with which others verify receipts
    ReceiptPublicKey {
        /// The file that new-receipt-key made
        file: PathBuf,
    },
}

#[derive(Clone, Debug, Subcommand)]
enum RingCommand {
    /// Show every key: its id, its role now, its times
    List {
        /// Print one JSON object a key
        #[arg(long)]
        json: bool,
    },
    /// Add a key that every edge verifies at once and that signs after a delay; the other keys retire then
    ///
    /// A single edge needs nothing more: the server sees the change. In a fleet, export the new ring and import it on
    /// every edge before the delay ends. A shop that verifies tokens itself needs a new `keys export --seller …` before
    /// the delay ends, or it refuses every new token. A retired key verifies for 14 more days. To distrust a key at
    /// once, delete its entry from the file.
    Rotate {
        /// Delay before the new key signs
        #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_non_negative_duration)]
        sign_in: Duration,
    },
    /// Write the whole ring for another edge, or one shop's URL keys, to standard output or a file of mode 0600; both
    /// are secret
    #[command(group = ArgGroup::new("audience").multiple(false))]
    Export {
        /// Only this seller's URL keys, with which its shop verifies its own tokens
        #[arg(long, group = "audience", value_name = "ID")]
        seller: Option<String>,
        /// Only this partner's URL keys
        #[arg(long, group = "audience", value_name = "ID")]
        partner: Option<String>,
        /// Only this domain's URL keys (for links without seller and partner)
        #[arg(long, group = "audience", value_name = "HOST")]
        domain: Option<String>,
        /// File to write instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Sign the next hop of a short link, and print the short URL
    ///
    /// The domain follows it with next_hop_signed = true. The rules of docs/landing.md are checked at the click.
    SignNextHop {
        /// The code of the link; in lower case on a domain that ignores case
        code: String,
        /// The URL that its clicks are led on to
        url: String,
        /// The host of the short URL
        #[arg(long, value_name = "HOST")]
        host: String,
        /// The domain of the link [default: the host]; "*" for links on every host
        #[arg(long, value_name = "HOST")]
        domain: Option<String>,
        /// next_hop_param of the domain
        #[arg(long, value_name = "NAME", default_value = "url")]
        param: String,
    },
    /// Replace this edge's ring by an exported one; keys that only this edge had stop signing and verify for 14 more
    /// days
    Import {
        /// The exported ring, or `-` for standard input
        file: PathBuf,
        /// Drop the keys that only this edge had: tokens they signed are refused from now on
        #[arg(long)]
        replace: bool,
    },
}

fn parse_non_negative_duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is not a duration such as 30m, 1h or 2d"))?;
    Duration::try_from(parsed).map_err(|_| format!("{text:?} is negative"))
}

/// Runs a `keys` command and prints its result to `out`.
///
/// # Errors
/// The configuration is invalid, the ring cannot be read or written, or `out` cannot be written.
pub fn run_keys_command_and_print_result(args: &Args, now_ms: u64, out: &mut impl Write) -> anyhow::Result<()> {
    match &args.command {
        Command::Ring(command) => {
            let path = args.ring.find_ring_file_from_flag_else_config()?;
            run_ring_command(command, &path, now_ms, out)
        }
        Command::NewReceiptKey { out: path } => {
            let key = SigningKey::create_file(path)?;
            eprintln!(
                "waypost: {} holds the secret key {}; publish the public key below",
                path.display(),
                key.key_id()
            );
            Ok(write!(out, "{}", key.public_key_pem())?)
        }
        Command::ReceiptPublicKey { file } => Ok(write!(out, "{}", SigningKey::load(file)?.public_key_pem())?),
    }
}

fn run_ring_command(command: &RingCommand, path: &Path, now_ms: u64, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        RingCommand::List { json } => print_key_statuses_and_fingerprint(&Keyring::load(path)?, now_ms, *json, out),
        RingCommand::SignNextHop { code, url, host, domain, param } => {
            let domain = domain.as_deref().unwrap_or(host);
            let signed = SignedNextHop { domain, code: code.as_bytes(), url };
            let signature = Keyring::load(path)?.sign_next_hop(now_ms, signed);
            Ok(writeln!(out, "{}", short_url_with_next_hop(host, code, param, url, Some(&signature)))?)
        }
        RingCommand::Rotate { sign_in } => {
            let from_ms = now_ms.saturating_add(u64::try_from(sign_in.as_millis()).unwrap_or(u64::MAX));
            let RotatedKeyring { new_key, ring } =
                file::add_signing_key_retire_others_and_write_file(path, now_ms, from_ms)?;
            let (id, from) = (String::from_utf8_lossy(&new_key), format_utc(from_ms));
            writeln!(out, "key {id} verifies as soon as a server has read the ring, and signs from {from}.")?;
            writeln!(out, "In a fleet, export the ring and import it on every edge before then.")?;
            writeln!(out, "Shops that verify tokens themselves need a new export of their keys before then.")?;
            writeln!(out, "Ring {}.", ring.fingerprint_text())?;
            Ok(())
        }
        RingCommand::Export { seller, partner, domain, out: to } => {
            let ring = Keyring::load(path)?;
            let audience = match (seller, partner, domain) {
                (Some(name), _, _) => Some(KeyScope::Seller(name)),
                (_, Some(name), _) => Some(KeyScope::Partner(name)),
                (_, _, Some(name)) => Some(KeyScope::Domain(name)),
                _ => None,
            };
            write_exported_ring_or_url_keys(&ring, audience, to.as_deref(), out)
        }
        RingCommand::Import { file: from, replace } => {
            let own_keys = if *replace { OwnKeys::Remove } else { OwnKeys::Retire };
            let ring = file::replace_keyring_file_and_retire_or_drop_own_keys(
                path,
                &read_exported_ring_from_private_file_or_stdin(from)?,
                now_ms,
                own_keys,
            )?;
            writeln!(out, "{} holds the imported ring {}.", path.display(), ring.fingerprint_text())?;
            print_key_statuses_and_fingerprint(&ring, now_ms, false, out)
        }
    }
}

fn print_key_statuses_and_fingerprint(
    ring: &Keyring,
    now_ms: u64,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    for info in ring.key_statuses_newest_first(now_ms) {
        let (id, role) = (String::from_utf8_lossy(&info.id), info.role.as_str());
        let (from, retired) = (format_utc(info.not_before_ms), info.retired_at_ms.map(format_utc));
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

/// Writes the whole ring, or the URL keys of `audience`, to the file `to` or to `out`.
fn write_exported_ring_or_url_keys(
    ring: &Keyring,
    url_key_scope: Option<KeyScope<'_>>,
    to_file: Option<&Path>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let bytes = match url_key_scope {
        None => ring.export_with_secrets()?,
        Some(audience) => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
            serde_json::to_writer_pretty(&mut *bytes, &ring.derive_and_export_url_keys(audience))?;
            bytes.push(b'\n');
            bytes
        }
    };
    match to_file {
        Some(path) => replace_private_file_atomically_and_sync(path, &bytes)?,
        None => out.write_all(&bytes)?,
    }
    Ok(())
}

/// Reads an exported ring from a private file, or from standard input for `-`.
fn read_exported_ring_from_private_file_or_stdin(from: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if from != Path::new("-") {
        return Ok(read_file_if_private(from)?);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    std::io::stdin().read_to_end(&mut bytes).context("cannot read the ring from standard input")?;
    Ok(bytes)
}

/// A time in RFC 3339, UTC, to the second.
fn format_utc(at_ms: u64) -> impl std::fmt::Display {
    let at = i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::MAX);
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
