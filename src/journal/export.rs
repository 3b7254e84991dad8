//! Every undelivered frame of a data directory that nobody runs on, for whoever takes the clicks out without a sink. Nothing is
//! changed, so a copy that cannot be written to will do.

use std::{
    fs::File,
    io,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use crate::journal::{
    Frame, InspectError, Mark, OpenError, STREAMS,
    disk::hold,
    error::io_error,
    inspect::{Look, Place},
};

/// Frames read ahead of each lane.
const AHEAD: usize = 64;

/// What was found in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Its number.
    pub lane: u16,
    /// Frames of each stream that were shown.
    pub frames: [u64; STREAMS],
    /// Numbers between them that no frame bears.
    pub missing: [u64; STREAMS],
    /// It was closed in good order, or the process died and the machine did not: these are all.
    pub whole: bool,
}

/// Keeps other processes from the data directory as long as the file lives, without changing it. `None`: nobody ever locked it.
///
/// # Errors
/// [`OpenError::Locked`], or it cannot be asked.
pub fn keep_others_out(data_dir: &Path) -> Result<Option<File>, OpenError> {
    let path = data_dir.join("lock");
    match hold(&path) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(OpenError::Locked { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(&path, source)),
    }
}

/// Shows every undelivered frame in the data directory `dir`, each lane in order and of all lanes the one next whose `time` is the
/// smallest. `rings`: where they are, if not where the last run had them.
///
/// # Errors
/// There is no journal, the system refused to read it, or `visit` gave up.
pub fn undelivered(
    dir: &Path,
    rings: Option<&Path>,
    time: impl Fn(&Frame<'_>) -> u64,
    mut visit: impl FnMut(u16, &Frame<'_>) -> io::Result<()>,
) -> Result<Vec<Undelivered>, InspectError> {
    let place = Place::find_with(dir, rings)?;
    let lanes = place.lanes()?;
    let place = &place;
    std::thread::scope(|scope| {
        let (mut readers, mut heads) = (Vec::new(), Vec::new());
        for lane in lanes {
            let (sender, receiver) = sync_channel(AHEAD);
            readers.push(scope.spawn(move || read(place, lane, &sender)));
            heads.push((lane, receiver));
        }
        let merged = merge(heads, time, &mut visit);
        // The receivers are gone: a reader that is not at its end gives up, and its error is nobody's.
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        merged.map_err(|source| InspectError::Io { path: dir.to_owned(), source })?;
        let gone = || InspectError::Io { path: dir.to_owned(), source: io::Error::other("a reader panicked") };
        read.into_iter().map(|read| read.unwrap_or_else(|_| Err(gone()))).collect()
    })
}

/// A frame in memory of its own.
struct Kept {
    frame: Frame<'static>,
    payload: Vec<u8>,
}

impl Kept {
    fn of(frame: &Frame<'_>) -> Kept {
        let payload = frame.payload.to_owned();
        Kept { frame: Frame { payload: &[], ..*frame }, payload }
    }

    fn frame(&self) -> Frame<'_> {
        Frame { payload: &self.payload, ..self.frame }
    }
}

fn read(place: &Place, lane: u16, frames: &SyncSender<Kept>) -> Result<Undelivered, InspectError> {
    let whose = place.whose(lane);
    let look = Look::take(&whose, None)?;
    let (delivered, head) = (look.delivered(), look.head());
    let counts: [_; STREAMS] = std::array::from_fn(|stream| look.survey.seqs.count(stream, delivered[stream]).missing);
    let mut found = Undelivered { lane, frames: [0; STREAMS], missing: counts, whole: head.is_some() };
    look.frames(&whose, |frame| {
        let stream = usize::from(frame.stream);
        let mark = Mark { epoch: frame.epoch, next: frame.seq };
        // A frame at the head was written and never published, so its click was never answered.
        let answered = head.is_none_or(|head| frame.pos < head);
        if stream >= STREAMS || mark < delivered[stream] || !answered {
            return Ok(());
        }
        found.frames[stream] += 1;
        frames.send(Kept::of(frame)).map_err(io::Error::other)
    })?;
    Ok(found)
}

fn merge(
    mut lanes: Vec<(u16, Receiver<Kept>)>,
    time: impl Fn(&Frame<'_>) -> u64,
    visit: &mut impl FnMut(u16, &Frame<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut heads: Vec<Option<(u64, Kept)>> = Vec::new();
    let take = |lane: &Receiver<Kept>| lane.recv().ok().map(|kept| (time(&kept.frame()), kept));
    heads.extend(lanes.iter().map(|(_, lane)| take(lane)));
    loop {
        let times = heads.iter().enumerate().filter_map(|(place, head)| Some((head.as_ref()?.0, place)));
        let Some((_, place)) = times.min() else { return Ok(()) };
        let Some((lane, receiver)) = lanes.get_mut(place) else { return Ok(()) };
        if let Some((_, kept)) = heads[place].take() {
            visit(*lane, &kept.frame())?;
        }
        heads[place] = take(receiver);
    }
}
