//! The edge's name: given by `edge.id`, or created once and kept in the data directory.
//!
//! Every click carries the name, and the proof that no click is missing counts per edge. So a data directory keeps one
//! name for life. The name is never the hostname, which a copied machine keeps.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rand::{TryRng, rngs::SysRng};

use crate::config::is_edge_id;

/// The file in the data directory.
const FILE: &str = "edge.id";

/// The name that belongs to this data directory, which exists and is locked. Creates the file at the first start.
///
/// # Errors
/// `configured` differs from the stored name: clicks that are still in the journal would be delivered under the new
/// name, and their numbers could not be proved.
pub(super) fn load_edge_id_or_save_configured_or_random(data_dir: &Path, configured: Option<&str>) -> Result<String> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(stored) => {
            let stored = stored.trim().to_owned();
            if !is_edge_id(&stored) {
                bail!("{}: `{stored}` is not an edge's name: 1 to 63 of a-z, 0-9 and -", path.display());
            }
            if let Some(configured) = configured.filter(|configured| *configured != stored) {
                bail!(
                    "edge.id is `{configured}`, but {} belongs to edge `{stored}` and its clicks carry that name: set \
                     edge.id to `{stored}`, or use another data directory, or remove {} once all clicks are delivered",
                    data_dir.display(),
                    path.display()
                );
            }
            Ok(stored)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = match configured {
                Some(configured) => configured.to_owned(),
                None => generate_random_edge_id()?,
            };
            write_edge_id_atomically_and_sync(data_dir, &path, &id)
                .with_context(|| format!("cannot write {}", path.display()))?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The name stored in a data directory, for commands that only read: creates nothing. `None` if there is none, or it
/// cannot be read.
pub fn read_edge_id(data_dir: &Path) -> Option<String> {
    let stored = fs::read_to_string(data_dir.join(FILE)).ok()?;
    Some(stored.trim().to_owned()).filter(|stored| is_edge_id(stored))
}

/// A name of eight random bytes: with a million edges the odds that two share one are 1 in 37 million.
fn generate_random_edge_id() -> Result<String> {
    let mut bytes = [0; 8];
    SysRng.try_fill_bytes(&mut bytes).context("the system gives no random bytes")?;
    Ok(format!("e{:016x}", u64::from_be_bytes(bytes)))
}

/// Writes the file whole or not at all. It is durable before the first click carries the name.
fn write_edge_id_atomically_and_sync(data_dir: &Path, path: &Path, id: &str) -> io::Result<()> {
    let temporary = path.with_extension("id.new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_created_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_edge_id_or_save_configured_or_random(dir.path(), None).unwrap();
        assert!(is_edge_id(&first));
        assert_eq!(load_edge_id_or_save_configured_or_random(dir.path(), None).unwrap(), first);
        assert_ne!(
            load_edge_id_or_save_configured_or_random(tempfile::tempdir().unwrap().path(), None).unwrap(),
            first
        );
    }

    #[test]
    fn a_configured_name_is_kept_and_another_one_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load_edge_id_or_save_configured_or_random(dir.path(), Some("seoul-1")).unwrap(), "seoul-1");
        assert_eq!(load_edge_id_or_save_configured_or_random(dir.path(), None).unwrap(), "seoul-1");
        let error = load_edge_id_or_save_configured_or_random(dir.path(), Some("seoul-2")).unwrap_err().to_string();
        assert!(error.contains("seoul-1") && error.contains("edge.id"), "{error}");
    }
}
