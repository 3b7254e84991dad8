//! The key ring's file: `keys.json`, mode 0600, always written as a whole.
//!
//! ```json
//! {"version":1,"keys":[{"id":"5fR0yK1x","secret":"…","not_before":"2026-11-01T00:00:00Z","retired_at":null}]}
//! ```
//!
//! `secret` is base64url of at least 32 random bytes. `id` is the secret's fingerprint and is checked. A change is made
//! under a lock file beside the ring: read, write a temporary file, sync, rename, sync the directory. A running server
//! reads the old ring or the new one, never a part. To distrust a key at once, delete its entry.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rand::{TryRng, rngs::SysRng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::attribution::{
    keyring::{KeyId, Keyring, MIN_MASTER_KEY_LEN, MasterKey},
    private_file::{PrivateFileError, parent_dir, read_file_if_private, replace_private_file_atomically_and_sync},
    secret::Secret,
    window::ATTRIBUTION_WINDOW_MS,
};

/// The file's name in the data directory.
pub const FILE_NAME: &str = "keys.json";
const VERSION: u32 = 1;

/// Why a key ring cannot be read or changed. Each message names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file cannot be read or written, or others than its owner may read it.
    #[error("key ring {0}")]
    File(PrivateFileError),
    /// The content is no key ring.
    #[error("key ring {path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The last rotation has not taken effect yet.
    #[error("key ring {path}: key {id} already waits to sign from {from}; rotate again after that")]
    RotationPending {
        /// The file.
        path: PathBuf,
        /// The waiting key.
        id: String,
        /// When the key starts to sign.
        from: Timestamp,
    },
}

// Not by `#[from]`: the message names the file's error already, so the error must not be the source as well.
impl From<PrivateFileError> for KeyringError {
    fn from(error: PrivateFileError) -> KeyringError {
        KeyringError::File(error)
    }
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyringFile {
    version: u32,
    keys: Vec<KeyEntry>,
}

/// One key in the file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: String,
    secret: Secret,
    not_before: Timestamp,
    #[serde(default)]
    retired_at: Option<Timestamp>,
}

impl KeyEntry {
    fn from_key(key: &MasterKey) -> KeyEntry {
        KeyEntry {
            id: id_text(&key.id),
            secret: key.secret.clone(),
            not_before: to_timestamp(key.not_before_ms),
            retired_at: key.retired_at_ms.map(to_timestamp),
        }
    }

    /// A new key with a random secret.
    fn generate_with_random_secret(path: &Path, not_before_ms: u64) -> Result<KeyEntry, KeyringError> {
        let mut secret = vec![0; MIN_MASTER_KEY_LEN];
        SysRng
            .try_fill_bytes(&mut secret)
            .map_err(io::Error::from)
            .map_err(PrivateFileError::on(path, "get random bytes"))?;
        Ok(KeyEntry::from_key(&MasterKey::new(Secret::new(secret), not_before_ms, None)))
    }

    /// Checks the secret's length and fingerprint, and derives the key.
    fn check_and_derive_key(&self) -> Result<MasterKey, String> {
        let len = self.secret.bytes().len();
        if len < MIN_MASTER_KEY_LEN {
            return Err(format!("key {}: secret has {len} bytes, at least {MIN_MASTER_KEY_LEN} are needed", self.id));
        }
        let key = MasterKey::new(self.secret.clone(), to_ms(self.not_before), self.retired_at.map(to_ms));
        if key.id != self.id.as_bytes() {
            let actual = id_text(&key.id);
            return Err(format!(
                "key {}: the secret is not the one of this id but of {actual}; restore the file",
                self.id
            ));
        }
        Ok(key)
    }

    /// Retires the key at this time, unless it retires earlier.
    fn retire_no_later_than(&mut self, at_ms: u64) {
        if self.retired_at.is_none_or(|retired| to_ms(retired) > at_ms) {
            self.retired_at = Some(to_timestamp(at_ms));
        }
    }

