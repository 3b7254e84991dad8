//! The key ring's file: `keys.json`, mode 0600, written whole or not at all.
//!
//! ```json
//! {"version":1,"keys":[{"id":"5fR0yK1x","secret":"…","not_before":"2026-11-01T00:00:00Z","retired_at":null}]}
//! ```
//!
//! `secret` is base64url of at least 32 random bytes; `id` is its fingerprint and is checked. Changes happen under a lock
//! beside the file: read, write a temporary file, sync it, rename it, sync the directory. A running server sees a whole
//! ring, old or new. To distrust a key at once, delete its entry.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rand::{TryRng, rngs::SysRng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::attribution::{
    LIFETIME_MS,
    keys::{Key, KeyId, Keyring, MASTER_MIN, Secret},
};

/// The file's name in the data directory.
pub const NAME: &str = "keys.json";
const VERSION: u32 = 1;
/// The largest file that is read: thousands of keys.
const MAX_BYTES: u64 = 1 << 20;

/// Why a ring cannot be read or changed. Every message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file system refused.
    #[error("key ring {path}: cannot {doing}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("key ring {path}: mode {mode:04o} lets others than its owner at the keys; run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content is no key ring.
    #[error("key ring {path}: {why}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is allowed.
        why: String,
    },
    /// A rotation has not come into force yet.
    #[error("key ring {path}: key {id} already waits to sign from {from}; rotate again after that")]
    Waiting {
        /// The file.
        path: PathBuf,
        /// The waiting key.
        id: String,
        /// When it begins to sign.
        from: Timestamp,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    version: u32,
    keys: Vec<Entry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    secret: Secret,
    not_before: Timestamp,
    #[serde(default)]
    retired_at: Option<Timestamp>,
}

impl Entry {
    fn key(&self) -> Result<Key, String> {
        let bytes = self.secret.bytes();
        if bytes.len() < MASTER_MIN {
            return Err(format!("key {}: secret has {} bytes, at least {MASTER_MIN} are needed", self.id, bytes.len()));
        }
        let key = Key::new(self.secret.clone(), ms(self.not_before), self.retired_at.map(ms));
        if key.id != self.id.as_bytes() {
            let is = String::from_utf8_lossy(&key.id).into_owned();
            return Err(format!("key {}: the secret is not the one of this id but of {is}; restore the file", self.id));
        }
        Ok(key)
    }

    fn of(key: &Key) -> Entry {
        Entry {
            id: text(&key.id),
            secret: key.secret.clone(),
            not_before: timestamp(key.not_before_ms),
            retired_at: key.retired_at_ms.map(timestamp),
        }
    }

    fn retire(&mut self, at_ms: u64) {
        if self.retired_at.is_none_or(|retired| ms(retired) > at_ms) {
            self.retired_at = Some(timestamp(at_ms));
        }
    }

    /// Whether nothing that it signed can still be good; a day is left for clocks that differ.
    fn spent(&self, now_ms: u64) -> bool {
        self.retired_at.is_some_and(|retired| ms(retired) + LIFETIME_MS + 86_400_000 < now_ms)
    }
}

fn text(id: &KeyId) -> String {
    String::from_utf8_lossy(id).into_owned()
}

fn ms(at: Timestamp) -> u64 {
    at.as_millisecond().try_into().unwrap_or(0)
}

fn timestamp(at_ms: u64) -> Timestamp {
    i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::MAX)
}

fn io_error<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(io::Error) -> RingError + 'a {
    move |source| RingError::Io { path: path.to_owned(), doing, source }
}

fn content(path: &Path, why: impl Into<String>) -> RingError {
    RingError::Content { path: path.to_owned(), why: why.into() }
}

impl Keyring {
    /// Reads a ring's file. Pure but for the reading: at a reload, whoever calls keeps the old ring on an error.
    pub fn load(path: &Path) -> Result<Keyring, RingError> {
        Keyring::parse(path, &read_private(path)?)
    }

    /// Reads a ring's file, and makes it with one fresh key if there is none. Called once, at start.
    pub fn open(path: &Path, now_ms: u64) -> Result<Keyring, RingError> {
        if !exists(path)? {
            let _lock = lock(path)?;
            if !exists(path)? {
                let ring = Ring { version: VERSION, keys: vec![fresh(path, now_ms)?] };
                write(path, &ring)?;
            }
        }
        Keyring::load(path)
    }

    /// The ring of these bytes; `path` names them in errors.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Keyring, RingError> {
        parse_ring(path, bytes)?.1.ok_or_else(|| {
            content(path, "no key is left to sign: one at least must have no `retired_at`; restore the file")
        })
    }

    /// The whole ring as its file holds it, for the other edges of a fleet. It is a secret.
    pub fn export(&self) -> Result<Zeroizing<Vec<u8>>, RingError> {
        let ring = Ring { version: VERSION, keys: self.keys().iter().map(Entry::of).collect() };
        to_json(Path::new("(exported)"), &ring)
    }
}

