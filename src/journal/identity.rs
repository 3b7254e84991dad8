//! The id of a journal's directory: created once, and found again in its rings and segments if its file is lost. Each
//! log has an id of its own, so that a frame of one log is never read as a frame of another.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use rand::{TryRng, rngs::SysRng};

use crate::{
    faults::{self, log_fault},
    journal::{
        bytes::{put_bytes, put_u32_le, put_u64_le, u64_le_at},
        disk::{Disk, PendingFile},
        error::{OpenError, io_error},
        layout,
        ring_file::{RingFile, RingLookup},
        segment::{SEGMENT_HEADER, SegmentHeader},
    },
};

const MAGIC: [u8; 8] = *b"WPJOURN\n";
const VERSION: usize = MAGIC.len();
const ID: usize = VERSION + 8;
const CRC: usize = ID + 8;
const END: usize = CRC + 4;

/// Reads the directory's id. If its file is lost or damaged, takes the id from a ring or a segment; in a new directory,
/// makes one. Moves a damaged file to the quarantine.
///
/// # Errors
/// [`OpenError::ForeignRingBesideNewJournal`] if the directory is new and rings of another one are in `ring_dir`.
pub(super) fn read_recover_or_create_directory_id(
    disk: &Disk,
    journal_dir: &Path,
    ring_dir: &Path,
) -> Result<u64, OpenError> {
    let path = journal_dir.join(layout::DIRECTORY_ID);
    match read_directory_id_if_present(disk, &path) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            log_fault!(
                error,
                faults::DIRECTORY_ID_DAMAGED,
                path = %path.display(),
                "the id of the directory is damaged: moved to the quarantine"
            );
            let quarantine = journal_dir.join(layout::QUARANTINE);
            layout::move_to_quarantine_under_free_name(disk, &path, &quarantine, layout::DIRECTORY_ID.as_ref())
                .map_err(|source| io_error(&path, source))?;
        }
        Err(source) => return Err(io_error(&path, source)),
    }
    let known = find_directory_id_in_rings_or_segments(disk, journal_dir, ring_dir)
        .map_err(|source| io_error(journal_dir, source))?;
    let id = match known {
        Some(id) => id,
        // Checked before anything is written here, so that a refused start leaves the directory new.
        None if let Some((lane, ring)) =
            find_any_readable_ring_lane_and_path(disk, ring_dir).map_err(|source| io_error(ring_dir, source))? =>
        {
            return Err(OpenError::ForeignRingBesideNewJournal {
                path: ring,
                lane: journal_dir.join(layout::lane_dir_name(lane)),
            });
        }
        None => SysRng.try_next_u64().map_err(|error| io_error(&path, io::Error::other(error)))?,
    };
    create_or_replace_synced_file(disk, journal_dir, layout::DIRECTORY_ID, &encode(id))?;
    Ok(id)
}

/// Reads the id in the file `path`; `None`: there is no file. Fails with `InvalidData` if the file is damaged.
pub(super) fn read_directory_id_if_present(disk: &Disk, path: &Path) -> io::Result<Option<u64>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; END];
    let got = disk.read_at_marking_unreadable_pages(&file, &mut bytes, 0)?.len;
    let crc = crc32c::crc32c(&bytes[..CRC]).to_le_bytes();
    match got == END && bytes[..MAGIC.len()] == MAGIC && bytes[CRC..] == crc {
        true => Ok(Some(u64_le_at(&bytes, ID))),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the id of the directory is damaged")),
    }
}

/// Creates or replaces the file `name` in the journal directory, durably.
pub(super) fn create_or_replace_synced_file(
    disk: &Disk,
    journal_dir: &Path,
    name: &str,
    bytes: &[u8],
) -> Result<(), OpenError> {
    let path = journal_dir.join(name);
    PendingFile::create_temporary_replacing_leftover(disk, &path)
        .and_then(|pending| pending.write_start_sync_and_rename(bytes, &path))
        .and_then(|_| disk.sync_dir(journal_dir))
        .map_err(|source| io_error(&path, source))
}

/// The directory's id as a ring or a segment names it.
pub(super) fn find_directory_id_in_rings_or_segments(
    disk: &Disk,
    journal_dir: &Path,
    ring_dir: &Path,
) -> io::Result<Option<u64>> {
    for lane in layout::list_lane_numbers_sorted(journal_dir)? {
        let ring = RingFile::open_and_verify_header(disk, &ring_dir.join(layout::ring_file_name(lane)), false);
        if let Ok(RingLookup::Found(ring)) = ring {
            return Ok(Some(ring.header.lane_id.directory_id));
        }
    }
    for entry in std::fs::read_dir(journal_dir)? {
        let path = entry?.path();
        let mut bytes = [0; SEGMENT_HEADER];
        if path.file_name().and_then(layout::parse_segment_file_name).is_some()
            && disk.read_at_marking_unreadable_pages(&File::open(&path)?, &mut bytes, 0)?.len == bytes.len()
            && let Some(header) = SegmentHeader::decode_if_valid(&bytes)
        {
            return Ok(Some(header.directory_id));
        }
    }
    Ok(None)
}

/// Finds a readable ring in `ring_dir`, of any directory; gives its lane and path.
fn find_any_readable_ring_lane_and_path(disk: &Disk, ring_dir: &Path) -> io::Result<Option<(u16, PathBuf)>> {
    for entry in std::fs::read_dir(ring_dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ring")
            && let Ok(RingLookup::Found(ring)) = RingFile::open_and_verify_header(disk, &path, false)
        {
            return Ok(Some((ring.header.lane_id.lane, path)));
        }
    }
    Ok(None)
}

fn encode(id: u64) -> [u8; END] {
    let mut bytes = [0; END];
    put_bytes(&mut bytes, 0, &MAGIC);
    put_u32_le(&mut bytes, VERSION, 1);
    put_u64_le(&mut bytes, ID, id);
    let crc = crc32c::crc32c(&bytes[..CRC]);
    put_u32_le(&mut bytes, CRC, crc);
    bytes
}