    /// Whether each token that the key signed has expired. A day is added, because clocks differ.
    fn is_past_use(&self, now_ms: u64) -> bool {
        self.retired_at.is_some_and(|retired| to_ms(retired) + ATTRIBUTION_WINDOW_MS + 86_400_000 < now_ms)
    }
}

fn id_text(id: &KeyId) -> String {
    String::from_utf8_lossy(id).into_owned()
}

fn to_ms(at: Timestamp) -> u64 {
    at.as_millisecond().try_into().unwrap_or(0)
}

fn to_timestamp(at_ms: u64) -> Timestamp {
    i64::try_from(at_ms).ok().and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::MAX)
}

fn content_error(path: &Path, reason: impl Into<String>) -> KeyringError {
    KeyringError::Content { path: path.to_owned(), reason: reason.into() }
}

impl Keyring {
    /// Loads a ring from its file. At a reload, the caller keeps the old ring on an error.
    pub fn load(path: &Path) -> Result<Keyring, KeyringError> {
        Keyring::parse(path, &read_file_if_private(path)?)
    }

    /// Loads a ring from its file. If there is no file, creates one with one new key first.
    pub fn load_or_create_file_with_new_key(path: &Path, now_ms: u64) -> Result<Keyring, KeyringError> {
        if !exists(path)? {
            let _lock = wait_for_keyring_lock(path)?;
            if !exists(path)? {
                let file =
                    KeyringFile { version: VERSION, keys: vec![KeyEntry::generate_with_random_secret(path, now_ms)?] };
                file.write(path)?;
            }
        }
        Keyring::load(path)
    }

    /// A ring with one new key that is in no file: its tokens are worth nothing.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate_without_file(now_ms: u64) -> Result<Keyring, KeyringError> {
        let path = Path::new("(in memory)");
        let keys = vec![KeyEntry::generate_with_random_secret(path, now_ms)?];
        KeyringFile { version: VERSION, keys }.into_keyring_if_one_key_can_sign(path)
    }

    /// Parses the bytes of a ring's file. `path` names them in errors.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Keyring, KeyringError> {
        KeyringFile::parse_and_check_keys(path, bytes)?.into_keyring_if_one_key_can_sign(path)
    }

    /// The ring with its secrets as JSON, as the file has it, for the other edges of a fleet.
    pub fn export_with_secrets(&self) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let file = KeyringFile { version: VERSION, keys: self.keys().iter().map(KeyEntry::from_key).collect() };
        file.to_json(Path::new("(exported)"))
    }
}

/// A rotated ring.
#[derive(Debug)]
pub struct RotatedKeyring {
    /// The id of the added key.
    pub new_key: KeyId,
    /// The new ring.
    pub ring: Keyring,
}

/// Adds a key that signs from `signs_from_ms` on, and retires all others at that time; each edge must have the new ring
/// by then. Keys whose tokens have all expired are removed.
pub fn add_signing_key_retire_others_and_write_file(
    path: &Path,
    now_ms: u64,
    signs_from_ms: u64,
) -> Result<RotatedKeyring, KeyringError> {
    let _lock = wait_for_keyring_lock(path)?;
    let mut file = KeyringFile::parse_and_check_keys(path, &read_file_if_private(path)?)?;
    let waiting = |key: &&KeyEntry| key.retired_at.is_none() && to_ms(key.not_before) > now_ms;
    if let Some(key) = file.keys.iter().find(waiting) {
        let (id, from) = (key.id.clone(), key.not_before);
        return Err(KeyringError::RotationPending { path: path.to_owned(), id, from });
    }
    file.keys.retain(|key| !key.is_past_use(now_ms));
    for key in &mut file.keys {
        key.retire_no_later_than(signs_from_ms);
    }
    let key = KeyEntry::generate_with_random_secret(path, signs_from_ms)?;
    let new_key = key.check_and_derive_key().map_err(|reason| content_error(path, reason))?.id;
    file.keys.push(key);
    file.write(path)?;
    Ok(RotatedKeyring { new_key, ring: Keyring::load(path)? })
}

