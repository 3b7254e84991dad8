//! Records that are applied to a catalog without a broker: stages, freezes, fingerprints.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::{
    apply_records::{AppliedRecords, ReadPosition, RecordOutcome, apply_records},
    catalog_thread::run_on_catalog_thread,
    fingerprint,
    record::{RejectReason, TopicRecord},
    stage::{self, StageCheck},
    state::TopicState,
    tables::create_missing_tables,
};
use crate::{
    catalog::{Catalog, LinkSource, OpenedCatalog, offline::add_domains_of_catalog},
    links::{
        Table,
        destination::policy::DestinationPolicy,
        domains::{Config as DomainsConfig, Domains, Settings},
    },
};

struct Reading {
    catalog: Catalog,
    table: Arc<Table>,
    domains: Arc<Domains>,
    /// The domains that requests see.
    served: Arc<Mutex<Arc<Domains>>>,
    state: TopicState,
}

impl Reading {
    fn open(dir: &Path) -> Reading {
        Reading::open_with(dir, DomainsConfig::default())
    }

    /// With these domains in the configuration.
    fn open_with(dir: &Path, configured: DomainsConfig) -> Reading {
        let domains = Arc::new(Domains::new(&add_domains_of_catalog(&configured, dir).unwrap()).unwrap());
        let opened = OpenedCatalog::open_or_create(dir, DestinationPolicy::default(), domains.clone(), 1).unwrap();
        let table = opened.table.clone();
        let catalog = opened.start(LinkSource::Topic).unwrap();
        let served = Arc::new(Mutex::new(domains.clone()));
        let published = served.clone();
        catalog.handle().publish_domains_to(Arc::new(configured), move |domains| *published.lock().unwrap() = domains);
        let state = run_on_catalog_thread(&catalog.handle(), |writer| {
            create_missing_tables(&writer.store.connection)?;
            TopicState::read(&writer.store.connection, "links.v1")
        });
        let state = state.unwrap().unwrap_or_else(|| TopicState::beginning_of("links.v1"));
        Reading { catalog, table, domains, served, state }
    }

    fn apply(&mut self, records: Vec<TopicRecord>) -> AppliedRecords {
        let state = self.state.clone();
        let applied = run_on_catalog_thread(&self.catalog.handle(), move |writer| {
            apply_records(writer, state, &records, ReadPosition::Advances)
        });
        let applied = applied.unwrap();
        assert_eq!(applied.store_error, None);
        self.state = applied.state.clone();
        applied
    }

    fn url_of(&self, code: &str) -> Option<String> {
        let link = self.table.get(self.domains.all()[0].id, code.as_bytes())?;
        Some(link.url_template().to_url_text_with_placeholders())
    }

    /// Whether a link is served on a host of its own; `None`: the host is no domain.
    fn has_link_on(&self, host: &str, code: &str) -> Option<bool> {
        let domains = self.served.lock().unwrap().clone();
        let id = domains.find_configured_by_host(host.as_bytes())?.id;
        Some(self.table.get(id, code.as_bytes()).is_some())
    }

    fn fingerprint_of_file(&self) -> u64 {
        run_on_catalog_thread(&self.catalog.handle(), |writer| fingerprint::of_all_links(&writer.store.connection))
            .unwrap()
    }

    fn stage(&self, records: Vec<TopicRecord>) {
        run_on_catalog_thread(&self.catalog.handle(), move |writer| stage::stage_records(writer, &records)).unwrap();
    }

    fn check(&self, allow_shrink: bool) -> StageCheck {
        run_on_catalog_thread(&self.catalog.handle(), move |writer| stage::check_stage(writer, allow_shrink)).unwrap()
    }

