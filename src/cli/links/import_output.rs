//! Where an import writes its records: aside at first, because the last row of a file can refuse all of them.

use std::{
    fs::{File, Permissions},
    io::{self, BufWriter, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::import_spool::{RecordPlace, RecordSpool};
use crate::model::link::record::Record;

/// Records that are written and not published yet.
pub(super) enum RecordOutput {
    /// They become this file.
    File { path: PathBuf, writer: BufWriter<NamedTempFile> },
    /// They go to the standard output.
    Stdout(BufWriter<File>),
    /// They go into a catalog.
    Catalog(RecordSpool),
    /// Nobody wants them.
    Nowhere,
}

impl RecordOutput {
    /// Opens a temporary file beside `path`, or anywhere for `-`.
    pub(super) fn create(path: &Path) -> io::Result<RecordOutput> {
        if path == Path::new("-") {
            return Ok(RecordOutput::Stdout(BufWriter::new(tempfile::tempfile()?)));
        }
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // The umask takes away what the operator does not want to give.
        let mut builder = tempfile::Builder::new();
        builder.permissions(Permissions::from_mode(0o666)).prefix(".waypost-import-");
        Ok(RecordOutput::File { path: path.to_owned(), writer: BufWriter::new(builder.tempfile_in(directory)?) })
    }

    /// Adds a record, which stands at this place of the export.
    pub(super) fn write_record(&mut self, place: RecordPlace, record: &Record) -> io::Result<()> {
        match self {
            RecordOutput::File { writer, .. } => write_line(writer, record),
            RecordOutput::Stdout(writer) => write_line(writer, record),
            RecordOutput::Catalog(spool) => spool.push(place, record),
            RecordOutput::Nowhere => Ok(()),
        }
    }

    /// Publishes the records: the file replaces one of its name, completely or not at all. Those for a catalog are
    /// written there instead.
    pub(super) fn publish(self) -> io::Result<()> {
        match self {
            RecordOutput::File { path, writer } => {
                let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                file.persist(path).map_err(|error| error.error)?;
                Ok(())
            }
            RecordOutput::Stdout(writer) => {
                let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                let mut out = io::stdout().lock();
                io::copy(&mut file, &mut out)?;
                out.flush()
            }
            RecordOutput::Catalog(_) | RecordOutput::Nowhere => Ok(()),
        }
    }
}

fn write_line(writer: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, record)?;
    writer.write_all(b"\n")
}
