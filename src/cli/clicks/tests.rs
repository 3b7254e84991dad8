use std::{fs, path::Path};

use super::*;

fn event(n: u64, creator: &str, source: &str, reason: &str) -> String {
    let (class, countable) = if reason == "bot" { ("bot", false) } else { ("human", reason == "human") };
    let outcome = if reason == "orphan" { "not_found" } else { "redirected" };
    let creator = if creator.is_empty() { String::new() } else { format!("\"creator_id\":\"{creator}\",") };
    format!(
        "{{\"type\":\"click\",\"click_id\":\"0190c000-0000-7000-8000-{n:012x}\",\"clicked_at_ms\":{},\"outcome\":\"{outcome}\",{creator}\
         \"code\":\"abc\",\"class\":\"{class}\",\"source\":\"{source}\",\"countable\":{countable},\"countable_reason\":\"{reason}\",\
         \"duplicate\":{}}}",
        1_795_000_000_000 + n * 40_000_000,
        reason == "duplicate"
    )
}

/// Two files of clicks, one of orphans, and a line that is still being written.
fn files(dir: &Path) -> Source {
    let write = |name: &str, events: &[String], rest: &str| {
        fs::write(dir.join(name), format!("{}\n{rest}", events.join("\n"))).unwrap();
    };
    write("clicks-000001.jsonl", &[event(1, "c1", "instagram", "human"), event(2, "c1", "instagram", "duplicate")], "");
    let repeated = event(1, "c1", "instagram", "human");
    write(
        "clicks-000002.jsonl",
        &[event(3, "c2", "youtube", "human"), event(4, "c1", "x", "bot"), repeated],
        "{\"half",
    );
    write("clicks.orphan-000001.jsonl", &[event(5, "", "direct", "orphan")], "");
    Source::Files(dir.to_owned())
}

