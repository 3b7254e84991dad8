//! `waypost check`

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use jiff::Timestamp;

use crate::{
    attribution::keyring::Keyring,
    cli::{
        check_directories::check_directories_and_format_summary,
        check_links_topic::describe_links_topic_and_format_summary, exit,
        links_file_check::check_links_file_and_format_summary, serve::Serve,
    },
    clock,
    config::Config,
    geoip::{DatabaseKind, Databases, LoadedFiles},
    net::tls::{self, CertificateSet, ClientCaRoots},
};

/// Reads and validates everything that `serve` with the same flags would read, changes nothing, and prints a line for
/// each part. Returns exit code 64 if a part is invalid.
pub(super) fn validate_what_serve_would_read_and_print_results(
    serve: &Serve,
    out: &mut impl Write,
) -> Result<ExitCode> {
    let config = serve.load_config_with_serve_flags()?;
    writeln!(out, "configuration: good, {} workers", config.edge.workers())?;
    let mut errors = Vec::new();
    let checks = [
        check_directories_and_format_summary(&config),
        describe_links_topic_and_format_summary(&config).unwrap_or_else(|| load_links_file_and_format_summary(&config)),
        load_keyring_and_format_summary(&config),
        validate_tls_certificates_and_format_summary(&config),
        load_geoip_files_and_format_summary(&config),
    ];
    for check in checks.into_iter().chain(validate_admin_certificates_if_tls_and_format_summary(&config)) {
        match check {
            Ok(line) => writeln!(out, "{line}")?,
            Err(error) => errors.push(error),
        }
    }
    for error in &errors {
        eprintln!("{}", exit::format_error_chain_without_repeats(error));
    }
    Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::USAGE) })
}

/// Returns the line about the links file.
fn load_links_file_and_format_summary(config: &Config) -> Result<String> {
    match &config.links.file {
        Some(path) => check_links_file_and_format_summary(config, path),
        None => Ok("links: none".to_owned()),
    }
}

/// Returns the line about the certificates of `[tls]`.
fn validate_tls_certificates_and_format_summary(config: &Config) -> Result<String> {
    if config.tls.has_no_certificates() {
        return Ok("certificates: none".to_owned());
    }
    Ok(format!("certificates: good, {}", load_valid_certificates_and_list_names("tls", &config.tls)?))
}

/// Returns the line about the certificate of the admin listener; `None` without TLS there.
fn validate_admin_certificates_if_tls_and_format_summary(config: &Config) -> Option<Result<String>> {
    let served = config.admin.tls.certificate_config()?;
    let ca = config.admin.tls.client_ca.as_deref();
    let clients = || match ca.map(ClientCaRoots::read_pem_file).transpose() {
        Ok(Some(authorities)) => Ok(format!(", clients of {} authorities", authorities.count())),
        Ok(None) => Ok(", any client".to_owned()),
        Err(error) => Err(anyhow::Error::msg(format!("admin.tls: {error}"))),
    };
    Some(match (load_valid_certificates_and_list_names("admin.tls", &served), clients()) {
        (Ok(names), Ok(clients)) => Ok(format!("admin certificate: good, {names}{clients}")),
        (Err(one), Err(other)) => Err(anyhow::Error::msg(format!("{one}\n{other}"))),
        (Err(error), _) | (_, Err(error)) => Err(error),
    })
}

/// The display names of the certificates of a section, if all can be read and are valid now.
fn load_valid_certificates_and_list_names(section: &str, config: &tls::Config) -> Result<String> {
    let certificates = CertificateSet::load_all_even_if_expired(config).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("{section}: {error}")).collect();
        anyhow::Error::msg(lines.join("\n"))
    })?;
    let now = (clock::wall_ms() / 1000) as i64;
    if let Some(error) =
        certificates.all().iter().find_map(|certificate| certificate.check_valid_at_unix_secs(now).err())
    {
        return Err(error.into());
    }
    let names: Vec<String> = certificates.all().iter().map(|certificate| certificate.display_name()).collect();
    Ok(names.join(", "))
}

/// Returns the line about the MMDB files.
fn load_geoip_files_and_format_summary(config: &Config) -> Result<String> {
    let LoadedFiles { databases, refused } = Databases::load(&config.geoip);
    if !refused.is_empty() {
        let lines: Vec<String> = refused.iter().map(ToString::to_string).collect();
        return Err(anyhow::Error::msg(lines.join("\n")));
    }
    let describe = |kind: DatabaseKind| {
        let built_at = Timestamp::from_second(databases.built_at_secs(kind)?.try_into().ok()?).ok()?;
        Some(format!("{} from {} of {built_at}", kind.as_str(), databases.database_type(kind)?))
    };
    let files: Vec<String> = DatabaseKind::ALL.into_iter().filter_map(describe).collect();
    Ok(if files.is_empty() { "geoip: none".to_owned() } else { format!("geoip: good, {}", files.join(", ")) })
}

/// Returns the line about the key ring.
fn load_keyring_and_format_summary(config: &Config) -> Result<String> {
    let path = config.attribution.keyring_path(&config.server.data_dir);
    if config.attribution.keys.is_none() && !path.try_exists().unwrap_or(true) {
        return Ok(format!("key ring: none yet; the first start creates it in {}", path.display()));
    }
    let ring = Keyring::load(&path)?;
    Ok(format!(
        "key ring: good, {} keys, fingerprint {}",
        ring.key_statuses_newest_first(clock::wall_ms()).count(),
        ring.fingerprint_text()
    ))
}
