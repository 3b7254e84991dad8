//! `waypost token verify`: prints the claims of each token and whether it is genuine and not expired.

use std::{
    io::Write,
    path::{Path, PathBuf},
    str::from_utf8,
};

use anyhow::{Context, bail};
use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use super::ring_args::RingArgs;
use crate::attribution::{
    ATTRIBUTION_WINDOW_MS,
    claims::UrlFlags,
    click_id::ClickId,
    key_scope::KeyScope,
    keyring::Keyring,
    private_file::read_file_if_private,
    token::{self, PayloadBuffer, TokenError},
    url_keys::UrlKeys,
};

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
    /// Print the claims of each token and whether it is genuine and not expired (exit 1 if one is not)
    Verify {
        /// Print one JSON object a token
        #[arg(long)]
        json: bool,
        /// Verify with a shop's exported URL keys instead of the ring (`waypost keys export --seller …`)
        #[arg(long, value_name = "FILE")]
        url_keys: Option<PathBuf>,
        /// Cookie values, or tokens from destination URLs
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

/// The result for one token; without claims if the token is not genuine.
#[derive(Debug, Default, Serialize)]
struct TokenReport {
    /// `valid`, or the reason why the token is not valid.
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

/// The keys that a token is verified with.
enum VerificationKeys {
    Ring(Keyring),
    Shop(UrlKeys),
}

/// Whether every token was valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenVerification {
    /// Every token is genuine and not expired.
    AllValid,
    /// At least one token is forged, damaged or expired.
    SomeInvalid,
}

/// Verifies each token and prints its report to `out`.
///
/// # Errors
/// The configuration is invalid, the keys cannot be read, or `out` cannot be written.
pub fn verify_tokens_and_print_reports(
    args: &Args,
    now_ms: u64,
    out: &mut impl Write,
) -> anyhow::Result<TokenVerification> {
    let Command::Verify { json, url_keys, tokens } = &args.command;
    let keys = match url_keys {
        None => VerificationKeys::Ring(Keyring::load(&args.ring.find_ring_file_from_flag_else_config()?)?),
        Some(path) => VerificationKeys::Shop(read_url_keys_from_private_file(path)?),
    };
    let mut verification = TokenVerification::AllValid;
    for token in tokens {
        let report = verify_token_and_build_report(&keys, now_ms, token.trim());
        if report.reason.is_some() {
            verification = TokenVerification::SomeInvalid;
        }
        if *json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            writeln!(out, "{}", format_report_as_text_line(&report))?;
        }
    }
    Ok(verification)
}

/// Reads a shop's exported URL keys from a private file.
fn read_url_keys_from_private_file(path: &Path) -> anyhow::Result<UrlKeys> {
    let keys: UrlKeys = serde_json::from_slice(&read_file_if_private(path)?).with_context(|| {
        format!("{} (--url-keys) does not hold URL keys; export them with `waypost keys export`", path.display())
    })?;
    if KeyScope::from_kind_word(&keys.kind, &keys.name).is_none() {
        bail!("{} (--url-keys): kind is {:?}; allowed: seller, partner, domain", path.display(), keys.kind);
    }
    Ok(keys)
}

fn verify_token_and_build_report(keys: &VerificationKeys, now_ms: u64, token: &str) -> TokenReport {
    match read_claims(keys, now_ms, token) {
        Err(error) => invalid_token(error, None),
        Ok((id, claims)) => match token::check_token_age(id, now_ms) {
            Err(error) => invalid_token(error, Some(claims)),
            Ok(()) => TokenReport { verdict: "valid", reason: None, claims: Some(claims) },
        },
    }
}

fn invalid_token(error: TokenError, claims: Option<Claims>) -> TokenReport {
    TokenReport { verdict: error.as_str(), reason: Some(error.to_string()), claims }
}

/// The claims of a genuine token, expired or not. The key that verifies the token tells whether it is a cookie or a URL
/// token.
fn read_claims(keys: &VerificationKeys, now_ms: u64, token: &str) -> Result<([u8; 16], Claims), TokenError> {
    let mut payload = PayloadBuffer::default();
    let bytes = token.as_bytes();
    if let VerificationKeys::Ring(ring) = keys
        && let Ok(cookie) = ring.verify_cookie_token_of_any_age(now_ms, bytes, &mut payload)
    {
        let visitor = uuid::Uuid::from_bytes(cookie.visitor).simple().to_string();
        let claims = Claims {
            visitor_id: Some(visitor),
            ..Claims::new("cookie", token, cookie.click_id, cookie.domain, cookie.code)
        };
        return Ok((cookie.click_id, claims));
    }
    let (url, scope) = match keys {
        VerificationKeys::Ring(ring) => ring.verify_url_token_of_any_age(now_ms, bytes, &mut payload)?,
        VerificationKeys::Shop(shop) => shop.verify_token_of_any_age(now_ms, bytes, &mut payload)?,
    };
    let named = [(UrlFlags::NAVIGATION, "navigation"), (UrlFlags::GPC, "gpc"), (UrlFlags::UNRECORDED, "unrecorded")];
    let claims = Claims {
        audience_kind: Some(scope.kind_word()),
        audience: Some(scope.name().to_owned()),
        flags: Some(named.iter().filter(|(flag, _)| url.flags.has(*flag)).map(|(_, name)| *name).collect()),
        ..Claims::new("url", token, url.click_id, url.domain, url.code)
    };
    Ok((url.click_id, claims))
}

