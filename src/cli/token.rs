//! `waypost token verify`: prints the claims of each token and whether it is genuine and not expired.

pub(in crate::cli) mod report;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Subcommand;

use self::report::{Claims, TokenReport, VerificationKeys, verify_token_and_build_report};
use super::ring_args::RingArgs;
use crate::attribution::{
    key_scope::KeyScope, keyring::Keyring, private_file::read_file_if_private, url_keys::UrlKeys,
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
        attribution::{
            ATTRIBUTION_WINDOW_MS, UrlKeyCache,
            claims::{UrlClaims, UrlFlags},
            click_id::ClickId,
            file,
        },
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
