//! `waypost links import`

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{
        config_args::ConfigArgs,
        exit,
        links::{
            ImportArgs,
            import_output::RecordOutput,
            import_report::{Report, count_of},
        },
    },
    config::FlagValues,
    import::{FileError, ImportRules, Importer, InvalidOption, RowOutcome, Summary},
    links::domains::Domains,
};

/// Imports the files and prints the report to the standard error.
pub(super) fn import_files_and_print_report(args: &ImportArgs, config: &ConfigArgs, now_ms: u64) -> Result<ExitCode> {
    let config = config.load(FlagValues::default())?;
    let domains = Domains::new(&config.domains).map_err(anyhow::Error::msg)?;
    let policy = config.links.destination_policy();
    let rules = ImportRules { policy: &policy, domains: &domains, now_ms };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let importer = match Importer::new(&args.import_options(), rules, threads) {
        Ok(importer) => importer,
        Err(errors) => return Ok(print_invalid_options(&errors)),
    };
    let mut output = if args.dry_run {
        RecordOutput::Nowhere
    } else {
        RecordOutput::create(&args.output).with_context(|| format!("{}: cannot be written", args.output.display()))?
    };
    let mut report = Report::create(args.report.as_deref()).context("--report: cannot be written")?;
    match import_files(importer, &args.files, &mut output, &mut report) {
        Ok(summary) => publish_and_print_report(args, output, report, &summary),
        Err(FailedFile { path, error }) => {
            report.finish_refused_file(path, &error)?;
            Err(anyhow::Error::new(error).context(path.display().to_string()))
        }
    }
}

fn print_invalid_options(errors: &[InvalidOption]) -> ExitCode {
    for InvalidOption { option, message } in errors {
        eprintln!("waypost: --{option} {message}");
    }
    ExitCode::from(exit::USAGE)
}

/// The file that ended an import.
struct FailedFile<'a> {
    path: &'a Path,
    error: FileError,
}

fn import_files<'a>(
    mut importer: Importer<'_>,
    paths: &'a [PathBuf],
    output: &mut RecordOutput,
    report: &mut Report,
) -> Result<Summary, FailedFile<'a>> {
    for path in paths {
        let fail = |error| FailedFile { path, error };
        let file = File::open(path).map_err(|error| fail(FileError::Read(error)))?;
        let bar = file.metadata().ok().and_then(|metadata| progress_bar_if_terminal(metadata.len()));
        let mut input: Box<dyn Read + Send> = match &bar {
            Some(bar) => Box::new(bar.wrap_read(file)),
            None => Box::new(file),
        };
        let result = importer.read_file(&mut *input, &mut |outcome| {
            report.add_row(path, &outcome)?;
            write_records(&outcome, output)
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        result.map_err(fail)?;
    }
    let last = paths.last().map_or(Path::new(""), PathBuf::as_path);
    importer.finish().map_err(|error| FailedFile { path: last, error })
}

fn write_records(outcome: &RowOutcome, output: &mut RecordOutput) -> io::Result<()> {
    match outcome {
        RowOutcome::Accepted(row) => row.records.iter().try_for_each(|record| output.write_record(record)),
        RowOutcome::Refused(_) => Ok(()),
    }
}

fn progress_bar_if_terminal(bytes: u64) -> Option<ProgressBar> {
    let style = ProgressStyle::with_template("import {wide_bar} {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(bytes).with_style(style.unwrap_or(ProgressStyle::default_bar()));
    io::stderr().is_terminal().then_some(bar)
}

/// Publishes the records, unless rows are refused and `--skip-bad` is not given.
fn publish_and_print_report(
    args: &ImportArgs,
    output: RecordOutput,
    report: Report,
    summary: &Summary,
) -> Result<ExitCode> {
    let is_complete = summary.refused_rows == 0;
    let written = if args.dry_run {
        "nothing is written: --dry-run".to_owned()
    } else if is_complete || args.skip_bad {
        output.publish().with_context(|| format!("{}: cannot be written", args.output.display()))?;
        let target = match args.output.to_str() {
            Some("-") => "the standard output".to_owned(),
            _ => args.output.display().to_string(),
        };
        format!("written to {target}: {}", count_of(summary.records, "record"))
    } else {
        "nothing is written, because rows are refused: correct them, or --skip-bad leaves them out".to_owned()
    };
    eprintln!("{}", report.finish(summary, &written)?);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(exit::SOME_REFUSED) })
}
