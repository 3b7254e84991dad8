//! Whether the directories that a start makes can be made, and used. Nothing is made.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use rustix::fs::{Access, access};

use crate::config::Config;

/// Returns the line about the directories.
pub(super) fn check_directories_and_format_summary(config: &Config) -> Result<String> {
    let directories =
        [("server.data_dir", Some(&config.server.data_dir)), ("journal.ring_dir", config.journal.ring_dir.as_ref())];
    let given = directories.iter().filter_map(|(key, directory)| Some((*key, (*directory)?)));
    let errors: Vec<String> = given.clone().filter_map(|(key, path)| find_error_of_directory(key, path)).collect();
    if !errors.is_empty() {
        bail!(errors.join("\n"));
    }
    let paths: Vec<String> = given.map(|(_, directory)| directory.display().to_string()).collect();
    Ok(format!("directories: good, {}", paths.join(", ")))
}

/// What is wrong with a directory, or with the nearest one around it that exists.
fn find_error_of_directory(key: &str, directory: &Path) -> Option<String> {
    let (nearest, kind) = find_nearest_that_exists(directory);
    let why = match kind {
        Ok(true) => match access(&nearest, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => return None,
            Err(error) => format!("{} cannot be written to: {error}", nearest.display()),
        },
        Ok(false) => format!("{} is no directory", nearest.display()),
        Err(error) => format!("{}: {error}", nearest.display()),
    };
    let shown = directory.display();
    Some(if nearest == directory { format!("{key}: {why}") } else { format!("{key}: {shown} cannot be made: {why}") })
}

/// The path itself or the nearest one around it that exists, and whether that is a directory.
fn find_nearest_that_exists(path: &Path) -> (PathBuf, io::Result<bool>) {
    for ancestor in path.ancestors() {
        let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
        match ancestor.metadata() {
            Ok(found) => return (ancestor.to_owned(), Ok(found.is_dir())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A file stands in the path: it is found as one of the ancestors.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return (ancestor.to_owned(), Err(error)),
        }
    }
    (path.to_owned(), Err(io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_what_is_in_its_way() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(find_error_of_directory("k", dir.path()), None);
        assert_eq!(find_error_of_directory("k", &dir.path().join("a/b/c")), None);
        assert_eq!(find_error_of_directory("k", Path::new("relative-and-new")), None);
        let shown = file.display();
        assert_eq!(find_error_of_directory("k", &file), Some(format!("k: {shown} is no directory")));
        let below = file.join("data");
        assert_eq!(
            find_error_of_directory("k", &below),
            Some(format!("k: {} cannot be made: {shown} is no directory", below.display()))
        );
    }
}
