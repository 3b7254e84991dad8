//! Random changes, restarts and crash images of the catalog, compared with a plain map; beside them a thread that looks
//! links up as workers do.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::{
    Catalog, LinkSource, OpenedCatalog,
    change::{Batch, BatchMode, ChangeRow, ExpectedLink, LinkChange, LinkName, RowOutcome, Write, WriteReport},
    many::ManyChange,
    new_act,
    query::LinkFilter,
    suspension_rows::NewSuspension,
};
use crate::{
    links::{
        Table,
        destination::policy::DestinationPolicy,
        domains::{Config as DomainsConfig, Domains},
        suspensions::Dimension,
    },
    model::link::LinkFacts,
};

const CODES: u32 = 12;
const STEPS: u32 = 120;

/// What the catalog must hold: each code's number, which stands in its URL and in its product.
type Reference = BTreeMap<String, u32>;

struct Simulation {
    random: StdRng,
    dir: tempfile::TempDir,
    domains: Arc<Domains>,
    catalog: Option<Catalog>,
    table: Arc<Table>,
    reference: Reference,
    suspended: bool,
    next_number: u32,
}

fn open(dir: &Path, domains: &Arc<Domains>) -> (Catalog, Arc<Table>, bool) {
    let opened = OpenedCatalog::open_or_create(dir, DestinationPolicy::default(), domains.clone(), 2).unwrap();
    let (table, is_suspended) = (opened.table.clone(), !opened.suspensions.is_empty());
    (opened.start(LinkSource::Store).unwrap(), table, is_suspended)
}

fn name(code: &str) -> LinkName {
    LinkName { domain: "*".to_owned(), code: code.to_owned() }
}

