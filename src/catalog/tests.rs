//! The catalog over restarts: what is acknowledged is there again, and what it refuses stays refused.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Catalog, CatalogError, CatalogHandle, LinkSource, OpenedCatalog,
    change::{Batch, BatchMode, BatchReport, ChangeRow, ExpectedLink, LinkChange, LinkName, RowOutcome, RowRefusal},
    new_act,
    query::{FilterField, LinkFilter, StateFilter},
};
use crate::{
    clock,
    file_watch::FileVersion,
    links::{
        Table,
        destination::policy::DestinationPolicy,
        domains::{Config as DomainsConfig, Domains, Settings},
    },
};

const DEADLINE: Duration = Duration::from_secs(30);

fn record(code: &str) -> Value {
    json!({"code":code,"url":"https://shop.example.com/mug","kind":"plain","creator":"c_1",
        "created_at":"2026-11-01T00:00:00Z"})
}

fn with(mut record: Value, changes: Value) -> Value {
    record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    record
}

fn put(record: Value, expected: ExpectedLink) -> ChangeRow {
    let change = LinkChange::Put { record: Box::new(serde_json::from_value(record).unwrap()), text: None };
    ChangeRow { change, expected }
}

fn name(code: &str) -> LinkName {
    LinkName { domain: "*".to_owned(), code: code.to_owned() }
}

fn delete(code: &str) -> ChangeRow {
    ChangeRow { change: LinkChange::Delete { name: name(code) }, expected: ExpectedLink::Any }
}

fn patch(code: &str, patch: Value) -> ChangeRow {
    ChangeRow { change: LinkChange::Patch { name: name(code), patch }, expected: ExpectedLink::Any }
}

fn batch(rows: Vec<ChangeRow>) -> Batch {
    Batch { act: new_act("a test".to_owned(), None), rows, mode: BatchMode::Each, is_dry_run: false, once: None }
}

/// A catalog that runs.
struct Running {
    catalog: Catalog,
    table: Arc<Table>,
    domains: Arc<Domains>,
}

impl Running {
    fn open(dir: &Path) -> Running {
        Running::open_with_source(dir, LinkSource::Store)
    }

    fn open_with_source(dir: &Path, source: LinkSource) -> Running {
        let mut config = DomainsConfig::default();
        config.0.insert("go.example.com".to_owned(), Settings { case_insensitive: true, ..Settings::default() });
        let domains = Arc::new(Domains::new(&config).unwrap());
        let opened = OpenedCatalog::open_or_create(dir, DestinationPolicy::default(), domains.clone(), 2).unwrap();
        let table = opened.table.clone();
        Running { catalog: opened.start(source).unwrap(), table, domains }
    }

    fn handle(&self) -> CatalogHandle {
        self.catalog.handle()
    }

    fn apply(&self, rows: Vec<ChangeRow>) -> BatchReport {
        self.handle().apply_blocking(batch(rows)).unwrap()
    }

    fn apply_one(&self, row: ChangeRow) -> RowOutcome {
        self.apply(vec![row]).outcomes.remove(0)
    }

    fn url_of(&self, code: &str) -> Option<String> {
        let link = self.table.get(self.domains.all()[0].id, code.as_bytes())?;
        Some(link.url_template().to_url_text_with_placeholders())
    }

    fn close(self) {
        self.catalog.stop();
    }
}