fn tailed(source: &Source, lines: u32, topic: Which) -> Vec<String> {
    let mut out = Vec::new();
    tail(source, &Tail { lines, follow: false, json: true, topic }, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn tail_gives_the_latest_of_both_topics_by_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let source = files(dir.path());
    assert_eq!(tailed(&source, 2, Which::All), [event(4, "c1", "x", "bot"), event(5, "", "direct", "orphan")]);
    assert_eq!(tailed(&source, 4, Which::Clicks).len(), 4);
    assert_eq!(tailed(&source, 100, Which::All).len(), 6);
    assert_eq!(tailed(&source, 0, Which::All).len(), 0);
    assert_eq!(tailed(&source, 1, Which::Orphan), [event(5, "", "direct", "orphan")]);
}

#[test]
fn tail_for_people_shows_control_characters_instead_of_sending_them_to_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("clicks-000001.jsonl"),
        "{\"code\":\"a\\u001b[2J\",\"outcome\":\"redirected\"}\n\x1b]0;\n",
    )
    .unwrap();
    let mut out = Vec::new();
    let flags = Tail { lines: 9, follow: false, json: false, topic: Which::All };
    tail(&Source::Files(dir.path().to_owned()), &flags, &mut out).unwrap();
    assert!(!out.contains(&0x1b), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn stats_count_each_click_once_by_day_creator_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let source = files(dir.path());
    let rows = |flags: &Stats| {
        let mut out = Vec::new();
        stats(&source, flags, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let all = Stats { from: None, to: None, by: vec![By::Creator, By::Source], json: true };
    let json: Vec<serde_json::Value> = rows(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = |creator: &str, source: &str, counts: [u64; 6]| {
        let [clicks, countable, duplicate, not_human, orphan, test_link] = counts;
        serde_json::json!({"creator": creator, "source": source, "clicks": clicks, "countable": countable,
            "duplicate": duplicate, "not_human": not_human, "orphan": orphan, "test_link": test_link})
    };
    assert_eq!(
        json,
        [
            row("-", "direct", [1, 0, 0, 0, 1, 0]),
            row("c1", "instagram", [2, 1, 1, 0, 0, 0]),
            row("c1", "x", [1, 0, 0, 1, 0, 0]),
            row("c2", "youtube", [1, 1, 0, 0, 0, 0]),
        ]
    );
    let table = rows(&Stats { by: vec![By::Day], json: false, ..all.clone() });
    assert!(table.contains("2026-11-18") && table.contains("total"), "{table}");
    assert!(table.contains("1 more with a click id"), "{table}");
    let one_day = Stats { from: "2026-11-19".parse().ok(), to: "2026-11-19".parse().ok(), by: vec![], json: true };
    assert!(rows(&one_day).contains("\"clicks\":2"), "{}", rows(&one_day));
}

#[test]
fn stubs_are_no_clicks_and_a_click_counts_though_its_stub_came_first() {
    let dir = tempfile::tempdir().unwrap();
    let stub = |n: u64| {
        let click = event(n, "", "direct", "human");
        let (id, _) = click.split_once(",\"outcome\"").unwrap();
        format!("{},\"reason\":\"too_large\",\"size\":2000}}", id.replace("\"click\"", "\"dead_lettered\""))
    };
    let clicks = [event(1, "c1", "x", "human"), event(3, "c1", "x", "human")];
    let lines = [&stub(1), &clicks[0], &stub(2), &clicks[1], &stub(3)].map(|line| format!("{line}\n"));
    fs::write(dir.path().join("clicks-000001.jsonl"), lines.concat()).unwrap();
    let source = Source::Files(dir.path().to_owned());
    assert_eq!(tailed(&source, 10, Which::All), clicks);
    let mut out = Vec::new();
    stats(&source, &Stats { from: None, to: None, by: vec![By::Creator], json: true }, &mut out).unwrap();
    let row: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&row["creator"], &row["clicks"], &row["countable"]), (&"c1".into(), &2.into(), &2.into()));
}

#[test]
fn a_directory_that_is_not_there_says_what_to_give() {
    let error = Source::Files("/nonexistent/clicks".into()).read(&Topic::ALL, Range::All, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[test]
fn brokers_that_are_not_there_are_named() {
    let brokers = Some("127.0.0.1:1".to_owned());
    let source = Source::Kafka(Box::new(crate::kafka::Config { brokers, ..crate::kafka::Config::default() }));
    let error = source.read(&Topic::ALL, Range::All, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.starts_with("no broker answered: 127.0.0.1:1"), "{error}");
}

#[test]
fn stats_and_tail_read_every_partition_of_both_topics() {
    use rdkafka::{
        mocking::MockCluster,
        producer::{BaseProducer, BaseRecord, Producer},
    };
    let cluster = MockCluster::new(1).unwrap();
    let config = crate::kafka::Config { brokers: Some(cluster.bootstrap_servers()), ..crate::kafka::Config::default() };
    let source = Source::Kafka(Box::new(config.clone()));
    let missing = source.read(&Topic::ALL, Range::All, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(missing.contains("waypost kafka setup"), "{missing}");
    for topic in config.topics() {
        cluster.create_topic(topic, 3, 1).unwrap();
    }
    let producer: BaseProducer = config.producer("test").unwrap().create().unwrap();
    for n in 0..90 {
        let (topic, reason) = if n % 3 == 0 { (Topic::Orphan, "orphan") } else { (Topic::Clicks, "human") };
        let value = event(n, "c1", "instagram", reason);
        let record: BaseRecord<'_, (), String> =
            BaseRecord::to(config.topics()[topic as usize]).payload(&value).partition((n % 2) as i32);
        producer.send(record).map_err(|(why, _)| why).unwrap();
    }
    producer.flush(std::time::Duration::from_secs(30)).unwrap();
    let mut out = Vec::new();
    stats(&source, &Stats { from: None, to: None, by: vec![By::Source], json: true }, &mut out).unwrap();
    let row: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (row["clicks"].as_u64(), row["countable"].as_u64(), row["orphan"].as_u64()),
        (Some(90), Some(60), Some(30))
    );
    let latest = [event(88, "c1", "instagram", "human"), event(89, "c1", "instagram", "human")];
    assert_eq!(tailed(&source, 2, Which::All), latest);
}
