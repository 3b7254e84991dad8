//! Transparent huge pages: for a large table of links, and for nothing else.
//!
//! The allocator asks for them wherever it may. In a large table they make a look-up faster, because the processor
//! finds each page in fewer steps. In a small process they keep memory resident that nobody uses.

use std::{fs, path::Path};

use crate::{catalog, config::Config};

/// From this size on of the links file or the catalog, the process uses huge pages: some 25 000 links.
const LARGE_BYTES: u64 = 8 << 20;

/// Huge pages, which are off.
#[derive(Debug)]
pub struct DisabledHugePages {
    /// Whoever started the process had switched them off; then they stay off.
    were_disabled: bool,
}

/// Switches huge pages off. To be called before the process allocates much, because pages that are in use stay as they
/// are. A kernel that refuses is no error: the process is larger then.
pub fn disable_huge_pages() -> DisabledHugePages {
    let were_disabled = rustix::thread::transparent_huge_pages_are_disabled().unwrap_or(false);
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    DisabledHugePages { were_disabled }
}

impl DisabledHugePages {
    /// Switches huge pages on again if many links are about to be loaded.
    pub fn enable_again_if_links_are_many(self, config: &Config) {
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let catalog = size(&config.server.data_dir.join(catalog::FILE_NAME));
        let links_file = config.links.file.as_deref().map_or(0, size);
        if !self.were_disabled && catalog.max(links_file) >= LARGE_BYTES {
            let _ = rustix::thread::disable_transparent_huge_pages(false);
        }
    }
}