#[test]
fn an_acknowledged_change_is_served_at_once_and_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let RowOutcome::Created(created) = running.apply_one(put(record("mug"), ExpectedLink::Absent)) else { panic!() };
    assert_eq!((created.version, created.name), (1, name("mug")));
    assert_eq!(running.url_of("mug").unwrap(), "https://shop.example.com/mug");
    let RowOutcome::Updated(updated) =
        running.apply_one(patch("mug", json!({"url":"https://shop.example.com/cup","title":"A cup"})))
    else {
        panic!()
    };
    assert_eq!(updated.version, 2);
    assert_eq!(running.url_of("mug").unwrap(), "https://shop.example.com/cup");
    running.close();
    let running = Running::open(dir.path());
    assert_eq!(running.url_of("mug").unwrap(), "https://shop.example.com/cup");
    let reader = running.handle().open_reader().unwrap();
    let link = reader.find_link(&name("mug")).unwrap().unwrap();
    assert_eq!((link.version, reader.version().unwrap()), (2, 2));
    assert!(link.record.contains(r#""title":"A cup""#));
    let history = reader.list_history(&name("mug"), 10).unwrap();
    assert_eq!(history.iter().map(|line| line.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((&*history[0].actor, history[1].before.is_none()), ("a test", true));
    let RowOutcome::Deleted { version: 3, .. } = running.apply_one(delete("mug")) else { panic!() };
    assert_eq!(running.url_of("mug"), None);
}

#[test]
fn a_code_that_comes_back_has_its_history_and_no_other_link_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    running.apply_one(put(record("tea"), ExpectedLink::Absent));
    running.apply_one(put(record("mug"), ExpectedLink::Absent));
    // The row of `mug` was the last one: SQLite by itself would give its id to the next link.
    running.apply_one(delete("mug"));
    let mut both = batch(vec![put(record("cup"), ExpectedLink::Absent), put(record("mug"), ExpectedLink::Absent)]);
    both.is_dry_run = true;
    let checked = running.handle().apply_blocking(both.clone()).unwrap();
    assert!(checked.outcomes.iter().all(|outcome| matches!(outcome, RowOutcome::Created(_))), "{checked:?}");
    both.is_dry_run = false;
    running.handle().apply_blocking(both).unwrap();
    let reader = running.handle().open_reader().unwrap();
    let versions = |code: &str| -> Vec<u64> {
        reader.list_history(&name(code), 10).unwrap().iter().map(|line| line.version).collect()
    };
    assert_eq!([versions("tea"), versions("mug"), versions("cup")], [vec![1], vec![5, 3, 2], vec![4]]);
    assert!(versions("none").is_empty());
    running.close();
    // The next start has them all, so each has its bytes for the table.
    let running = Running::open(dir.path());
    assert_eq!((running.table.len(), running.url_of("mug").is_some()), (3, true));
    running.close();
}

#[test]
fn an_equal_record_changes_nothing_and_a_condition_that_does_not_hold_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    running.apply_one(put(record("mug"), ExpectedLink::Absent));
    for expected in [ExpectedLink::Any, ExpectedLink::AbsentOrSame, ExpectedLink::AtVersion(1)] {
        let outcome = running.apply_one(put(with(record("mug"), json!({"enabled":true})), expected));
        assert!(matches!(outcome, RowOutcome::Unchanged(link) if link.version == 1));
    }
    let other = || with(record("mug"), json!({"url":"https://shop.example.com/cup"}));
    for (expected, refusal) in [
        (ExpectedLink::Absent, RowRefusal::Exists { version: 1 }),
        (ExpectedLink::AtVersion(7), RowRefusal::VersionDiffers { found: Some(1) }),
        (ExpectedLink::AbsentOrSame, RowRefusal::VersionNeeded { found: 1 }),
    ] {
        assert_eq!(running.apply_one(put(other(), expected)), RowOutcome::Refused(refusal));
    }
    assert_eq!(running.apply_one(delete("none")), RowOutcome::Refused(RowRefusal::NotFound));
    let report = running.handle().apply_blocking(Batch {
        mode: BatchMode::Atomic,
        ..batch(vec![put(record("cup"), ExpectedLink::Any), put(record("a b"), ExpectedLink::Any)])
    });
    assert!(!report.unwrap().is_applied);
    assert_eq!(running.url_of("cup"), None);
    let report = running.handle().apply_blocking(Batch { is_dry_run: true, ..batch(vec![delete("mug")]) }).unwrap();
    assert!(matches!(report.outcomes[0], RowOutcome::Deleted { .. }) && !report.is_applied);
    assert!(running.url_of("mug").is_some());
}

#[test]
fn what_never_changes_and_the_code_of_a_removed_link_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    running.apply(vec![put(record("mug"), ExpectedLink::Any), put(record("cup"), ExpectedLink::Any), delete("cup")]);
    running.close();
    let running = Running::open(dir.path());
    let changed = |code| with(record(code), json!({"creator":"thief"}));
    let RowOutcome::Refused(RowRefusal::Unchangeable(errors)) =
        running.apply_one(put(changed("mug"), ExpectedLink::Any))
    else {
        panic!()
    };
    assert_eq!(errors[0].field, "creator");
    let RowOutcome::Refused(RowRefusal::CodeReserved { reusable_at_ms, errors }) =
        running.apply_one(put(changed("cup"), ExpectedLink::Any))
    else {
        panic!()
    };
    assert_eq!(errors[0].field, "creator");
    let days = (reusable_at_ms - clock::wall_ms()) / 86_400_000;
    assert!((113..=114).contains(&days), "{days}");
    assert!(matches!(running.apply_one(put(record("cup"), ExpectedLink::Any)), RowOutcome::Created(_)));
}