/// Adds a key that signs from `from_ms` on and retires the others at that time: every edge must have the new ring by then.
/// Keys whose tokens have all expired are dropped. Returns the new key's id and the new ring.
pub fn rotate(path: &Path, now_ms: u64, from_ms: u64) -> Result<(KeyId, Keyring), RingError> {
    let _lock = lock(path)?;
    let (mut ring, _) = parse_ring(path, &read_private(path)?)?;
    if let Some(key) = ring.keys.iter().find(|key| key.retired_at.is_none() && ms(key.not_before) > now_ms) {
        return Err(RingError::Waiting { path: path.to_owned(), id: key.id.clone(), from: key.not_before });
    }
    ring.keys.retain(|key| !key.spent(now_ms));
    for key in &mut ring.keys {
        key.retire(from_ms);
    }
    let key = fresh(path, from_ms)?;
    let id = key.key().map_err(|why| content(path, why))?.id;
    ring.keys.push(key);
    write(path, &ring)?;
    Ok((id, Keyring::load(path)?))
}

/// Takes an exported ring: its keys and their times count as they stand there. Keys that only this edge had are retired
/// now, so that what they signed stays good for its 14 days, or dropped if `replace`. The file is made if it is missing.
pub fn import(path: &Path, exported: &[u8], now_ms: u64, replace: bool) -> Result<Keyring, RingError> {
    let from = Path::new("(imported)");
    Keyring::parse(from, exported)?;
    let (mut ring, _) = parse_ring(from, exported)?;
    if let Some(dir) = parent(path) {
        fs::create_dir_all(dir).map_err(io_error(path, "make its directory"))?;
    }
    let _lock = lock(path)?;
    if !replace && exists(path)? {
        let (own, _) = parse_ring(path, &read_private(path)?)?;
        let only_here = |key: &Entry| ring.keys.iter().all(|other| other.id != key.id) && !key.spent(now_ms);
        let mut kept: Vec<Entry> = own.keys.into_iter().filter(only_here).collect();
        kept.iter_mut().for_each(|key| key.retire(now_ms));
        ring.keys.extend(kept);
    }
    write(path, &ring)?;
    Keyring::load(path)
}

fn parse_ring(path: &Path, bytes: &[u8]) -> Result<(Ring, Option<Keyring>), RingError> {
    let ring: Ring = serde_json::from_slice(bytes).map_err(|error| content(path, error.to_string()))?;
    if ring.version != VERSION {
        return Err(content(path, format!("version {} is not known to this build, only {VERSION}", ring.version)));
    }
    let keys: Result<Vec<Key>, String> = ring.keys.iter().map(Entry::key).collect();
    let keys = keys.map_err(|why| content(path, why))?;
    for (at, key) in keys.iter().enumerate() {
        if keys[..at].iter().any(|other| other.id == key.id) {
            return Err(content(path, format!("key {} stands there twice; delete one entry", text(&key.id))));
        }
    }
    Ok((ring, Keyring::new(keys)))
}

fn fresh(path: &Path, not_before_ms: u64) -> Result<Entry, RingError> {
    let mut bytes = vec![0; MASTER_MIN];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::from).map_err(io_error(path, "get random bytes"))?;
    Ok(Entry::of(&Key::new(Secret::new(bytes), not_before_ms, None)))
}

fn exists(path: &Path) -> Result<bool, RingError> {
    path.try_exists().map_err(io_error(path, "look for it"))
}

/// Reads a file that only its owner may have at; asks the open file, not its name.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, RingError> {
    let file = File::open(path).map_err(io_error(path, "open it"))?;
    let mode = file.metadata().map_err(io_error(path, "read its mode"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(RingError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io_error(path, "read it"))?;
    Ok(bytes)
}

/// Writes a secret file, mode 0600: temporary file, sync, rename, sync of the directory.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), RingError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_synced(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is left would hold keys; that it cannot be removed either changes nothing about the error.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(io_error(path, "write it"))?;
    let dir = parent(path).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error(path, "sync its directory"))
}

fn write_synced(temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|dir| !dir.as_os_str().is_empty())
}

fn write(path: &Path, ring: &Ring) -> Result<(), RingError> {
    write_private(path, &to_json(path, ring)?)
}

fn to_json(path: &Path, ring: &Ring) -> Result<Zeroizing<Vec<u8>>, RingError> {
    // Room for all of it: a buffer that grows leaves unwiped copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(256 * ring.keys.len() + 256));
    serde_json::to_writer_pretty(&mut *bytes, ring).map_err(|error| content(path, error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Held while the file is read and changed, so that two commands do not lose each other's key.
fn lock(path: &Path) -> Result<File, RingError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.lock"));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(beside);
    let file = file.map_err(io_error(path, "open its lock file"))?;
    file.lock().map_err(io_error(path, "lock it"))?;
    Ok(file)
}