    /// Serves the stage, as a reading from the beginning does at the end.
    fn serve_stage(&mut self, next_offset: u64) {
        let catalog = self.catalog.handle();
        run_on_catalog_thread(&catalog, stage::begin_apply).unwrap();
        self.state = TopicState::beginning_of("links.v1");
        let state = self.state.clone();
        let applied = run_on_catalog_thread(&catalog, move |writer| stage::apply_next_part(writer, state, None));
        self.state = applied.unwrap().unwrap().state;
        run_on_catalog_thread(&catalog, |writer| stage::remove_next_part(writer, "links.v1", 0)).unwrap();
        let state = TopicState { next_offset, ..self.state.clone() };
        self.state = run_on_catalog_thread(&catalog, move |writer| stage::finish_apply(writer, state)).unwrap();
    }
}

fn record(offset: u64, key: &str, value: Option<Value>) -> TopicRecord {
    TopicRecord {
        offset,
        at_ms: 1_793_600_000_000,
        key: Some(key.as_bytes().to_vec()),
        value: value.map(|value| value.to_string().into_bytes()),
        author: None,
    }
}

fn link(offset: u64, code: &str, page: &str) -> TopicRecord {
    let url = format!("https://shop.example.com/{page}");
    let value = json!({"code": code, "url": url, "kind": "plain", "creator": "c_1",
        "created_at": "2026-10-01T00:00:00Z"});
    record(offset, &format!("l/*/{code}"), Some(value))
}

#[test]
fn a_restart_knows_how_far_the_topic_is_read_and_the_fingerprint_is_that_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut reading = Reading::open(dir.path());
    let generation = record(0, "a/generation", Some(json!({"generation": "g1"})));
    reading.apply(vec![generation, link(1, "tea", "old"), link(2, "cup", "old")]);
    reading.apply(vec![link(3, "tea", "new"), record(4, "l/*/cup", None), link(5, "tea", "new")]);
    assert_eq!(reading.state.fingerprint, reading.fingerprint_of_file());
    let state = reading.state.clone();
    assert_eq!((state.next_offset, state.generation.as_ref().unwrap().id.as_str()), (6, "g1"));
    // A record that changes nothing moves the version: compaction keeps it alone.
    assert_eq!(reading.table.get(reading.domains.all()[0].id, b"tea").unwrap().version(), 5);
    reading.catalog.stop();
    let reading = Reading::open(dir.path());
    assert_eq!(reading.state, state);
    assert_eq!((reading.url_of("tea").as_deref(), reading.url_of("cup")), (Some("https://shop.example.com/new"), None));
    reading.catalog.stop();
}

#[test]
fn records_of_links_wait_in_their_order_while_links_are_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let mut reading = Reading::open(dir.path());
    let freeze = record(1, "f/freeze", Some(json!({"reason": "audit"})));
    reading.apply(vec![link(0, "tea", "old"), freeze]);
    let applied = reading.apply(vec![
        link(2, "tea", "first"),
        record(3, "l/*/tea", None),
        link(4, "tea", "last"),
        record(5, "s/creator/c_1", Some(json!({"reason": "fraud"}))),
    ]);
    let outcomes: Vec<RecordOutcome> = applied.outcomes.iter().map(|(outcome, _)| *outcome).collect();
    use RecordOutcome::{Parked, Suspension};
    assert_eq!(outcomes, [Parked, Parked, Parked, Suspension]);
    assert_eq!(reading.url_of("tea").unwrap(), "https://shop.example.com/old");
    reading.catalog.stop();
    let mut reading = Reading::open(dir.path());
    reading.apply(vec![record(6, "f/freeze", None)]);
    assert_eq!(reading.url_of("tea").unwrap(), "https://shop.example.com/last");
    assert_eq!(reading.state.fingerprint, reading.fingerprint_of_file());
    reading.catalog.stop();
}

#[test]
fn a_bad_record_of_a_key_keeps_the_link_and_is_listed_until_a_good_one_follows() {
    let dir = tempfile::tempdir().unwrap();
    let mut reading = Reading::open(dir.path());
    let mut thief = link(1, "tea", "thief");
    thief.value = thief.value.map(|value| String::from_utf8(value).unwrap().replace("c_1", "c_2").into_bytes());
    let applied = reading.apply(vec![link(0, "tea", "old"), thief]);
    assert_eq!((applied.rejections, applied.rejected_kept), (vec![(1, RejectReason::Unchangeable)], 1));
    assert_eq!((reading.url_of("tea").unwrap(), reading.state.next_offset), ("https://shop.example.com/old".into(), 2));
    assert_eq!(reading.apply(vec![link(2, "tea", "new")]).rejected_kept, 0);
    reading.catalog.stop();
}

