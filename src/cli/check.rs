//! `waypost check`

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::{
    attribution::keys::Keyring,
    cli::{USAGE, serve::Serve, told},
    clock,
    config::Config,
    links::{
        domains::Domains,
        file::{self, Load},
    },
    net::tls::{self, certificates::Certificates, clients::Authorities},
};

/// Reads everything that `serve` with the same flags would read, and changes nothing. Says every mistake it finds.
pub(super) fn run(serve: &Serve, out: &mut impl Write) -> Result<ExitCode> {
    let config = serve.gather()?;
    let mut mistakes = Vec::new();
    let mut say = |good: Result<String>| match good {
        Ok(line) => writeln!(out, "{line}"),
        Err(mistake) => {
            mistakes.push(mistake);
            Ok(())
        }
    };
    say(Ok(format!("configuration: good, {} workers", config.edge.workers())))?;
    say(links(&config))?;
    say(keys(&config))?;
    say(certificates(&config))?;
    if let Some(said) = admin_certificates(&config) {
        say(said)?;
    }
    for mistake in &mistakes {
        eprintln!("{}", told(mistake));
    }
    Ok(if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(USAGE) })
}

fn links(config: &Config) -> Result<String> {
    let Some(path) = &config.links.file else { return Ok("links: none".to_owned()) };
    let domains = Domains::new(&config.domains).map_err(anyhow::Error::msg)?;
    let loaded = file::load(&Load {
        path,
        rules: &config.links.rules(),
        domains: &domains,
        now_ms: clock::wall_ms(),
        old: None,
        allow_shrink: true,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        progress: &|_| {},
    })?;
    let mut text = format!("links: good, {} in {}", loaded.links, path.display());
    for warning in &loaded.warnings {
        text += &format!("\n{}:{}:{}: warning: {}", path.display(), warning.line, warning.column, warning.message);
    }
    let more = loaded.warned.saturating_sub(loaded.warnings.len() as u64);
    if more > 0 {
        text += &format!("\n{more} more warnings");
    }
    Ok(text)
}

fn certificates(config: &Config) -> Result<String> {
    if config.tls.is_empty() {
        return Ok("certificates: none".to_owned());
    }
    Ok(format!("certificates: good, {}", names_of("tls", &config.tls)?))
}

/// Of the admin listener; nothing is said of one without TLS.
fn admin_certificates(config: &Config) -> Option<Result<String>> {
    let shown = config.admin.tls.shown()?;
    let ca = config.admin.tls.client_ca.as_deref();
    let clients = || match ca.map(Authorities::read).transpose() {
        Ok(Some(authorities)) => Ok(format!(", clients of {} authorities", authorities.count())),
        Ok(None) => Ok(", any client".to_owned()),
        Err(error) => Err(anyhow::Error::msg(format!("admin.tls: {error}"))),
    };
    Some(match (names_of("admin.tls", &shown), clients()) {
        (Ok(names), Ok(clients)) => Ok(format!("admin certificate: good, {names}{clients}")),
        (Err(one), Err(other)) => Err(anyhow::Error::msg(format!("{one}\n{other}"))),
        (Err(error), _) | (_, Err(error)) => Err(error),
    })
}

/// The names of good certificates; else what is wrong with them.
fn names_of(section: &str, config: &tls::Config) -> Result<String> {
    let certificates = Certificates::open(config).map_err(|bad| {
        let lines: Vec<String> = bad.iter().map(|error| format!("{section}: {error}")).collect();
        anyhow::Error::msg(lines.join("\n"))
    })?;
    let now = (clock::wall_ms() / 1000) as i64;
    if let Some(error) = certificates.pairs().iter().find_map(|pair| pair.not_valid_at(now)) {
        return Err(error.into());
    }
    let names: Vec<String> = certificates.pairs().iter().map(|pair| pair.name()).collect();
    Ok(names.join(", "))
}

fn keys(config: &Config) -> Result<String> {
    let path = config.attribution.path(&config.server.data_dir);
    if config.attribution.keys.is_none() && !path.try_exists().unwrap_or(true) {
        return Ok(format!("key ring: none yet, made at the first start in {}", path.display()));
    }
    let ring = Keyring::load(&path)?;
    Ok(format!(
        "key ring: good, {} keys, fingerprint {}",
        ring.infos(clock::wall_ms()).count(),
        ring.fingerprint_text()
    ))
}