#[test]
fn a_code_is_minted_and_a_domain_that_ignores_case_has_it_in_lower_case() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    for (domain, is_lower) in [("*", false), ("go.example.com", true)] {
        let record = with(record(""), json!({"domain":domain}));
        let rows = (0..50).map(|_| put(record.clone(), ExpectedLink::Absent)).collect();
        for outcome in running.apply(rows).outcomes {
            let RowOutcome::Created(link) = outcome else { panic!() };
            assert_eq!(link.name.code.len(), 8);
            assert!(!is_lower || link.name.code == link.name.code.to_lowercase());
        }
    }
    assert_eq!(running.table.len(), 100);
    let upper = with(record("SALE"), json!({"domain":"GO.example.com"}));
    let RowOutcome::Created(link) = running.apply_one(put(upper, ExpectedLink::Absent)) else { panic!() };
    assert_eq!((&*link.name.domain, &*link.name.code), ("go.example.com", "sale"));
}

#[test]
fn lists_filter_by_every_field_and_page_without_gap() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let rows = (0..25).map(|at| {
        let changes = json!({"creator":format!("c_{}", at % 3),"tags":[format!("t{}", at % 2)],"enabled":at != 7});
        put(with(record(&format!("code{at:02}")), changes), ExpectedLink::Absent)
    });
    running.apply(rows.collect());
    let reader = running.handle().open_reader().unwrap();
    let count = |fields: &[(FilterField, &str)], state| {
        let fields = fields.iter().map(|(field, value)| (*field, (*value).to_owned())).collect();
        let filter = LinkFilter { fields, state, ..LinkFilter::default() };
        reader.list_links(&filter, None, 1000).unwrap().len()
    };
    assert_eq!(count(&[], None), 25);
    assert_eq!(count(&[(FilterField::Creator, "c_1")], None), 8);
    assert_eq!(count(&[(FilterField::Creator, "c_1"), (FilterField::Tag, "t1")], None), 4);
    assert_eq!(count(&[(FilterField::Host, "shop.example.com"), (FilterField::CodePrefix, "code1")], None), 10);
    assert_eq!(count(&[], Some((StateFilter::Disabled, clock::wall_ms()))), 1);
    assert_eq!(count(&[], Some((StateFilter::Live, clock::wall_ms()))), 24);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = reader.list_links(&LinkFilter::default(), after.as_ref(), 10).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page.into_iter().map(|link| link.name.code));
        // Links come and go between two pages.
        running.apply(vec![put(record(&format!("code{:02}x", seen.len())), ExpectedLink::Any), delete("code00")]);
    }
    let stayed = seen.iter().filter(|code| code.len() == 6).count();
    assert_eq!((stayed, seen.windows(2).all(|pair| pair[0] < pair[1])), (25, true));
}