#[test]
fn a_topic_that_is_read_anew_is_served_whole_and_not_if_it_lacks_more_than_a_tenth_of_the_links() {
    let dir = tempfile::tempdir().unwrap();
    let mut reading = Reading::open(dir.path());
    let codes: Vec<String> = (0..20).map(|at| format!("c{at}")).collect();
    reading.apply(codes.iter().zip(100..).map(|(code, offset)| link(offset, code, "old")).collect());
    reading.apply(vec![record(120, "s/creator/c_1", Some(json!({"reason": "fraud"})))]);
    // Offsets begin anew. An older record of a key is replaced, a tombstone takes its key away.
    let staged = |codes: &[String], page: &str| -> Vec<TopicRecord> {
        codes.iter().zip(1..).map(|(code, offset)| link(offset, code, page)).collect()
    };
    reading.stage(staged(&codes[..17], "first"));
    assert_eq!(reading.check(false), StageCheck::LosesTooMany { lost: 3, live: 20 });
    assert_eq!(reading.check(true), StageCheck::MayBeServed);
    reading.stage(vec![link(30, "c17", "new"), link(31, "c18", "new"), link(32, "c18", "newer")]);
    reading.stage(vec![record(33, "l/*/c0", None), link(34, "c0", "new"), link(35, "other", "new")]);
    assert_eq!(reading.check(false), StageCheck::MayBeServed);
    assert_eq!(reading.url_of("c1").unwrap(), "https://shop.example.com/old", "nothing is served before the end");
    reading.serve_stage(36);
    for (code, page) in [("c0", "new"), ("c1", "first"), ("c18", "newer"), ("other", "new")] {
        assert_eq!(reading.url_of(code).unwrap(), format!("https://shop.example.com/{page}"), "{code}");
    }
    assert_eq!((reading.url_of("c19"), reading.table.len()), (None, 20));
    assert_eq!((reading.state.next_offset, reading.state.fingerprint), (36, reading.fingerprint_of_file()));
    let suspensions = reading.catalog.handle().open_reader().unwrap().list_suspensions().unwrap();
    assert_eq!(suspensions, [], "a suspension without a record has ended");
    reading.catalog.stop();
}

/// A link of `a.example`.
fn link_of_domain(offset: u64, code: &str) -> TopicRecord {
    let url = "https://shop.example.com/";
    let value = json!({"domain": "a.example", "code": code, "url": url, "kind": "plain", "creator": "c_1",
        "created_at": "2026-10-01T00:00:00Z"});
    record(offset, &format!("l/a.example/{code}"), Some(value))
}

