//! `waypost links qr`

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::{edit::LinkArgs, place::LinkPlace, place_args::PlaceArgs};
use crate::{
    links::qr_code::{DEFAULT_SIZE_PX, ErrorCorrection, QrFormat, QrImage, SIZE_BOUNDS_PX, ScanSub, url_to_scan},
    uri::host::find_valid_host_of_authority,
};

/// The flags of `waypost links qr`.
#[derive(Debug, Args)]
pub(super) struct QrArgs {
    #[command(flatten)]
    link: LinkArgs,
    /// The host of the URL in the code [default: the domain of the link]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The form of the image
    #[arg(long, default_value = "svg", value_parser = words(QrFormat::ALL.map(QrFormat::as_str), QrFormat::from_word))]
    format: QrFormat,
    /// How much of the image may be covered or dirty: 7, 15, 25 or 30 percent
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "medium",
        value_parser = words(ErrorCorrection::ALL.map(ErrorCorrection::as_str), ErrorCorrection::from_word)
    )]
    error_correction: ErrorCorrection,
    /// Width and height, pixels
    #[arg(long, value_name = "PIXELS", default_value_t = DEFAULT_SIZE_PX,
        value_parser = clap::value_parser!(u32).range(size_bounds()))]
    size: u32,
    /// The sub id that has the value `qr`, so that clicks show that the code was scanned
    #[arg(long, default_value = "sub1", value_parser = words(ScanSub::ALL.map(ScanSub::as_str), ScanSub::from_word))]
    sub: ScanSub,
    /// The new file [default: the standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn size_bounds() -> std::ops::RangeInclusive<i64> {
    i64::from(*SIZE_BOUNDS_PX.start())..=i64::from(*SIZE_BOUNDS_PX.end())
}

/// One of these words.
fn words<T: Clone + Send + Sync + 'static, const N: usize>(
    allowed: [&'static str; N],
    from_word: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(allowed).try_map(move |word| from_word(&word).ok_or_else(|| anyhow!("is unknown")))
}

impl QrArgs {
    pub(super) fn write_qr_code(&self, place: &PlaceArgs, out: &mut impl Write) -> Result<ExitCode> {
        let place = place.open()?;
        let name = self.link.name(&*place)?;
        if place.find_link(&name)?.is_none() {
            eprintln!("there is no link {} on {}", name.code, name.domain);
            return Ok(ExitCode::FAILURE);
        }
        let host = self.host.as_deref().unwrap_or(&name.domain);
        if host == "*" {
            bail!("--host is missing: links of the domain * are on every host, so name one");
        }
        if find_valid_host_of_authority(host.as_bytes()).is_none() {
            bail!("--host {host}: is no host; one is go.example.com");
        }
        let image = QrImage { format: self.format, error_correction: self.error_correction, size_px: self.size };
        let sub_names = find_sub_names(&*place, &name.domain)?;
        let url = url_to_scan(host, &name.code, self.sub, sub_names.iter().map(String::as_str));
        let url = url.map_err(|error| anyhow!("--sub: {error}"))?;
        let bytes = image.draw(&url).map_err(|error| anyhow!("--size {}: {error}", self.size))?;
        match &self.output {
            Some(path) => fs::write(path, bytes).with_context(|| path.display().to_string())?,
            None => out.write_all(&bytes)?,
        }
        eprintln!("{url}");
        Ok(ExitCode::SUCCESS)
    }
}

/// The domain's own names of the sub ids; none if they have the usual ones.
fn find_sub_names(place: &dyn LinkPlace, domain: &str) -> Result<Vec<String>> {
    let domains = place.list_domains()?;
    let names = domains.iter().find(|found| found["host"] == domain).map(|found| &found["settings"]["sub_names"]);
    let names = names.and_then(serde_json::Value::as_array).into_iter().flatten();
    Ok(names.filter_map(|name| Some(name.as_str()?.to_owned())).collect())
}
