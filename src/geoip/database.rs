//! One MMDB file in memory: its tree of networks and their records.

use std::{collections::HashSet, fs::File, io::Read, net::IpAddr, path::Path};

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};

use super::load_error::RefusedFile;

/// The record of a network.
pub(super) type Record<'d> = LookupResult<'d, Vec<u8>>;

/// The answer to a look-up.
pub(super) enum Found<'d> {
    /// The address belongs to a network with this record.
    Record(Record<'d>),
    /// The file has no record for the address.
    NoRecord,
    /// The file has networks of IPv4 alone, and the address is one of IPv6.
    OtherVersion,
}

/// A file whose metadata are sound. Its tree and records are checked by [`Database::visit_records`].
#[derive(Debug)]
pub(super) struct Database {
    reader: Reader<Vec<u8>>,
}

impl Database {
    /// Reads a file and its metadata.
    ///
    /// # Errors
    /// The file cannot be read, or its metadata are missing or contradict its size.
    pub(super) fn read_file(path: &Path) -> Result<Database, RefusedFile> {
        let mut file = File::open(path).map_err(RefusedFile::Unreadable)?;
        // A pipe or a device would never end.
        if !file.metadata().map_err(RefusedFile::Unreadable)?.is_file() {
            return Err(RefusedFile::NoFile);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(RefusedFile::Unreadable)?;
        Database::from_bytes(bytes)
    }

    /// The database in these bytes.
    ///
    /// # Errors
    /// The metadata are missing or contradict the size.
    pub(super) fn from_bytes(mut bytes: Vec<u8>) -> Result<Database, RefusedFile> {
        bytes.shrink_to_fit();
        Ok(Database { reader: Reader::from_source(bytes).map_err(RefusedFile::NotMmdb)? })
    }

    /// Walks the whole tree and gives each record to `visit` once, however many networks share it.
    ///
    /// # Errors
    /// The tree has a circle or leads out of the file; or the first error of `visit`.
    pub(super) fn visit_records<'d>(
        &'d self,
        mut visit: impl FnMut(Record<'d>) -> Result<(), MaxMindDbError>,
    ) -> Result<(), MaxMindDbError> {
        // A tree has one leaf more than nodes. Some files share branches, so that they have more paths than that.
        let mut leaves_left = 3 * u64::from(self.reader.metadata().node_count);
        let mut visited = HashSet::new();
        for leaf in self.reader.networks(WithinOptions::default().include_networks_without_data())? {
            let record = leaf?;
            leaves_left =
                leaves_left.checked_sub(1).ok_or_else(|| MaxMindDbError::invalid_database("the tree has a circle"))?;
            if record.offset().is_some_and(|offset| visited.insert(offset)) {
                visit(record)?;
            }
        }
        Ok(())
    }

    /// Looks an address up.
    pub(super) fn find(&self, address: IpAddr) -> Found<'_> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Found::OtherVersion;
        }
        match self.reader.lookup(address) {
            Ok(record) if record.has_data() => Found::Record(record),
            // The tree was walked when the file was loaded, so it has no error.
            Ok(_) | Err(_) => Found::NoRecord,
        }
    }

    /// What the file calls itself, such as `GeoLite2-Country`.
    pub(super) fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When the database was built, seconds since the epoch.
    pub(super) fn built_at_secs(&self) -> u64 {
        self.reader.metadata().build_epoch
    }
}