/// What an import does with keys that only this edge has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnKeys {
    /// Retires them now: their tokens stay valid for 14 days.
    Retire,
    /// Removes them: their tokens are refused at once.
    Remove,
}

/// Replaces the ring's file by an exported ring. The exported keys keep their times. The file is created if it is
/// missing.
pub fn replace_keyring_file_and_retire_or_drop_own_keys(
    path: &Path,
    exported: &[u8],
    now_ms: u64,
    own_keys: OwnKeys,
) -> Result<Keyring, KeyringError> {
    let source = Path::new("(imported)");
    Keyring::parse(source, exported)?;
    let mut file = KeyringFile::parse_and_check_keys(source, exported)?;
    if let Some(dir) = parent_dir(path) {
        fs::create_dir_all(dir).map_err(PrivateFileError::on(path, "make its directory"))?;
    }
    let _lock = wait_for_keyring_lock(path)?;
    if own_keys == OwnKeys::Retire && exists(path)? {
        let own = KeyringFile::parse_and_check_keys(path, &read_file_if_private(path)?)?;
        let is_only_here = |key: &KeyEntry| file.keys.iter().all(|imported| imported.id != key.id);
        let mut kept: Vec<KeyEntry> =
            own.keys.into_iter().filter(|key| is_only_here(key) && !key.is_past_use(now_ms)).collect();
        kept.iter_mut().for_each(|key| key.retire_no_later_than(now_ms));
        file.keys.extend(kept);
    }
    file.write(path)?;
    Keyring::load(path)
}

impl KeyringFile {
    /// Parses the file's bytes, and checks the version and each key.
    fn parse_and_check_keys(path: &Path, bytes: &[u8]) -> Result<KeyringFile, KeyringError> {
        let file: KeyringFile =
            serde_json::from_slice(bytes).map_err(|error| content_error(path, error.to_string()))?;
        if file.version != VERSION {
            let reason = format!("version {} is not known to this build, only {VERSION}", file.version);
            return Err(content_error(path, reason));
        }
        file.check_and_derive_keys(path)?;
        Ok(file)
    }

    fn check_and_derive_keys(&self, path: &Path) -> Result<Vec<MasterKey>, KeyringError> {
        let keys: Result<Vec<MasterKey>, String> = self.keys.iter().map(KeyEntry::check_and_derive_key).collect();
        let keys = keys.map_err(|reason| content_error(path, reason))?;
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|other| other.id == key.id) {
                let reason = format!("key {} stands there twice; delete one entry", id_text(&key.id));
                return Err(content_error(path, reason));
            }
        }
        Ok(keys)
    }

    fn into_keyring_if_one_key_can_sign(self, path: &Path) -> Result<Keyring, KeyringError> {
        Keyring::new(self.check_and_derive_keys(path)?).ok_or_else(|| {
            content_error(path, "no key is left to sign: one at least must have no `retired_at`; restore the file")
        })
    }

    fn write(&self, path: &Path) -> Result<(), KeyringError> {
        Ok(replace_private_file_atomically_and_sync(path, &self.to_json(path)?)?)
    }

    fn to_json(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        // The capacity is enough for all of it: a buffer that grows leaves copies behind that are not wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(256 * self.keys.len() + 256));
        serde_json::to_writer_pretty(&mut *bytes, self).map_err(|error| content_error(path, error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn exists(path: &Path) -> Result<bool, PrivateFileError> {
    path.try_exists().map_err(PrivateFileError::on(path, "look for it"))
}

/// Locks the file beside the ring, so that two commands do not overwrite each other's key. The lock ends when the
/// result is dropped.
fn wait_for_keyring_lock(path: &Path) -> Result<File, PrivateFileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lock_path = path.with_file_name(format!(".{name}.lock"));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock_path);
    let file = file.map_err(PrivateFileError::on(path, "open its lock file"))?;
    file.lock().map_err(PrivateFileError::on(path, "lock it"))?;
    Ok(file)
}
