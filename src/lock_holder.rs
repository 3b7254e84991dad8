//! Which process holds the lock of a file, so that an error can name it.

use std::{os::unix::fs::MetadataExt, path::Path};

/// The process that has locked a file, by `flock` or `fcntl`; `None` if the system does not tell.
pub fn find_lock_holder(path: &Path) -> Option<u32> {
    let metadata = std::fs::metadata(path).ok()?;
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    find_holder_in(&std::fs::read_to_string("/proc/locks").ok()?, &file)
}

/// The first process that holds a lock on the file, in the text of `/proc/locks`. A line with `->` is of one that
/// waits.
fn find_holder_in(locks: &str, file: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let [kind, _, _, process, place] = [(); 5].map(|()| words.next().unwrap_or_default());
        (kind != "->" && place == file).then(|| process.parse().ok())?
    })
}

/// The end of a message: ` (process 1234)`; empty if the process is not known.
pub fn describe_lock_holder(path: &Path) -> String {
    find_lock_holder(path).map(|process| format!(" (process {process})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_process_of_the_line_with_the_file_and_not_one_that_waits() {
        let locks = "1: FLOCK  ADVISORY  WRITE 77 08:01:11 0 EOF\n\
                     2: -> POSIX  ADVISORY  WRITE 99 08:01:12 0 EOF\n\
                     3: POSIX  ADVISORY  WRITE 88 08:01:12 1073741824 1073742335\n";
        assert_eq!(find_holder_in(locks, "08:01:11"), Some(77));
        assert_eq!(find_holder_in(locks, "08:01:12"), Some(88));
        assert_eq!(find_holder_in(locks, "08:01:1"), None);
    }

    #[test]
    fn a_lock_of_this_process_is_found() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(find_lock_holder(file.path()), None);
        file.as_file().lock().unwrap();
        assert_eq!(find_lock_holder(file.path()), Some(std::process::id()));
        assert_eq!(describe_lock_holder(file.path()), format!(" (process {})", std::process::id()));
    }
}
