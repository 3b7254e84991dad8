//! What a data directory knows of itself: its id, and where its rings are.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use rand::{TryRng, rngs::SysRng};

use crate::{
    faults::{self, say},
    journal::{
        checkpoint,
        disk::{Disk, Unfinished},
        error::{OpenError, io_error},
        frame::{put, u64_at},
        layout,
        ringfile::{self, RingFile},
        segment::{self, Head, read_up_to},
    },
};

const MAGIC: [u8; 8] = *b"WPJOURN\n";
const VERSION: usize = MAGIC.len();
const ID: usize = VERSION + 8;
const ID_CRC: usize = ID + 8;
const ID_END: usize = ID_CRC + 4;

/// What stands for the journal's own directory, so that it may be moved.
const HERE: &[u8] = b".";

/// The directory's id: read, or made once. If its file is lost while others are there, they still know it.
pub(super) fn directory_id(disk: &Disk, journal: &Path, rings: &Path) -> Result<u64, OpenError> {
    let path = journal.join(layout::DIRECTORY);
    match read_directory_id(&path) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            say!(
                error,
                faults::DIRECTORY_ID_DAMAGED,
                path = %path.display(),
                "the id of the directory is damaged: put aside"
            );
            layout::put_aside(disk, &path, &journal.join(layout::QUARANTINE), layout::DIRECTORY.as_ref())
                .map_err(|source| io_error(&path, source))?;
        }
        Err(source) => return Err(io_error(&path, source)),
    }
    let known = known_elsewhere(journal, rings).map_err(|source| io_error(journal, source))?;
    let id = match known {
        Some(id) => id,
        // Looked for before anything is written here, so that a start that is refused leaves the directory new.
        None if let Some((lane, ring)) = any_ring(rings).map_err(|source| io_error(rings, source))? => {
            return Err(OpenError::OrphanRing { path: ring, lane: journal.join(layout::lane_name(lane)) });
        }
        None => SysRng.try_next_u64().map_err(|error| io_error(&path, io::Error::other(error)))?,
    };
    write_whole(disk, journal, layout::DIRECTORY, &encode(id))?;
    Ok(id)
}

/// The id as a ring or a segment tells it.
fn known_elsewhere(journal: &Path, rings: &Path) -> io::Result<Option<u64>> {
    for lane in layout::lanes(journal)? {
        if let Ok(ringfile::Found::Ring(ring)) = RingFile::open(&rings.join(layout::ring_name(lane)), false) {
            return Ok(Some(ring.fixed.directory));
        }
        for entry in std::fs::read_dir(journal.join(layout::lane_name(lane)))? {
            let path = entry?.path();
            let mut head = [0; segment::HEADER];
            if path.file_name().and_then(layout::segment_number).is_some()
                && read_up_to(&File::open(&path)?, &mut head, 0)? == head.len()
                && let Some(head) = Head::decode(&head)
            {
                return Ok(Some(head.directory));
            }
        }
    }
    Ok(None)
}

/// A ring whose first line is sound, and its lane.
fn any_ring(rings: &Path) -> io::Result<Option<(u16, PathBuf)>> {
    for entry in std::fs::read_dir(rings)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "ring")
            && let Ok(ringfile::Found::Ring(ring)) = RingFile::open(&path, false)
        {
            return Ok(Some((ring.fixed.lane, path)));
        }
    }
    Ok(None)
}

/// Notes where the rings are. Refuses to look elsewhere while those of the last run may hold clicks.
pub(super) fn keep_rings(disk: &Disk, journal: &Path, rings: &Path, directory: u64) -> Result<(), OpenError> {
    let note = journal.join(layout::RINGS);
    let was = read_rings(journal).map_err(|source| io_error(&note, source))?;
    if was.as_deref() == Some(rings) {
        return Ok(());
    }
    if let Some(was) = was
        && !all_clean(journal, directory).map_err(|source| io_error(journal, source))?
    {
        return Err(OpenError::RingsMoved { was, now: rings.to_owned(), note });
    }
    note_rings(disk, journal, rings)
}

