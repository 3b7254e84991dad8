//! Exports every undelivered frame of a data directory on which no process runs. Nothing is changed, so a read-only
//! copy will do.

use std::{
    fs::File,
    io,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
};

use crate::journal::{
    disk::{Disk, try_lock_existing_file},
    error::{OpenError, io_error},
    frame::Frame,
    inspect::{InspectError, JournalLocation, LaneSnapshot, read_snapshots_of_all_lanes},
};

/// Frames read ahead of each lane.
const READ_AHEAD: usize = 64;

/// What was exported of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedLane {
    /// The lane's number.
    pub lane: u16,
    /// Exported frames.
    pub frames: u64,
    /// Numbers between them for which there is no frame.
    pub missing: u64,
    /// These are all the clicks: the lane was closed in good order, or the process died and the machine did not.
    pub is_complete: bool,
}

/// Locks the data directory against other processes as long as the returned file lives, without a change to it. `None`:
/// there is no lock file, so no process ever ran there.
///
/// # Errors
/// [`OpenError::Locked`], or the system refused to lock.
pub fn lock_data_dir_if_lock_file_exists(data_dir: &Path) -> Result<Option<File>, OpenError> {
    let path = data_dir.join("lock");
    match try_lock_existing_file(&path) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(OpenError::locked(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(&path, source)),
    }
}

/// Shows every undelivered frame of a log in the data directory `dir`: each lane in order, and of all lanes the frame
/// next whose `time_of` is the smallest. `ring_dir`: where the rings are, if not where the last run had them.
///
/// # Errors
/// There is no journal, the system refused to read it, or `visit` failed.
pub fn visit_undelivered_by_time_and_count_by_lane(
    dir: &Path,
    log: &'static str,
    ring_dir: Option<&Path>,
    time_of: impl Fn(&Frame<'_>) -> u64,
    mut visit: impl FnMut(u16, &Frame<'_>) -> io::Result<()>,
) -> Result<Vec<ExportedLane>, InspectError> {
    let location = JournalLocation::find_in_data_or_journals_dir(&Disk::default(), dir, log, ring_dir)?;
    let snapshots = read_snapshots_of_all_lanes(&location, None)?;
    let location = &location;
    std::thread::scope(|scope| {
        let (mut threads, mut channels) = (Vec::new(), Vec::new());
        for (lane, snapshot) in snapshots {
            let (sender, receiver) = sync_channel(READ_AHEAD);
            threads
                .push(scope.spawn(move || send_undelivered_frames_and_count_them(location, lane, snapshot, &sender)));
            channels.push(LaneChannel { lane, receiver });
        }
        let merged = visit_frames_merged_by_time(channels, time_of, &mut visit);
        // The receivers are gone. A thread that is not at its end stops with an error that does not count.
        let exported: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        merged.map_err(|source| InspectError::Io { path: dir.to_owned(), source })?;
        let panicked =
            || InspectError::Io { path: dir.to_owned(), source: io::Error::other("a reading thread panicked") };
        exported.into_iter().map(|lane| lane.unwrap_or_else(|_| Err(panicked()))).collect()
    })
}

/// A frame with a payload of its own.
struct OwnedFrame {
    /// With an empty payload.
    header: Frame<'static>,
    payload: Vec<u8>,
}

impl OwnedFrame {
    fn copy_of(frame: &Frame<'_>) -> OwnedFrame {
        let payload = frame.payload.to_owned();
        OwnedFrame { header: Frame { payload: &[], ..*frame }, payload }
    }

    fn as_frame(&self) -> Frame<'_> {
        Frame { payload: &self.payload, ..self.header }
    }
}

/// The frames of a lane, sent by its reading thread.
struct LaneChannel {
    lane: u16,
    receiver: Receiver<OwnedFrame>,
}

/// Sends the undelivered frames of a lane into the channel, and counts them.
fn send_undelivered_frames_and_count_them(
    location: &JournalLocation,
    lane: u16,
    snapshot: LaneSnapshot,
    sender: &SyncSender<OwnedFrame>,
) -> Result<ExportedLane, InspectError> {
    let files = location.lane_files(lane);
    let (delivered, head) = (snapshot.delivered_watermark(), snapshot.find_end_of_answered_clicks());
    let missing = snapshot.scan.frames.seqs.count_present_and_surely_missing_from(delivered).missing;
    let mut exported = ExportedLane { lane, frames: 0, missing, is_complete: head.is_some() };
    snapshot.visit_all_frames_in_order(&files, |frame| {
        // A frame at the head was written and not published, so its click was not answered.
        let is_answered = head.is_none_or(|head| frame.position < head);
        if delivered.covers(frame.epoch, frame.seq) || !is_answered {
            return Ok(());
        }
        exported.frames += 1;
        sender.send(OwnedFrame::copy_of(frame)).map_err(io::Error::other)
    })?;
    Ok(exported)
}

/// Shows the frames of all channels, each time the one with the smallest time.
fn visit_frames_merged_by_time(
    channels: Vec<LaneChannel>,
    time_of: impl Fn(&Frame<'_>) -> u64,
    visit: &mut impl FnMut(u16, &Frame<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let receive = |channel: &LaneChannel| {
        let frame = channel.receiver.recv().ok()?;
        Some((time_of(&frame.as_frame()), frame))
    };
    let mut heads: Vec<Option<(u64, OwnedFrame)>> = channels.iter().map(receive).collect();
    loop {
        let times = heads.iter().enumerate().filter_map(|(index, head)| Some((head.as_ref()?.0, index)));
        let Some((_, index)) = times.min() else { return Ok(()) };
        if let Some((_, frame)) = heads[index].take() {
            visit(channels[index].lane, &frame.as_frame())?;
        }
        heads[index] = receive(&channels[index]);
    }
}
