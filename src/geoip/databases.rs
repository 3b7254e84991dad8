//! The loaded files, one of each kind.

use std::{collections::HashMap, net::IpAddr, path::Path, sync::Arc};

use foldhash::fast::RandomState;
use maxminddb::MaxMindDbError;

use super::{
    config::{Config, DatabaseKind},
    database::{Database, Found, Record},
    load_error::{LoadError, RefusedFile},
    records::{KeptPlace, Network, NetworkLayout, Place, PlaceLayout, is_data_centre},
};

/// A file with the layout of its records.
#[derive(Debug)]
struct Loaded<Layout> {
    database: Database,
    layout: Layout,
}

/// A file of countries. Its places are read when it is loaded, each record once: a record of a city has names in eight
/// languages, and a search for a field reads over those before it.
#[derive(Debug)]
struct LoadedPlaces {
    database: Database,
    /// By the offsets of the records in the file; those that name no country are left out.
    by_record: HashMap<usize, KeptPlace, RandomState>,
}

/// The loaded files. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Databases {
    country: Option<Arc<LoadedPlaces>>,
    network: Option<Arc<Loaded<NetworkLayout>>>,
    data_centre: Option<Arc<Loaded<()>>>,
}

/// The result of loading every configured file.
#[derive(Debug)]
pub struct LoadedFiles {
    /// The files that can be used.
    pub databases: Databases,
    /// Why the others cannot.
    pub refused: Vec<LoadError>,
}

impl Databases {
    /// Loads every configured file that can be used.
    pub fn load(config: &Config) -> LoadedFiles {
        let (mut databases, mut refused) = (Databases::default(), Vec::new());
        for kind in DatabaseKind::ALL {
            let Some(path) = config.file(kind) else { continue };
            match databases.with_file(kind, path) {
                Ok(loaded) => databases = loaded,
                Err(error) => refused.push(error),
            }
        }
        LoadedFiles { databases, refused }
    }

    /// These files, with the one at `path` in the place of that of its kind.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or has none of the fields that it is asked for.
    pub fn with_file(&self, kind: DatabaseKind, path: &Path) -> Result<Databases, LoadError> {
        let loaded = Database::read_file(path).and_then(|database| self.with_database(kind, database));
        loaded.map_err(|reason| LoadError::new(kind, path.to_owned(), reason))
    }

    /// These files, with a database in the place of that of its kind. Checks the whole tree and every record.
    pub(super) fn with_database(&self, kind: DatabaseKind, database: Database) -> Result<Databases, RefusedFile> {
        let mut databases = self.clone();
        match kind {
            DatabaseKind::Country => {
                let mut by_record = HashMap::default();
                let keep_place = |layout: PlaceLayout, record: &Record<'_>| {
                    let place = layout.read(record)?;
                    let kept = KeptPlace::of_place(place);
                    if let (Some(offset), Some(kept)) = (record.offset(), kept) {
                        by_record.insert(offset, kept);
                    }
                    Ok(kept.is_some())
                };
                let Loaded { database, .. } = check_and_find_layout(kind, database, &PlaceLayout::ALL, keep_place)?;
                databases.country = Some(Arc::new(LoadedPlaces { database, by_record }));
            }
            DatabaseKind::Network => {
                let names_network = |layout: NetworkLayout, record: &Record<'_>| Ok(layout.read(record)?.is_some());
                let loaded = check_and_find_layout(kind, database, &NetworkLayout::ALL, names_network)?;
                databases.network = Some(Arc::new(loaded));
            }
            DatabaseKind::DataCentre => {
                let names_data_centre = |(), record: &Record<'_>| is_data_centre(record);
                let loaded = check_and_find_layout(kind, database, &[()], names_data_centre)?;
                databases.data_centre = Some(Arc::new(loaded));
            }
        }
        Ok(databases)
    }

    /// Country and region of an address.
    pub fn find_place(&self, address: IpAddr) -> Place<'_> {
        let Some(LoadedPlaces { database, by_record }) = self.country.as_deref() else { return Place::default() };
        match database.find(address) {
            Found::Record(record) => {
                let kept = record.offset().and_then(|offset| by_record.get(&offset));
                kept.map_or(Place::default(), KeptPlace::place)
            }
            Found::NoRecord | Found::OtherVersion => Place::default(),
        }
    }

    /// The network of an address.
    pub fn find_network(&self, address: IpAddr) -> Option<Network<'_>> {
        let Loaded { database, layout } = self.network.as_deref()?;
        match database.find(address) {
            Found::Record(record) => layout.read(&record).ok().flatten(),
            Found::NoRecord | Found::OtherVersion => None,
        }
    }

    /// Whether an address is a data centre's. The file lists those that are, so an address without a record is none.
    /// `None`: there is no file, or it has no networks of the address's version.
    pub fn is_data_centre(&self, address: IpAddr) -> Option<bool> {
        let Loaded { database, .. } = self.data_centre.as_deref()?;
        match database.find(address) {
            Found::Record(record) => is_data_centre(&record).ok(),
            Found::NoRecord => Some(false),
            Found::OtherVersion => None,
        }
    }

    /// Whether a file of the kind is loaded.
    pub fn has(&self, kind: DatabaseKind) -> bool {
        self.database(kind).is_some()
    }

    /// What the file of a kind calls itself, such as `GeoLite2-Country`.
    pub fn database_type(&self, kind: DatabaseKind) -> Option<&str> {
        self.database(kind).map(Database::database_type)
    }

    /// When the database of a kind was built, seconds since the epoch.
    pub fn built_at_secs(&self, kind: DatabaseKind) -> Option<u64> {
        self.database(kind).map(Database::built_at_secs)
    }

    fn database(&self, kind: DatabaseKind) -> Option<&Database> {
        match kind {
            DatabaseKind::Country => self.country.as_deref().map(|loaded| &loaded.database),
            DatabaseKind::Network => self.network.as_deref().map(|loaded| &loaded.database),
            DatabaseKind::DataCentre => self.data_centre.as_deref().map(|loaded| &loaded.database),
        }
    }
}

/// Checks the tree and every record, and finds the layout by the first record with a value: `read` says whether a
/// record has one in a layout.
///
/// # Errors
/// The tree or a record is damaged, or no record has a value.
fn check_and_find_layout<Layout: Copy>(
    kind: DatabaseKind,
    database: Database,
    layouts: &[Layout],
    mut read: impl FnMut(Layout, &Record<'_>) -> Result<bool, MaxMindDbError>,
) -> Result<Loaded<Layout>, RefusedFile> {
    let mut found: Option<Layout> = None;
    let visited = database.visit_records(|record| {
        if let Some(layout) = found {
            return read(layout, &record).map(drop);
        }
        // A record that cannot be read in one layout can have another.
        let mut result = Ok(());
        for (tried, layout) in layouts.iter().enumerate() {
            match read(*layout, &record) {
                Ok(true) => {
                    found = Some(*layout);
                    return Ok(());
                }
                Ok(false) => result = Ok(()),
                Err(error) if tried == 0 => result = Err(error),
                Err(_) => {}
            }
        }
        result
    });
    visited.map_err(RefusedFile::Damaged)?;
    match found {
        Some(layout) => Ok(Loaded { database, layout }),
        None => Err(RefusedFile::OtherType { kind, database_type: database.database_type().to_owned() }),
    }
}