#[test]
fn links_of_a_file_are_kept_and_their_rules_hold_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("links.jsonl");
    let lines: String = (0..5_000).map(|at| format!("{}\n", record(&format!("c{at}")))).collect();
    fs::write(&path, &lines).unwrap();
    let version = FileVersion::read(&path).unwrap();
    let running = Running::open_with_source(dir.path(), LinkSource::File);
    let (table, handle) = (Arc::new(Table::with_capacity(5_000)), running.handle());
    for line in lines.lines() {
        let record = serde_json::from_str(line).unwrap();
        let policy = DestinationPolicy::default();
        let valid = crate::links::Link::check_and_build_from_record(
            &record,
            &policy,
            &running.domains,
            clock::wall_ms(),
            1 + handle.latest_version().fetch_add(1, Ordering::Relaxed),
        );
        table.try_insert_or_give_back(valid.ok().unwrap().link).ok().unwrap();
    }
    running.handle().keep_links_of_file(&path, fs::File::open(&path).unwrap(), &version, table);
    let refused = running.handle().apply_blocking(batch(vec![delete("c1")]));
    assert!(matches!(refused, Err(CatalogError::SourceIsFile)));
    let reader = running.handle().open_reader().unwrap();
    let deadline = Instant::now() + DEADLINE;
    while reader.list_links(&LinkFilter::default(), None, 10_000).unwrap().len() < 5_000 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    running.close();
    let domains = Arc::new(Domains::new(&DomainsConfig::default()).unwrap());
    let policy = DestinationPolicy::default();
    let opened = OpenedCatalog::open_or_create(dir.path(), policy, domains, 2).unwrap();
    assert!(opened.holds_file_version(&path, &version));
    assert_eq!((opened.table.len(), opened.version), (5_000, 5_000));
}

#[test]
fn a_link_that_the_configuration_refuses_is_never_served_and_keeps_its_rights_to_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let record = with(record("sale"), json!({"domain":"go.example.com"}));
    running.apply(vec![put(record.clone(), ExpectedLink::Absent), put(self::record("mug"), ExpectedLink::Absent)]);
    running.close();
    // The domain is gone at two starts, the second of which finds everything ready.
    for _ in 0..2 {
        let mut config = DomainsConfig::default();
        config.0.insert("other.example.com".to_owned(), Settings::default());
        let domains = Arc::new(Domains::new(&config).unwrap());
        let policy = DestinationPolicy::default();
        let opened = OpenedCatalog::open_or_create(dir.path(), policy, domains, 2).unwrap();
        assert_eq!((opened.table.len(), opened.refused_total), (1, 1));
    }
    let running = Running::open(dir.path());
    assert_eq!(running.table.len(), 2, "the domain is back");
    let thief = with(record, json!({"creator":"thief"}));
    let taken = running.apply_one(put(thief, ExpectedLink::Any));
    assert!(matches!(taken, RowOutcome::Refused(RowRefusal::Unchangeable(_))), "{taken:?}");
}

#[test]
fn the_versions_of_a_file_never_go_back_whatever_the_catalog_did_between_two_loads() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::open(dir.path());
    let rows: Vec<ChangeRow> = (0..30).map(|at| put(record(&format!("c{at}")), ExpectedLink::Absent)).collect();
    let deletions: Vec<ChangeRow> = (0..29).map(|at| delete(&format!("c{at}"))).collect();
    running.apply(rows);
    running.apply(deletions);
    let latest = running.handle().latest_version().load(Ordering::Relaxed);
    assert_eq!((latest, running.handle().open_reader().unwrap().version().unwrap()), (59, 59));
    let dry = Batch { is_dry_run: true, ..batch(vec![put(record("x"), ExpectedLink::Any)]) };
    assert_eq!(running.handle().apply_blocking(dry).unwrap().version, 59);
    let RowOutcome::Created(link) = running.apply_one(put(record("x"), ExpectedLink::Any)) else { panic!() };
    assert_eq!(link.version, 60);
}
