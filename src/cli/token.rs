//! `waypost token verify`: what a token says and whether it is genuine.

use std::{io::Write, path::PathBuf, str::from_utf8};

use anyhow::{Context, bail};
use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use crate::attribution::{
    LIFETIME_MS, file,
    keys::{Audience, Keyring, UrlKeys},
    mint::ClickId,
    token::{self, Payload, TokenError, UrlFlags},
};

/// Where the key ring lies.
#[derive(Clone, Debug, clap::Args)]
pub struct RingArgs {
    /// The data directory, whose `keys.json` is the key ring.
    #[arg(long, value_name = "DIR", env = "WAYPOST__SERVER__DATA_DIR", default_value = "waypost-data", global = true)]
    data_dir: PathBuf,
    /// The key ring's file, if it is another (`[attribution] keys`).
    #[arg(long, value_name = "FILE", env = "WAYPOST__ATTRIBUTION__KEYS", global = true)]
    keys: Option<PathBuf>,
}

impl RingArgs {
    /// The ring's file.
    pub fn path(&self) -> PathBuf {
        self.keys.clone().unwrap_or_else(|| self.data_dir.join(file::NAME))
    }
}

/// `waypost token …`
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    ring: RingArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Say what each token claims and whether it is genuine and in time; exit 1 if one is not.
    Verify {
        /// One JSON object a token.
        #[arg(long)]
        json: bool,
        /// A shop's exported URL keys instead of the ring (`waypost keys export --seller …`).
        #[arg(long, value_name = "FILE")]
        url_keys: Option<PathBuf>,
        /// Cookie values or tokens out of destinations.
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

/// What is said of one token; absent where it is not genuine.
#[derive(Debug, Default, Serialize)]
struct Line {
    /// `valid`, or why not.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten)]
    claims: Option<Claims>,
}

#[derive(Debug, Serialize)]
struct Claims {
    kind: &'static str,
    click_id: String,
    clicked_at: Timestamp,
    clicked_at_ms: u64,
    expires_at_ms: u64,
    domain: String,
    code: String,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<&'static str>>,
}

enum Keys {
    Ring(Keyring),
    Shop(UrlKeys),
}

/// Runs the command; `out` is standard output. Returns whether every token is genuine and in time. Called by `cli`, which
/// exits 1 if not.
pub fn run(args: &Args, now_ms: u64, out: &mut impl Write) -> anyhow::Result<bool> {
    let Command::Verify { json, url_keys, tokens } = &args.command;
    let keys = match url_keys {
        None => Keys::Ring(Keyring::load(&args.ring.path())?),
        Some(path) => {
            let shop: UrlKeys = serde_json::from_slice(&file::read_private(path)?)
                .with_context(|| format!("{} does not hold exported URL keys", path.display()))?;
            if Audience::from_kind(&shop.kind, &shop.name).is_none() {
                bail!("{}: kind {:?} is none of seller, partner, domain", path.display(), shop.kind);
            }
            Keys::Shop(shop)
        }
    };
    let mut all_good = true;
    for token in tokens {
        let line = verify(&keys, now_ms, token.trim());
        all_good &= line.reason.is_none();
        if *json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        } else {
            writeln!(out, "{}", words(&line))?;
        }
    }
    Ok(all_good)
}

fn verify(keys: &Keys, now_ms: u64, token: &str) -> Line {
    match claims(keys, now_ms, token) {
        Err(error) => bad(error, None),
        Ok((id, claims)) => match token::check_time(id, now_ms) {
            Err(error) => bad(error, Some(claims)),
            Ok(()) => Line { verdict: "valid", reason: None, claims: Some(claims) },
        },
    }
}

fn bad(error: TokenError, claims: Option<Claims>) -> Line {
    Line { verdict: error.as_str(), reason: Some(error.to_string()), claims }
}

/// A genuine token's claims, whatever its age. Which carrier it was made for shows in which key fits.
fn claims(keys: &Keys, now_ms: u64, token: &str) -> Result<([u8; 16], Claims), TokenError> {
    let mut payload = Payload::default();
    let bytes = token.as_bytes();
    if let Keys::Ring(ring) = keys
        && let Ok(cookie) = ring.inspect_cookie(now_ms, bytes, &mut payload)
    {
        let visitor = uuid::Uuid::from_bytes(cookie.visitor).simple().to_string();
        let claims = Claims {
            visitor_id: Some(visitor),
            ..Claims::of("cookie", token, cookie.click_id, cookie.domain, cookie.code)
        };
        return Ok((cookie.click_id, claims));
    }
    let (url, audience) = match keys {
        Keys::Ring(ring) => ring.inspect_url(now_ms, bytes, &mut payload)?,
        Keys::Shop(shop) => shop.inspect(now_ms, bytes, &mut payload)?,
    };
    let named = [(UrlFlags::NAVIGATION, "navigation"), (UrlFlags::GPC, "gpc"), (UrlFlags::UNJOURNALED, "unjournaled")];
    let claims = Claims {
        audience_kind: Some(audience.kind()),
        audience: Some(audience.name().to_owned()),
        flags: Some(named.iter().filter(|(flag, _)| url.flags.has(*flag)).map(|(_, name)| *name).collect()),
        ..Claims::of("url", token, url.click_id, url.domain, url.code)
    };
    Ok((url.click_id, claims))
}

