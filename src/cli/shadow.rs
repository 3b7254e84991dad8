//! `waypost shadow`

mod comparison;
mod new_answer;
mod report;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;

use self::{
    comparison::{Comparison, ShadowResult},
    new_answer::NewAnswers,
    report::ShadowReport,
};
use crate::{
    access_log::{BoundedLines, LogLine, parse_line},
    cli::{
        config_args::ConfigArgs,
        kept_domains::load_domains,
        offline_edge::{OfflineKeys, load_edge_without_server},
    },
    clock,
    config::{Config, ConfigErrors, FlagValues},
    links::domains::Domains,
};

/// Exit code: some requests would be answered otherwise.
const SOME_DIFFER: u8 = 2;

/// Answer the requests of an old access log without a server, and list those that would lead elsewhere
#[derive(Debug, Args)]
pub(super) struct ShadowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Access log of the old tracker: common or combined format, or lines of JSON; - is the standard input
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// Links file, one JSON record a line
    #[arg(long, value_name = "FILE")]
    links: Option<String>,
    /// The host of requests whose line names none [default: the only configured host]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// A parameter of destinations that is not compared, such as the old tracker's click id
    #[arg(long, value_name = "NAME")]
    ignore_parameter: Vec<String>,
    /// Print lines of JSON
    #[arg(long)]
    json: bool,
}

impl ShadowArgs {
    /// Prints every request whose answer differs, then the counts. The log is read once, a line at a time.
    pub(super) fn compare_log_and_print_differences(&self, out: &mut impl Write) -> Result<ExitCode> {
        let config = self.load_config()?;
        let edge = load_edge_without_server(&config, OfflineKeys::New, clock::wall_ms())?;
        let domains = load_domains(&config)?;
        let default_host = self.host.clone().unwrap_or_else(|| find_only_host_or_localhost(&domains));
        let mut answers = NewAnswers::new(edge, domains, clock::wall_ms());
        let mut lines = BoundedLines::new(open_log(&self.log)?);
        let mut report = ShadowReport::new(self.json);
        let mut out = io::BufWriter::new(out);
        let unreadable = || format!("cannot read {}", self.log.display());
        let mut number = 0;
        while let Some(line) = lines.read_next().with_context(unreadable)? {
            number += 1;
            let entry = match line {
                LogLine::Whole(b"") => continue,
                LogLine::Whole(line) => parse_line(line),
                LogLine::TooLong => None,
            };
            let comparison = match &entry {
                None => Comparison::unreadable(),
                Some(entry) => {
                    let host = entry.host.as_deref().unwrap_or(&default_host);
                    comparison::compare(entry, || answers.answer(host, entry), &self.ignore_parameter)
                }
            };
            report.count_and_print_difference(number, entry.as_ref(), &comparison, &mut out)?;
        }
        report.print_counts(&mut out)?;
        out.flush()?;
        if report.counts_only(ShadowResult::Unreadable) {
            eprintln!("waypost: {}: no line is in a known format", self.log.display());
            return Ok(ExitCode::FAILURE);
        }
        Ok(if report.has_differences() { ExitCode::from(SOME_DIFFER) } else { ExitCode::SUCCESS })
    }

    fn load_config(&self) -> Result<Config, ConfigErrors> {
        let mut flags = FlagValues::default();
        flags.set("--links", &["links", "file"], self.links.clone());
        self.config.load(flags)
    }
}

fn open_log(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
}

/// The configured host, if there is one alone; else a host that `*` serves.
fn find_only_host_or_localhost(domains: &Domains) -> String {
    match &domains.all()[1..] {
        [only] => only.name.to_string(),
        _ => "localhost".to_owned(),
    }
}
