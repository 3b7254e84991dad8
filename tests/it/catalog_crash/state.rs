//! What holds of a catalog's file whenever its process died: SQLite finds no damage, and the links, the reserved codes
//! and the acts are exactly those that the audit tells.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use rusqlite::{Connection, Row};

/// A line of the audit, without its time and its act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) code: String,
    before_version: Option<u64>,
    before: Option<String>,
    pub(super) after: Option<String>,
}

/// What a sound catalog holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CatalogState {
    pub(super) version: u64,
    pub(super) changes: Vec<Change>,
    /// Version and record of each link, by its code.
    pub(super) links: BTreeMap<String, (u64, String)>,
    /// The ids of the API keys.
    pub(super) api_keys: Vec<String>,
}

impl CatalogState {
    /// Reads the catalog of a data directory and checks it.
    pub(super) fn read_and_check(data: &Path) -> CatalogState {
        let connection = Connection::open(data.join("catalog.db")).unwrap();
        assert_eq!(column::<String>(&connection, "PRAGMA integrity_check"), ["ok"]);
        let version = column::<String>(&connection, "SELECT value FROM meta WHERE name = 'version'");
        let version = version.first().map_or(0, |text| text.parse().unwrap());
        let changes = rows(
            &connection,
            "SELECT version, code, before_version, before, after FROM audit \
                                         ORDER BY position",
            change_of_row,
        );
        let links = rows(&connection, "SELECT code, version, record FROM link", |row| {
            (row.get(0).unwrap(), (row.get(1).unwrap(), row.get(2).unwrap()))
        });
        let api_keys = column(&connection, "SELECT id FROM api_key");
        let state = CatalogState { version, changes, links: links.into_iter().collect(), api_keys };
        state.check_links_are_those_of_the_audit();
        check_other_tables(&connection, &state);
        state
    }

    fn check_links_are_those_of_the_audit(&self) {
        let mut links: BTreeMap<String, (u64, String)> = BTreeMap::new();
        let mut versions = HashSet::new();
        for change in &self.changes {
            assert!(versions.insert(change.version), "a version is given twice: {change:?}");
            assert!(change.version <= self.version, "the catalog is at version {}: {change:?}", self.version);
            let was = links.remove(&change.code);
            assert!(was.as_ref().is_none_or(|was| was.0 < change.version), "a version goes back: {change:?}");
            assert_eq!(was, change.before_version.zip(change.before.clone()), "{change:?}");
            if let Some(after) = &change.after {
                links.insert(change.code.clone(), (change.version, after.clone()));
            }
        }
        assert_eq!(links, self.links, "the links are those of the audit");
    }
}

/// Each change has its act, each removed link reserves its code, and no row belongs to a link that is not there.
fn check_other_tables(connection: &Connection, state: &CatalogState) {
    let without_act = "SELECT version FROM audit WHERE act NOT IN (SELECT id FROM act)";
    assert_eq!(column::<u64>(connection, without_act), [0; 0], "versions whose act is not in the audit");
    let reserved: HashSet<String> = column(connection, "SELECT code FROM gone").into_iter().collect();
    let removed: HashSet<String> = state.changes.iter().map(|change| change.code.clone()).collect();
    let removed = removed.into_iter().filter(|code| !state.links.contains_key(code)).collect::<HashSet<_>>();
    assert_eq!(reserved, removed, "the reserved codes are those of removed links");
    assert_eq!(column::<u64>(connection, "SELECT link FROM tag WHERE link NOT IN (SELECT id FROM link)"), [0; 0]);
    let ready = column::<u64>(connection, "SELECT id FROM ready ORDER BY id");
    assert!(ready.is_empty() || ready == column::<u64>(connection, "SELECT id FROM link ORDER BY id"));
    let keys_without_act = "SELECT id FROM api_key WHERE NOT EXISTS \
                            (SELECT * FROM act WHERE action = 'api-key-new' AND instr(reason, api_key.id))";
    assert_eq!(column::<String>(connection, keys_without_act), [""; 0], "keys whose act is not in the audit");
}

fn change_of_row(row: &Row<'_>) -> Change {
    Change {
        version: row.get(0).unwrap(),
        code: row.get(1).unwrap(),
        before_version: row.get(2).unwrap(),
        before: row.get(3).unwrap(),
        after: row.get(4).unwrap(),
    }
}

fn rows<T>(connection: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> T) -> Vec<T> {
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| Ok(read(row))).unwrap().map(Result::unwrap).collect()
}

fn column<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> Vec<T> {
    rows(connection, sql, |row| row.get(0).unwrap())
}