/// The number of every link in the table. Its URL and its product must agree on it.
fn numbers_of(table: &Table) -> Reference {
    let mut numbers = Reference::new();
    table.for_each(|link| {
        let facts = LinkFacts::decode(link.facts()).unwrap();
        let url = link.url_template().to_url_text_with_placeholders();
        let number = url.rsplit('/').next().unwrap().to_owned();
        assert_eq!(facts.product, number, "half a link");
        numbers.insert(String::from_utf8(link.code().to_owned()).unwrap(), number.parse().unwrap());
    });
    numbers
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let dir = tempfile::tempdir().unwrap();
        let domains = Arc::new(Domains::new(&DomainsConfig::default()).unwrap());
        let (catalog, table, _) = open(dir.path(), &domains);
        let random = StdRng::seed_from_u64(seed);
        let reference = Reference::new();
        let catalog = Some(catalog);
        Simulation { random, dir, domains, catalog, table, reference, suspended: false, next_number: 0 }
    }

    fn pick_code(&mut self) -> String {
        format!("code{}", self.random.random_range(0..CODES))
    }

    /// A change, and what it makes of the reference if it is taken.
    fn random_row(&mut self) -> (ChangeRow, String, Option<u32>) {
        let code = self.pick_code();
        self.next_number += 1;
        let number = self.next_number;
        let url = format!("https://shop.example.com/{number}");
        let change = match self.random.random_range(0..4) {
            0 => return (delete(&code), code, None),
            1 => {
                let patch = json!({"url":url,"product":number.to_string(),"title":format!("title {number}")});
                LinkChange::Patch { name: name(&code), patch }
            }
            _ => {
                let record = json!({"code":code,"url":url,"kind":"product","creator":"c_1","seller":"s_1",
                    "product":number.to_string(),"plan":"open","rate_bp":1000,"created_at":"2026-11-01T00:00:00Z"});
                LinkChange::Put { record: Box::new(serde_json::from_value(record).unwrap()), text: None }
            }
        };
        (ChangeRow { change, expected: ExpectedLink::Any }, code, Some(number))
    }

    fn apply_random_batch(&mut self) {
        let count = self.random.random_range(1..8);
        let drawn: Vec<_> = (0..count).map(|_| self.random_row()).collect();
        let mode = if self.random.random_range(0..2) == 0 { BatchMode::Atomic } else { BatchMode::Each };
        let rows = drawn.iter().map(|(row, ..)| row.clone()).collect();
        let act = new_act("model".to_owned(), None);
        let before = self.reference.clone();
        let batch = Batch { act: act.clone(), rows, mode, is_dry_run: false, once: None };
        let report = self.catalog.as_ref().unwrap().handle().apply_blocking(batch).unwrap();
        let mut expected = before.clone();
        let mut has_refusal = false;
        for ((row, code, number), outcome) in drawn.iter().zip(&report.outcomes) {
            let exists = expected.contains_key(code);
            let must_exist = !matches!(row.change, LinkChange::Put { .. });
            let is_refused = matches!(outcome, RowOutcome::Refused(_));
            assert_eq!(is_refused, must_exist && !exists, "{row:?} {outcome:?}");
            has_refusal |= is_refused;
            match number {
                _ if is_refused => {}
                Some(number) => _ = expected.insert(code.clone(), *number),
                None => _ = expected.remove(code),
            }
        }
        assert_eq!(report.is_applied, !(has_refusal && mode == BatchMode::Atomic));
        if report.is_applied {
            self.reference = expected;
            if self.random.random_range(0..5) == 0 {
                self.undo(&act.id.to_string(), before);
            }
        }
    }

    fn undo(&mut self, act: &str, before: Reference) {
        let change = ManyChange::Undo { act: act.to_owned() };
        let handle = self.catalog.as_ref().unwrap().handle();
        let report = handle.change_many_blocking(&change, &new_act("undo".to_owned(), None), false).unwrap();
        assert_eq!(report.refused_total, 0, "nobody changed them since: {report:?}");
        self.reference = before;
    }

    fn suspend_or_end(&mut self) {
        let act = new_act("model".to_owned(), None);
        let write = if self.suspended {
            Write::EndSuspension(act, Dimension::Creator, "c_1".to_owned())
        } else {
            let (dimension, value) = (Dimension::Creator, "c_1".to_owned());
            let reason = "fraud".to_owned();
            Write::Suspend(act, NewSuspension { dimension, value, until_ms: None, reason, fallback_url: None })
        };
        let report = self.catalog.as_ref().unwrap().handle().write_blocking(write).unwrap();
        assert!(matches!(report, WriteReport::Suspended { .. } | WriteReport::SuspensionEnded(Some(_))));
        self.suspended = !self.suspended;
    }

    fn restart(&mut self) {
        self.catalog.take().unwrap().stop();
        let (catalog, table, is_suspended) = open(self.dir.path(), &self.domains);
        assert_eq!((numbers_of(&table), is_suspended), (self.reference.clone(), self.suspended));
        (self.catalog, self.table) = (Some(catalog), table);
    }

    /// The files as a kill at this moment leaves them.
    fn assert_crash_image_holds_everything(&self) {
        let image = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            // The index of the log is memory that processes share; a new process makes it again.
            if !path.to_string_lossy().ends_with("-shm") {
                std::fs::copy(&path, image.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let (catalog, table, is_suspended) = open(image.path(), &self.domains);
        assert_eq!((numbers_of(&table), is_suspended), (self.reference.clone(), self.suspended));
        assert_eq!(catalog.handle().open_reader().unwrap().find_damage().unwrap(), Vec::<String>::new());
        catalog.stop();
    }

    fn assert_table_and_file_hold_the_reference(&self) {
        assert_eq!(numbers_of(&self.table), self.reference);
        let reader = self.catalog.as_ref().unwrap().handle().open_reader().unwrap();
        let listed = reader.list_links(&LinkFilter::default(), None, 1_000).unwrap();
        let codes: Vec<String> = listed.iter().map(|link| link.name.code.clone()).collect();
        let mut expected: Vec<String> = self.reference.keys().cloned().collect();
        expected.sort();
        assert_eq!(codes, expected);
        for link in listed {
            let served = self.table.get(self.domains.all()[0].id, link.name.code.as_bytes()).unwrap();
            assert_eq!(served.version(), link.version);
        }
    }
}

fn delete(code: &str) -> ChangeRow {
    ChangeRow { change: LinkChange::Delete { name: name(code) }, expected: ExpectedLink::Any }
}

/// Looks links up until it is told to stop: each is whole, and its version never goes back while it exists.
fn look_up_until_stopped(table: &Table, domains: &Domains, stop: &AtomicBool) -> u64 {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for at in 0..CODES {
            let code = format!("code{at}");
            let link = table.get(domains.all()[0].id, code.as_bytes()).map(|found| found.clone());
            let Some(link) = link else { continue };
            let facts = LinkFacts::decode(link.facts()).unwrap();
            assert!(link.url_template().to_url_text_with_placeholders().ends_with(&format!("/{}", facts.product)));
            let latest = seen.entry(code).or_default();
            assert!(link.version() >= *latest, "{} after {latest}", link.version());
            *latest = link.version();
            count += 1;
        }
    }
    count
}

#[test]
fn random_changes_restarts_and_crashes_leave_what_was_acknowledged() {
    for seed in 0..6 {
        let mut simulation = Simulation::new(seed);
        for _ in 0..4 {
            let stop = AtomicBool::new(false);
            let (table, domains) = (simulation.table.clone(), simulation.domains.clone());
            let looked_up = std::thread::scope(|scope| {
                let reader = scope.spawn(|| look_up_until_stopped(&table, &domains, &stop));
                for _ in 0..STEPS / 4 {
                    match simulation.random.random_range(0..12) {
                        0 => simulation.suspend_or_end(),
                        1 => simulation.assert_crash_image_holds_everything(),
                        _ => simulation.apply_random_batch(),
                    }
                    simulation.assert_table_and_file_hold_the_reference();
                }
                stop.store(true, Ordering::Relaxed);
                reader.join().unwrap()
            });
            assert!(looked_up > 0 || simulation.reference.is_empty());
            simulation.restart();
        }
    }
}
