//! The consumers of `deploy/consumers` over real topics: each click counts once, a day is closed when every lane says
//! that it is complete, and DuckDB and ClickHouse count the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use crate::{
    clock::{Clock, HOUR},
    dsl::{Site, TIMEOUT, link},
    kafka::{
        broker::{Broker, Kind},
        site::{send_clicks, site_with_own_lanes_topic, wait_until_delivered},
    },
    need::needed_in_ci,
    python::python_with,
};

const CONSUMERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/consumers");
const DAY: i64 = 24 * HOUR;

/// A Python with the packages of a `requirements.txt`; `None` if that is impossible and the test may be skipped.
fn python(name: &str, requirements: &str) -> Option<PathBuf> {
    let packages = fs::read_to_string(Path::new(CONSUMERS).join(requirements)).unwrap();
    let packages: Vec<&str> = packages.lines().collect();
    needed_in_ci(&format!("Python with {requirements}"), python_with(name, &packages))
}

fn kafka_python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(|| python("kafka", "requirements.txt")).as_ref()
}

/// A program of `deploy/consumers`, run to its end.
fn consumer(python: &Path, program: &str, args: &[&str]) -> Output {
    let program = Path::new(CONSUMERS).join(program);
    Command::new(python).arg(program).args(args).env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}

fn rows_of(output: &Output) -> Vec<Value> {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    said.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn producer(broker: &Broker) -> BaseProducer {
    ClientConfig::new().set("bootstrap.servers", broker.unrestricted_address()).create().unwrap()
}

/// Exports a topic to a file of the site.
fn export(python: &Path, broker: &Broker, site: &Site, topic: &str) -> String {
    let file = site.path(&format!("{topic}.jsonl")).display().to_string();
    let address = broker.unrestricted_address();
    let done = consumer(python, "python/export_topic.py", &["--kafka", &address, "--topic", topic, "--out", &file]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    file
}

/// Sends a click's record again, as if it had arrived later with another label, and a stub of the click.
fn send_repeat_and_stub(broker: &Broker) {
    let first = broker.read(&["clicks"], 1, 4 * TIMEOUT).into_iter().next().unwrap();
    let producer = producer(broker);
    let mut again = first.json();
    again["source"] = json!("never");
    let arrived = first.header("wp_shipped_at_ms").unwrap().parse::<i64>().unwrap() + 1;
    let headers = OwnedHeaders::new().insert(Header { key: "wp_shipped_at_ms", value: Some(&arrived.to_string()) });
    let stub = json!({"type": "dead_lettered", "schema_version": 1, "click_id": again["click_id"], "reason": "refused",
        "clicked_at_ms": again["clicked_at_ms"], "edge": again["edge"], "lane": again["lane"], "epoch": again["epoch"],
        "seq": again["seq"], "safe": 0, "size": 1});
    let key = first.key.unwrap();
    for (value, headers) in [(again, headers.clone()), (stub, headers)] {
        let value = value.to_string();
        producer
            .send(BaseRecord::to("clicks").key(&key).payload(&value).headers(headers))
            .map_err(|(why, _)| why)
            .unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// A site whose clock stands at noon (UTC): 40 clicks on this day and 20 after its midnight, one sent twice.
struct Midnight {
    broker: Broker,
    site: Site,
    clock: Clock,
    day: String,
}

impl Midnight {
    fn start() -> Option<Midnight> {
        let now = jiff::Timestamp::now().as_millisecond();
        let midnight = now / DAY * DAY;
        let (clock, broker) = (Clock::ahead_by(midnight - 12 * HOUR - now)?, Broker::start(Kind::Plain)?);
        broker.create_click_topics("clicks", 2, &[]);
        let site = site_with_own_lanes_topic(&broker.address(), "clicks").env("WAYPOST__EDGE__ID", "edge-1");
        let site = clock.on(site.env("WAYPOST__EDGE__WORKERS", "2")).start();
        send_clicks(&site, 0..40);
        wait_until_delivered(&site, "clicks", 40);
        send_repeat_and_stub(&broker);
        let day = jiff::Timestamp::from_millisecond(midnight - 1).unwrap().to_string()[..10].to_owned();
        Some(Midnight { broker, site, clock, day })
    }

    fn go_past_midnight(&self) {
        let now = jiff::Timestamp::now().as_millisecond();
        self.clock.set(now / DAY * DAY + 60_000 - now);
        send_clicks(&self.site, 40..60);
        wait_until_delivered(&self.site, "clicks", 60);
    }
}

#[test]
fn a_consumer_counts_each_click_once_and_closes_a_day_when_every_lane_is_past_it() {
    let Some(python) = kafka_python() else { return };
    let Some(midnight) = Midnight::start() else { return };
    let (address, database) = (midnight.broker.unrestricted_address(), midnight.site.path("day.sqlite"));
    let database = database.display().to_string();
    let close_day = |edges: &str, patience: &str| {
        let args = ["--kafka", &address, "--database", &database, "--edges", edges, "--day", &midnight.day];
        consumer(python, "python/close_day.py", &[&args[..], &["--patience", patience]].concat())
    };
    let too_early = close_day("edge-1", "5");
    let said = String::from_utf8_lossy(&too_early.stderr);
    assert!(too_early.status.code() == Some(3) && said.contains("is not complete"), "{said}");

    midnight.go_past_midnight();
    let reports = rows_of(&close_day("edge-1", "60"));
    let report = &reports[0];
    assert_eq!(
        (&report["day"], &report["clicks"], &report["dead_lettered"]),
        (&json!(midnight.day), &json!(40), &json!(0))
    );
    let sources: Vec<&str> =
        report["rows"].as_array().unwrap().iter().map(|row| row["source"].as_str().unwrap()).collect();
    assert!(!sources.contains(&"never"), "the first record to arrive stands: {report}");
    assert_eq!(rows_of(&close_day("edge-1", "60")), reports, "a closed day does not change");

    let silent_edge = close_day("edge-1,edge-2", "3");
    assert_eq!(silent_edge.status.code(), Some(3), "an edge that never spoke holds the day back");
}

#[test]
fn duckdb_counts_the_clicks_of_exports_by_day_and_source() {
    let Some(python) = kafka_python() else { return };
    let Some(midnight) = Midnight::start() else { return };
    midnight.go_past_midnight();
    let file = export(python, &midnight.broker, &midnight.site, "clicks");
    let rows = rows_of(&consumer(python, "duckdb/report.py", &["--clicks", &file]));
    let clicks = |is_wanted: &dyn Fn(&Value) -> bool| -> i64 {
        rows.iter().filter(|row| is_wanted(row)).map(|row| row["clicks"].as_i64().unwrap()).sum()
    };
    assert_eq!((clicks(&|row| row["day"] == *midnight.day), clicks(&|_| true)), (40, 60), "{rows:?}");
    assert_eq!(clicks(&|row| row["source"] == "never"), 0, "{rows:?}");
}

#[test]
fn a_click_in_protobuf_is_exported_as_the_same_event_in_json() {
    let Some(python) = kafka_python() else { return };
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("encodings", 1, &[]);
    let producer = producer(&broker);
    let mut events = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        let (protobuf, json) = (fs::read(&path).unwrap(), fs::read(path.with_extension("json")).unwrap());
        let with_schema_id = [&[0, 0, 0, 0, 7, 0], &*protobuf].concat();
        events.push(serde_json::from_slice::<Value>(&json).unwrap());
        for value in [protobuf, with_schema_id, json] {
            producer.send(BaseRecord::<[u8], _>::to("encodings").payload(&value)).map_err(|(why, _)| why).unwrap();
        }
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let site = Site::new(&[]);
    let file = fs::read_to_string(export(python, &broker, &site, "encodings")).unwrap();
    let exported: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!events.is_empty() && exported.len() == 3 * events.len(), "{} of {}", exported.len(), events.len());
    for (event, records) in events.iter().zip(exported.chunks(3)) {
        assert!(records.iter().all(|record| record["value"] == *event), "{event} is exported as {records:?}");
    }
}

#[test]
#[ignore = "long: installs half a gigabyte"]
fn clickhouse_takes_the_definitions_and_counts_what_duckdb_counts() {
    let Some(python_with_kafka) = kafka_python() else { return };
    let Some(clickhouse) = python("clickhouse", "clickhouse/requirements.txt") else { return };
    let Some(midnight) = Midnight::start() else { return };
    midnight.go_past_midnight();
    let file = export(python_with_kafka, &midnight.broker, &midnight.site, "clicks");
    let by_duckdb = rows_of(&consumer(python_with_kafka, "duckdb/report.py", &["--clicks", &file]));
    assert_eq!(rows_of(&consumer(&clickhouse, "clickhouse/check.py", &[&file])), by_duckdb);
}

#[test]
fn duckdb_counts_the_clicks_of_click_files() {
    let Some(python) = kafka_python() else { return };
    let site = Site::new(&[link("live")]).start();
    send_clicks(&site, 0..7);
    site.wait_for_events("clicks", 7);
    let files = site.data().join("clicks/*.jsonl").display().to_string();
    let rows = rows_of(&consumer(python, "duckdb/report.py", &["--clicks", &files]));
    assert_eq!(rows.iter().map(|row| row["clicks"].as_i64().unwrap()).sum::<i64>(), 7, "{rows:?}");
}

#[test]
fn duckdb_adds_up_a_creators_statement_from_the_last_row_of_each_line() {
    let Some(python) = kafka_python() else { return };
    let Some(broker) = Broker::start_or_share() else { return };
    broker.create_topic("statement", 2, &[]);
    let row = |line: &str, state: &str, commission: i64, clawbacks: Value| {
        json!({"order_id": "o", "line_id": line, "creator_id": "c", "state": state, "currency": "VND",
            "commission_minor": commission, "clawbacks": clawbacks})
    };
    let large = (1i64 << 53) - 1;
    let back = |amount: i64| json!({"returned_at_ms": 1, "quantity": 1, "amount_minor": amount});
    let records = [
        ("1", Some(row("1", "pending", 10, json!([])))),
        ("1", Some(row("1", "payable", large, json!([back(-3), back(-1)])))),
        ("2", Some(row("2", "confirmed", large, json!([])))),
        ("3", Some(row("3", "payable", 7, json!([])))),
        ("3", None),
        (
            "4",
            Some(json!({"order_id": "o", "line_id": "4", "creator_id": "other", "state": "payable", "currency": "VND",
            "commission_minor": 5})),
        ),
    ];
    let producer = producer(&broker);
    for (line, value) in records {
        let value = value.map(|value| value.to_string());
        let key = json!({"order_id": "o", "line_id": line}).to_string();
        let record: BaseRecord<'_, str, str> = BaseRecord::to("statement").key(&key);
        let record = match &value {
            Some(value) => record.payload(value.as_str()),
            None => record,
        };
        producer.send(record).map_err(|(why, _)| why).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let site = Site::new(&[]);
    let file = export(python, &broker, &site, "statement");
    let statement = rows_of(&consumer(python, "duckdb/report.py", &["--commissions", &file, "--creator", "c"]));
    let line = |state: &str, clawed: i64| {
        json!({"currency": "VND", "state": state, "lines": 1, "commission_minor": large, "clawed_back_minor": clawed,
            "owed_minor": large + clawed})
    };
    assert_eq!(statement, [line("confirmed", 0), line("payable", -4)]);
}

#[test]
fn the_sinks_of_kafka_connect_say_only_what_their_connectors_know() {
    let folder = Path::new(CONSUMERS).join("connect");
    let mut compiler = boon::Compiler::new();
    let mut schemas = boon::Schemas::new();
    let path = folder.join("connector.schema.json").display().to_string();
    let schema = compiler.compile(&path, &mut schemas).unwrap();
    for name in ["s3-clicks.json", "jdbc-commissions.json"] {
        let sink: Value = serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        schemas.validate(&sink, schema).unwrap_or_else(|why| panic!("{name}: {why:#}"));
        assert_eq!(sink["config"]["consumer.override.isolation.level"], "read_committed", "{name}");
        for (_, inline) in sink["config"].as_object().unwrap().iter().filter(|(key, _)| key.ends_with("schema.inline"))
        {
            let inline: Value = serde_json::from_str(inline.as_str().unwrap()).unwrap();
            assert_eq!(inline["type"], "object", "{name}");
        }
        let mut wrong = sink.clone();
        wrong["config"]["topic"] = "clicks".into();
        assert!(schemas.validate(&wrong, schema).is_err(), "{name}: a typing error is not refused");
    }
}
