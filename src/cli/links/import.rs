//! `waypost links import`

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    import_args::{ImportArgs, ImportTarget},
    import_catalog::{CatalogImport, RefusedRecords},
    import_output::RecordOutput,
    import_report::{Report, count_of},
    import_spool::{RecordPlace, RecordSpool},
    place_args::PlaceArgs,
    user_act::act_of_user,
};
use crate::{
    catalog::change::ExpectedLink,
    cli::{exit, kept_domains::load_domains},
    config::FlagValues,
    import::{FileError, ImportRules, Importer, InvalidOption, RowOutcome, Summary},
};

/// Imports the files and prints the report to the standard error.
pub(super) fn import_files_and_print_report(args: &ImportArgs, place: &PlaceArgs, now_ms: u64) -> Result<ExitCode> {
    let target = match args.target(place.has_server()) {
        Ok(target) => target,
        Err(error) => return Ok(print_invalid_options(&[error])),
    };
    let config = place.config.load(FlagValues::default())?;
    let domains = load_domains(&config)?;
    let policy = config.links.destination_policy();
    let rules = ImportRules { policy: &policy, domains: &domains, now_ms };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let importer = match Importer::new(&args.import_options(), rules, threads) {
        Ok(importer) => importer,
        Err(errors) => return Ok(print_invalid_options(&errors)),
    };
    let mut output = match target {
        ImportTarget::Catalog => RecordOutput::Catalog(RecordSpool::create().context("a temporary file")?),
        ImportTarget::Output(_) if args.dry_run => RecordOutput::Nowhere,
        ImportTarget::Output(path) => {
            RecordOutput::create(path).with_context(|| format!("{}: cannot be written", path.display()))?
        }
    };
    let mut report = Report::create(args.report.as_deref()).context("--report: cannot be written")?;
    match import_files(importer, &args.files, &mut output, &mut report) {
        Ok(summary) => publish_and_print_report(args, place, &target, output, report, &summary),
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
    for (index, path) in paths.iter().enumerate() {
        let fail = |error| FailedFile { path, error };
        let file = File::open(path).map_err(|error| fail(FileError::Read(error)))?;
        let bar = file.metadata().ok().and_then(|metadata| progress_bar_if_terminal(metadata.len()));
        let mut input: Box<dyn Read + Send> = match &bar {
            Some(bar) => Box::new(bar.wrap_read(file)),
            None => Box::new(file),
        };
        let result = importer.read_file(&mut *input, &mut |outcome| {
            report.add_row(path, &outcome)?;
            write_records(index, &outcome, output)
        });
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        result.map_err(fail)?;
    }
    let last = paths.last().map_or(Path::new(""), PathBuf::as_path);
    importer.finish().map_err(|error| FailedFile { path: last, error })
}

fn write_records(file: usize, outcome: &RowOutcome, output: &mut RecordOutput) -> io::Result<()> {
    match outcome {
        RowOutcome::Accepted(row) => {
            let place = RecordPlace { file, row: row.row, line: row.line };
            row.records.iter().try_for_each(|record| output.write_record(place, record))
        }
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
    place: &PlaceArgs,
    target: &ImportTarget<'_>,
    output: RecordOutput,
    mut report: Report,
    summary: &Summary,
) -> Result<ExitCode> {
    let mut is_complete = summary.refused_rows == 0;
    let may_write = is_complete || args.skip_bad;
    let written = match (output, target) {
        (RecordOutput::Catalog(spool), _) if may_write || args.dry_run => {
            let (written, refused) = write_to_catalog(args, place, spool, &mut report, summary)?;
            is_complete &= refused == 0;
            written
        }
        (output, ImportTarget::Output(path)) if may_write && !args.dry_run => publish_output(path, output, summary)?,
        _ if args.dry_run => "nothing is written: --dry-run".to_owned(),
        _ => "nothing is written, because rows are refused: correct them, or --skip-bad leaves them out".to_owned(),
    };
    eprintln!("{}", report.finish(summary, &written)?);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(exit::SOME_REFUSED) })
}

fn publish_output(path: &Path, output: RecordOutput, summary: &Summary) -> Result<String> {
    output.publish().with_context(|| format!("{}: cannot be written", path.display()))?;
    let target = match path.to_str() {
        Some("-") => "the standard output".to_owned(),
        _ => path.display().to_string(),
    };
    Ok(format!("written to {target}: {}", count_of(summary.records, "record")))
}

/// Says what became of the records, and how many the catalog refuses.
fn write_to_catalog(
    args: &ImportArgs,
    place: &PlaceArgs,
    mut spool: RecordSpool,
    report: &mut Report,
    summary: &Summary,
) -> Result<(String, u64)> {
    let place = place.open()?;
    let import = CatalogImport {
        place: &*place,
        act: act_of_user(args.reason.as_ref()),
        expected: if args.replace { ExpectedLink::Any } else { ExpectedLink::AbsentOrSame },
        files: &args.files,
        records: summary.records,
    };
    let refused = if args.skip_bad { RefusedRecords::AreLeftOut } else { RefusedRecords::RefuseAll };
    let end = import.check_all_and_write(&mut spool, report, refused, args.dry_run)?;
    Ok((end.describe(&import.act), end.refused()))
}