#[test]
fn a_domain_is_served_with_the_links_before_and_behind_it_and_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut reading = Reading::open(dir.path());
    // Compaction leaves the last record of a domain behind those of its links.
    let waiting = reading.apply(vec![link_of_domain(1, "tea"), link_of_domain(2, "cup"), link_of_domain(3, "pot")]);
    let rejected: Vec<RejectReason> = waiting.rejections.iter().map(|(_, reason)| *reason).collect();
    assert_eq!(rejected, [RejectReason::DomainUnknown; 3]);
    assert_eq!(reading.has_link_on("a.example", "tea"), None);
    reading.catalog.stop();
    let mut reading = Reading::open(dir.path());
    let domain = |offset| record(offset, "d/a.example", Some(json!({"case_insensitive": true})));
    let applied = reading.apply(vec![record(4, "l/a.example/pot", None), domain(5), link_of_domain(6, "jug")]);
    let outcomes: Vec<RecordOutcome> = applied.outcomes.iter().map(|(outcome, _)| *outcome).collect();
    use RecordOutcome::{Domain, Link, Rejected, Tombstone};
    assert_eq!((outcomes, applied.rejected_kept), (vec![Tombstone, Link, Link, Domain, Link], 0));
    let served = |reading: &Reading| ["tea", "cup", "pot", "jug"].map(|code| reading.has_link_on("a.example", code));
    let expected = [true, true, false, true].map(Some);
    assert_eq!(served(&reading), expected);
    assert_eq!(reading.state.fingerprint, reading.fingerprint_of_file());
    reading.catalog.stop();
    let mut reading = Reading::open(dir.path());
    assert_eq!(served(&reading), expected);
    // What links depend on does not change, and a domain with links stays.
    let applied = reading.apply(vec![record(7, "d/a.example", Some(json!({}))), record(8, "d/a.example", None)]);
    assert_eq!(applied.rejections, [(7, RejectReason::Invalid), (8, RejectReason::Invalid)]);
    let tombstones = ["tea", "cup", "jug"].iter().zip(9..);
    let mut records: Vec<_> =
        tombstones.map(|(code, offset)| record(offset, &format!("l/a.example/{code}"), None)).collect();
    records.extend([record(12, "d/a.example", None), link_of_domain(13, "tea")]);
    let applied = reading.apply(records);
    assert_eq!((applied.outcomes.last().unwrap().0, applied.rejected_kept), (Rejected, 1));
    assert_eq!(reading.has_link_on("a.example", "tea"), None);
    reading.catalog.stop();
}

#[test]
fn a_domain_that_the_configuration_names_is_kept_for_a_configuration_that_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let configured = DomainsConfig::of_hosts([("a.example".to_owned(), Settings::default())].into());
    let mut reading = Reading::open_with(dir.path(), configured);
    let applied = reading.apply(vec![
        record(1, "d/a.example", Some(json!({"case_insensitive": true}))),
        record(2, "d/a.example", Some(json!({"root_url": "no url"}))),
        link_of_domain(3, "tea"),
    ]);
    assert_eq!(applied.rejections, [(2, RejectReason::Invalid)]);
    assert_eq!(applied.outcomes[0].0, RecordOutcome::DomainConfigured);
    assert_eq!(reading.has_link_on("a.example", "tea"), Some(true));
    let ignores_case = |reading: &Reading| {
        reading.served.lock().unwrap().find_configured_by_host(b"a.example").unwrap().id.ignores_case()
    };
    assert!(!ignores_case(&reading));
    reading.catalog.stop();
    let reading = Reading::open(dir.path());
    assert!(ignores_case(&reading));
    assert_eq!(reading.has_link_on("a.example", "tea"), Some(true));
    reading.catalog.stop();
}

#[test]
fn a_domain_without_a_record_is_removed_once_the_topic_is_read_anew_and_frozen_ones_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut reading = Reading::open(dir.path());
    let domain = |offset, host: &str| record(offset, &format!("d/{host}"), Some(json!({})));
    reading.apply(vec![domain(1, "a.example"), domain(2, "b.example"), link_of_domain(3, "tea")]);
    assert_eq!(reading.has_link_on("b.example", "tea"), Some(false));
    // The new topic has one of them, behind its link, and another one.
    reading.stage(vec![link_of_domain(1, "tea"), domain(2, "c.example"), domain(3, "a.example")]);
    reading.serve_stage(4);
    let served =
        |reading: &Reading| ["a.example", "b.example", "c.example"].map(|host| reading.has_link_on(host, "tea"));
    assert_eq!(served(&reading), [Some(true), None, Some(false)]);
    assert_eq!(reading.state.fingerprint, reading.fingerprint_of_file());
    reading.catalog.stop();
    let mut reading = Reading::open(dir.path());
    assert_eq!(served(&reading), [Some(true), None, Some(false)]);
    reading.apply(vec![record(4, "f/freeze", Some(json!({"reason": "audit"}))), domain(5, "b.example")]);
    assert_eq!(served(&reading)[1], None);
    reading.apply(vec![record(6, "f/freeze", None)]);
    assert_eq!(served(&reading)[1], Some(false));
    reading.catalog.stop();
}