/// Notes where the rings are, whatever was noted before.
pub(super) fn note_rings(disk: &Disk, journal: &Path, rings: &Path) -> Result<(), OpenError> {
    let text = if rings == journal { HERE } else { rings.as_os_str().as_encoded_bytes() };
    write_whole(disk, journal, layout::RINGS, text)
}

/// The directory that was noted, if it is another than the journal's and rings of this journal are there. Elsewhere its path may
/// be another edge's, or nobody's.
pub(super) fn rings_here(journal: &Path) -> io::Result<Option<PathBuf>> {
    let Some(rings) = read_rings(journal)?.filter(|rings| rings != journal) else { return Ok(None) };
    let directory = read_directory_id(&journal.join(layout::DIRECTORY)).unwrap_or_default();
    let ours = |path: &Path| match RingFile::open(path, false) {
        Ok(ringfile::Found::Ring(ring)) => Ok(directory.is_none_or(|id| ring.fixed.directory == id)),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    let entries = match std::fs::read_dir(&rings) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "ring" || kind == "salvage") && ours(&path)? {
            return Ok(Some(rings));
        }
    }
    Ok(None)
}

/// The first lane that was not closed in good order and whose ring is not there.
pub(super) fn lane_without_ring(journal: &Path, rings: &Path, directory: u64) -> io::Result<Option<u16>> {
    for lane in layout::lanes(journal)? {
        if closed(journal, directory, lane)? == Some(false) {
            let ring = RingFile::open(&rings.join(layout::ring_name(lane)), false)?;
            if !matches!(ring, ringfile::Found::Ring(ring) if ring.fixed.directory == directory) {
                return Ok(Some(lane));
            }
        }
    }
    Ok(None)
}

/// Where the rings of the last run are; `None`: nobody noted it.
pub(super) fn read_rings(journal: &Path) -> io::Result<Option<PathBuf>> {
    match std::fs::read(journal.join(layout::RINGS)) {
        Ok(text) if text == HERE => Ok(Some(journal.to_owned())),
        Ok(text) => Ok(Some(PathBuf::from(OsString::from_vec(text)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn all_clean(journal: &Path, directory: u64) -> io::Result<bool> {
    for lane in layout::lanes(journal)? {
        if closed(journal, directory, lane)? == Some(false) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the lane was closed in good order; `None` before its first checkpoint, when it has no ring either.
fn closed(journal: &Path, directory: u64, lane: u16) -> io::Result<Option<bool>> {
    let file = match File::open(journal.join(layout::lane_name(lane)).join(layout::CHECKPOINT)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (_, found) = checkpoint::read(&file, directory, lane)?;
    Ok(Some(found.is_some_and(|(_, checkpoint)| checkpoint.clean.is_some())))
}

fn write_whole(disk: &Disk, journal: &Path, name: &str, bytes: &[u8]) -> Result<(), OpenError> {
    let path = journal.join(name);
    Unfinished::begin(disk, &path)
        .and_then(|unfinished| unfinished.finish(bytes, &path))
        .and_then(|_| disk.sync_dir(journal))
        .map_err(|source| io_error(&path, source))
}

fn encode(id: u64) -> [u8; ID_END] {
    let mut bytes = [0; ID_END];
    put(&mut bytes, 0, &MAGIC);
    put(&mut bytes, VERSION, &1u32.to_le_bytes());
    put(&mut bytes, ID, &id.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..ID_CRC]);
    put(&mut bytes, ID_CRC, &crc.to_le_bytes());
    bytes
}

/// The id in `directory`; `None`: there is none. `InvalidData`: it is damaged.
pub(super) fn read_directory_id(path: &Path) -> io::Result<Option<u64>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; ID_END];
    let got = read_up_to(&file, &mut bytes, 0)?;
    let crc = crc32c::crc32c(&bytes[..ID_CRC]).to_le_bytes();
    match got == ID_END && bytes[..MAGIC.len()] == MAGIC && bytes[ID_CRC..] == crc {
        true => Ok(Some(u64_at(&bytes, ID))),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the id of the directory is damaged")),
    }
}