impl Claims {
    fn new(kind: &'static str, token: &str, id: [u8; 16], domain: &[u8], code: &[u8]) -> Claims {
        let id = ClickId(id);
        Claims {
            kind,
            click_id: from_utf8(&id.text()).unwrap_or_default().to_owned(),
            // 48 bits of milliseconds reach beyond the year 9999, the last that `Timestamp` can hold.
            clicked_at: Timestamp::from_millisecond(id.timestamp_ms() as i64).unwrap_or(Timestamp::MAX),
            clicked_at_ms: id.timestamp_ms(),
            expires_at_ms: id.timestamp_ms() + ATTRIBUTION_WINDOW_MS,
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

fn format_report_as_text_line(report: &TokenReport) -> String {
    let mut text = report.verdict.to_owned();
    if let Some(claims) = &report.claims {
        let Claims { kind, click_id, clicked_at, domain, code, key_id, .. } = claims;
        text += &format!("  {kind}  click {click_id} at {clicked_at}  {domain} {code}  key {key_id}");
        if let (Some(kind), Some(name)) = (claims.audience_kind, &claims.audience) {
            text += &format!("  {kind} {name}");
        }
        if let Some(flags) = claims.flags.as_ref().filter(|flags| !flags.is_empty()) {
            text += &format!("  {}", flags.join(","));
        }
    }
    if let Some(reason) = &report.reason {
        text += &format!("  ({reason})");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use serde_json::Value;

    use super::*;
    use crate::{
        attribution::{UrlKeyCache, claims::UrlClaims, file},
        cli::keys,
    };

    #[derive(Parser)]
    enum Cli {
        Keys(keys::Args),
        Token(Args),
    }

    const NOW: u64 = 1_794_700_800_000;

    fn run_at(now_ms: u64, line: &[&str]) -> anyhow::Result<(bool, String)> {
        let mut out = Vec::new();
        let valid = match Cli::try_parse_from([&["waypost"], line].concat())? {
            Cli::Keys(args) => keys::run_keys_command_and_print_result(&args, now_ms, &mut out).map(|()| true)?,
            Cli::Token(args) => {
                verify_tokens_and_print_reports(&args, now_ms, &mut out)? == TokenVerification::AllValid
            }
        };
        Ok((valid, String::from_utf8(out)?))
    }

    fn url_token(dir: &str) -> String {
        let ring = Keyring::load_or_create_file_with_new_key(&PathBuf::from(dir).join(file::FILE_NAME), NOW).unwrap();
        let mut flags = UrlFlags::default();
        flags.set_if(UrlFlags::NAVIGATION, true);
        let claims = UrlClaims { click_id: ClickId::mint(NOW, &[5; 10]).0, domain: b"*", code: b"abc", flags };
        let mut out = Vec::new();
        ring.sign_and_append_url_token_and_return_key_id(
            &mut UrlKeyCache::default(),
            NOW,
            KeyScope::Seller("s_311"),
            &claims,
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_is_reported_in_one_line_as_json_or_text() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_str().unwrap();
        let token = url_token(dir);
        let args = ["token", "verify", "--json", "--data-dir", dir, &token, "v1.nonsense"];
        let (valid, output) = run_at(NOW, &args).unwrap();
        let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!valid);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["verdict"], "valid");
        assert_eq!(lines[0]["click_id"], "01a1dc80-f000-7505-8505-050505050505");
        assert_eq!((&lines[0]["audience"], &lines[0]["flags"][0]), (&"s_311".into(), &"navigation".into()));
        assert_eq!(lines[1]["verdict"], "malformed");
        let (valid, output) =
            run_at(NOW + ATTRIBUTION_WINDOW_MS, &["token", "verify", "--data-dir", dir, &token]).unwrap();
        assert!(
            !valid && output.starts_with("expired  url  click 01a1dc80-") && output.contains("seller s_311"),
            "{output}"
        );
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