impl Claims {
    fn of(kind: &'static str, token: &str, id: [u8; 16], domain: &[u8], code: &[u8]) -> Claims {
        let id = ClickId(id);
        Claims {
            kind,
            click_id: from_utf8(&id.text()).unwrap_or_default().to_owned(),
            // 48 bits of milliseconds can lie beyond year 9999, where text ends.
            clicked_at: Timestamp::from_millisecond(id.ms() as i64).unwrap_or(Timestamp::MAX),
            clicked_at_ms: id.ms(),
            expires_at_ms: id.ms() + LIFETIME_MS,
            domain: String::from_utf8_lossy(domain).into_owned(),
            code: String::from_utf8_lossy(code).into_owned(),
            key_id: token.get(3..11).unwrap_or_default().to_owned(),
            visitor_id: None,
            audience_kind: None,
            audience: None,
            flags: None,
        }
    }
}

fn words(line: &Line) -> String {
    let mut words = line.verdict.to_owned();
    if let Some(claims) = &line.claims {
        let Claims { kind, click_id, clicked_at, domain, code, key_id, .. } = claims;
        words += &format!("  {kind}  click {click_id} at {clicked_at}  {domain} {code}  key {key_id}");
        if let (Some(kind), Some(name)) = (claims.audience_kind, &claims.audience) {
            words += &format!("  {kind} {name}");
        }
        if let Some(flags) = claims.flags.as_ref().filter(|flags| !flags.is_empty()) {
            words += &format!("  {}", flags.join(","));
        }
    }
    if let Some(reason) = &line.reason {
        words += &format!("  ({reason})");
    }
    words
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use serde_json::Value;

    use super::*;
    use crate::{attribution::keys::SellerKeys, attribution::token::UrlClaims, cli::keys};

    #[derive(Parser)]
    enum Cli {
        Keys(keys::Args),
        Token(Args),
    }

    const NOW: u64 = 1_794_700_800_000;

    fn run_at(now_ms: u64, line: &[&str]) -> anyhow::Result<(bool, String)> {
        let mut out = Vec::new();
        let good = match Cli::try_parse_from([&["waypost"], line].concat())? {
            Cli::Keys(args) => keys::run(&args, now_ms, &mut out).map(|()| true)?,
            Cli::Token(args) => run(&args, now_ms, &mut out)?,
        };
        Ok((good, String::from_utf8(out)?))
    }

    fn url_token(dir: &str) -> String {
        let ring = Keyring::open(&PathBuf::from(dir).join(file::NAME), NOW).unwrap();
        let mut flags = UrlFlags::default();
        flags.set_if(UrlFlags::NAVIGATION, true);
        let claims = UrlClaims { click_id: ClickId::mint(NOW, &[5; 10]).0, domain: b"*", code: b"abc", flags };
        let mut out = Vec::new();
        ring.sign_url(&mut SellerKeys::default(), NOW, Audience::Seller("s_311"), &claims, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_is_told_in_one_line_as_json_or_words() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        let token = url_token(dir);
        let ask = ["token", "verify", "--json", "--data-dir", dir, &token, "v1.nonsense"];
        let (good, said) = run_at(NOW, &ask).unwrap();
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!good);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["verdict"], "valid");
        assert_eq!(lines[0]["click_id"], "01a1dc80-f000-7505-8505-050505050505");
        assert_eq!((&lines[0]["audience"], &lines[0]["flags"][0]), (&"s_311".into(), &"navigation".into()));
        assert_eq!(lines[1]["verdict"], "malformed");
        let (good, said) = run_at(NOW + LIFETIME_MS, &["token", "verify", "--data-dir", dir, &token]).unwrap();
        assert!(!good && said.starts_with("expired  url  click 01a1dc80-") && said.contains("seller s_311"), "{said}");
    }

    #[test]
    fn a_shop_verifies_with_its_exported_keys_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let token = url_token(path);
        for (seller, want) in [("s_311", true), ("s_312", false)] {
            let out = dir.path().join(seller);
            let out = out.to_str().unwrap();
            run_at(NOW, &["keys", "--data-dir", path, "export", "--seller", seller, "--out", out]).unwrap();
            assert_eq!(run_at(NOW, &["token", "verify", "--url-keys", out, &token]).unwrap().0, want);
        }
    }

    #[test]
    fn a_ring_is_rotated_exported_imported_and_listed() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let exported = here.path().join("ring");
        let exported = exported.to_str().unwrap();
        let (here, there) = (here.path().to_str().unwrap(), there.path().to_str().unwrap());
        let token = url_token(here);
        let rotated = run_at(NOW, &["keys", "rotate", "--sign-in", "2h", "--data-dir", here]).unwrap().1;
        assert!(rotated.contains("signs from 2026-11-15T02:00:00Z"), "{rotated}");
        let again = run_at(NOW, &["keys", "rotate", "--data-dir", here]).unwrap_err().to_string();
        assert!(again.contains("rotate again after that"), "{again}");
        run_at(NOW, &["keys", "export", "--data-dir", here, "--out", exported]).unwrap();
        run_at(NOW, &["keys", "import", exported, "--data-dir", there]).unwrap();
        let listed = |dir| run_at(NOW, &["keys", "list", "--data-dir", dir]).unwrap().1;
        assert_eq!(listed(here), listed(there));
        assert_eq!(listed(here).lines().count(), 3);
        assert!(listed(here).contains("waiting") && listed(here).contains("signing"));
        assert!(run_at(NOW, &["token", "verify", "--data-dir", there, &token]).unwrap().0);
    }
}
