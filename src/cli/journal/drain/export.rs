//! `--to-file`: the clicks as JSON lines, labelled as the shipper would, oldest first as far as lanes go.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};

use super::{Drain, cuts};
use crate::{
    config::Config,
    journal::{self, Frame, Mark, Parts, Reader, STREAMS, Undelivered},
    lifecycle,
    model::click::{Click, Topic},
    shipper::Press,
};

/// Writes the clicks to `file`; with `done` they then count as delivered. Exits 1 if a click could not be written.
pub(super) fn run(drain: &Drain, config: &Config, edge: &str, file: &Path, out: &mut impl Write) -> Result<ExitCode> {
    let adopted = if drain.done { Some(drain.open(config)?) } else { None };
    // Adopting has taken the lock, and has noted where the rings are.
    let rings = drain.ring_dir.as_deref().filter(|_| adopted.is_none());
    let _lock = if adopted.is_none() { journal::keep_others_out(&drain.dir)? } else { None };
    let mut files = Files::create(file)?;
    let written = files.fill(drain, config, edge, rings).and_then(|found| {
        files.finish().with_context(|| format!("cannot write {}", file.display()))?;
        Ok(found)
    });
    let found = match written {
        Ok(found) => found,
        Err(why) => {
            files.discard();
            return Err(why);
        }
    };
    for topic in Topic::ALL {
        let sum = |count: fn(&Undelivered) -> [u64; STREAMS]| -> u64 {
            found.iter().map(|lane| count(lane)[topic as usize]).sum()
        };
        let (shown, gone) = (sum(|lane| lane.frames), sum(|lane| lane.missing));
        let path = &files.topics[topic as usize].path;
        writeln!(out, "{}: {shown} clicks in {}, {gone} quarantined", topic.name(), path.display())?;
    }
    if files.unreadable > 0 {
        writeln!(
            out,
            "{} clicks are of a newer build's format and are not in the file: use that build",
            files.unreadable
        )?;
        return Ok(ExitCode::FAILURE);
    }
    match adopted {
        Some((reports, parts)) => {
            cuts(&reports, out)?;
            close(parts, &files.ends)?;
            writeln!(out, "done: they count as delivered, nothing stays in {}", drain.dir.display())?;
        }
        None => {
            for lane in found.iter().filter(|lane| !lane.whole) {
                writeln!(out, "lane {}: without its ring of this boot: what had no other home is not here", lane.lane)?;
            }
            writeln!(
                out,
                "{} is as it was: they are still to be delivered (or repeat this with --done)",
                drain.dir.display()
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says that everything is delivered, and leaves the directory as after a clean stop.
fn close(parts: Parts, ends: &Ends) -> Result<()> {
    for reader in &parts.readers {
        reader.acknowledge(reader.head(), marks(reader, ends), reader.sink_note());
    }
    let (stopper, stop) = lifecycle::stop();
    stopper.stop();
    let closing = std::thread::Builder::new().name("wp-spiller".to_owned()).spawn(move || parts.spiller.run(stop));
    closing.context("no thread for the spiller")?.join().ok().context("the directory could not be closed")
}

/// How far each stream of a lane is written.
fn marks(reader: &Reader, ends: &Ends) -> [Mark; STREAMS] {
    let mut marks = reader.delivered();
    if let Some((epoch, next)) = ends.get(&reader.lane()) {
        for (mark, next) in marks.iter_mut().zip(next) {
            *mark = (*mark).max(Mark { epoch: *epoch, next: *next });
        }
    }
    marks
}

/// Of each lane, the epoch and next numbers after the last click written.
type Ends = BTreeMap<u16, (u64, [u64; STREAMS])>;

struct Files {
    topics: Vec<TopicFile>,
    ends: Ends,
    unreadable: u64,
}

struct TopicFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Files {
    /// One for each topic, for its numbers are its own. Only the owner may read them: they hold addresses.
    fn create(file: &Path) -> Result<Files> {
        let mut files = Files { topics: Vec::new(), ends: Ends::new(), unreadable: 0 };
        for topic in Topic::ALL {
            let mut path = OsString::from(file);
            if topic == Topic::Orphan {
                path.push(".orphan");
            }
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => files.topics.push(TopicFile { path, file: BufWriter::with_capacity(1 << 20, file) }),
                Err(why) => {
                    files.discard();
                    return Err(why).with_context(|| format!("cannot make {}", path.display()));
                }
            }
        }
        Ok(files)
    }

    fn fill(&mut self, drain: &Drain, config: &Config, edge: &str, rings: Option<&Path>) -> Result<Vec<Undelivered>> {
        let mut press = Press::new(&config.shipper.duplicate).context("the table of agents")?;
        let mut line = Vec::new();
        let time = |frame: &Frame<'_>| Click::decode(frame.payload).map_or(0, |click| click.at_ms);
        Ok(journal::undelivered(&drain.dir, rings, time, |lane, frame| {
            line.clear();
            if !press.export(edge, lane, frame, &mut line) {
                self.unreadable += 1;
                return Ok(());
            }
            line.push(b'\n');
            self.ends.insert(lane, (frame.epoch, frame.next));
            self.topics[usize::from(frame.stream)].file.write_all(&line)
        })?)
    }

    /// Makes them durable, and their names.
    fn finish(&mut self) -> io::Result<()> {
        for TopicFile { path, file } in &mut self.topics {
            file.flush()?;
            file.get_ref().sync_all()?;
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(dir)?.sync_all()?;
        }
        Ok(())
    }

    /// Takes away what is not whole.
    fn discard(&self) {
        for TopicFile { path, .. } in &self.topics {
            // It was made by this process; if it stays, the next one says that it is there.
            let _ = fs::remove_file(path);
        }
    }
}
