//! Transparent huge pages: for a large table of links, and for nothing else.
//!
//! The allocator asks for them wherever it may. In a large table they make a look-up faster, because the processor
//! finds each page in fewer steps. In a small process they keep memory resident that nobody uses.

use std::{fs, path::Path};

use crate::{catalog, config::Config};

/// From this size on of the links file or the catalog, the process uses huge pages: some 25 000 links.
const LARGE_BYTES: u64 = 8 << 20;

/// Switches huge pages off, unless many links are about to be loaded. Pages that are in use stay as they are, so this
/// comes before the links. A kernel that refuses is no error: the process is larger then.
pub(super) fn disable_huge_pages_unless_links_are_many(config: &Config) {
    let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let catalog = size(&config.server.data_dir.join(catalog::FILE_NAME));
    let links_file = config.links.file.as_deref().map_or(0, size);
    if catalog.max(links_file) < LARGE_BYTES {
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
}
