//! The edge's name. It stands in every click, and the proof that no click is missing counts per edge, so a data directory
//! has one name for life: given by `edge.id`, or made once. Never the hostname, which a copied machine keeps.

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

/// The edge's name for this data directory, which exists and is locked. A name that is given and differs from the kept
/// one is refused: clicks that still lie in the journal would be delivered under it, and their seqs proved wrong.
pub(super) fn edge_id(data_dir: &Path, given: Option<&str>) -> Result<String> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(kept) => {
            let kept = kept.trim().to_owned();
            if !is_edge_id(&kept) {
                bail!("{}: `{kept}` is not an edge's name: 1 to 63 of a-z, 0-9 and -", path.display());
            }
            if let Some(given) = given.filter(|given| *given != kept) {
                bail!(
                    "edge.id is `{given}`, but {} belongs to edge `{kept}` and its clicks carry that name: set edge.id to \
                     `{kept}`, or use another data directory, or remove {} once everything in it is delivered",
                    data_dir.display(),
                    path.display()
                );
            }
            Ok(kept)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = match given {
                Some(given) => given.to_owned(),
                None => made()?,
            };
            keep(data_dir, &path, &id).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(id)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The name that a data directory has, for those who only look: nothing is made. `None` if it has none or it cannot be read.
pub fn kept_edge_id(data_dir: &Path) -> Option<String> {
    let kept = fs::read_to_string(data_dir.join(FILE)).ok()?;
    Some(kept.trim().to_owned()).filter(|kept| is_edge_id(kept))
}

/// Eight random bytes: with a million edges the odds of a pair are 1 in 37 million.
fn made() -> Result<String> {
    let mut bytes = [0; 8];
    SysRng.try_fill_bytes(&mut bytes).context("the system gives no random bytes")?;
    Ok(format!("e{:016x}", u64::from_be_bytes(bytes)))
}

/// Whole or not at all, and durable before the first click carries it.
fn keep(data_dir: &Path, path: &Path, id: &str) -> io::Result<()> {
    let draft = path.with_extension("id.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = edge_id(dir.path(), None).unwrap();
        assert!(is_edge_id(&first));
        assert_eq!(edge_id(dir.path(), None).unwrap(), first);
        assert_ne!(edge_id(tempfile::tempdir().unwrap().path(), None).unwrap(), first);
    }

    #[test]
    fn a_given_name_is_kept_and_another_one_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(edge_id(dir.path(), Some("seoul-1")).unwrap(), "seoul-1");
        assert_eq!(edge_id(dir.path(), None).unwrap(), "seoul-1");
        let error = edge_id(dir.path(), Some("seoul-2")).unwrap_err().to_string();
        assert!(error.contains("seoul-1") && error.contains("edge.id"), "{error}");
    }
}
