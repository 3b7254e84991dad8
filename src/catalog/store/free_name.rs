//! Names beside a file that nothing has yet: for what must never be written over.

use std::path::{Path, PathBuf};

/// The path with this suffix and the first number, from 1 on, that is free.
pub(super) fn find_free_name(path: &Path, suffix: &str) -> PathBuf {
    let with_number = |number: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{suffix}{number}"));
        PathBuf::from(name)
    };
    let mut numbers = 1..;
    numbers.find_map(|number| Some(with_number(number)).filter(|free| !free.exists())).unwrap_or_else(|| with_number(0))
}
