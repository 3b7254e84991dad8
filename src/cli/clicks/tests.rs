//! What the commands read from files, and from a mock cluster.

use std::{fs, path::Path};

use super::{
    source::{ClickSource, ReadRange},
    stats::{GroupBy, StatsArgs, count_clicks_by_group_and_print},
    tail::{TailArgs, TopicFilter, print_latest_clicks_and_follow_if_asked},
};
use crate::model::click::Topic;

fn event(n: u64, creator: &str, source: &str, reason: &str) -> String {
    let (class, countable) = if reason == "bot" { ("bot", false) } else { ("human", reason == "human") };
    let outcome = if reason == "orphan" { "not_found" } else { "redirected" };
    let creator = if creator.is_empty() { String::new() } else { format!("\"creator_id\":\"{creator}\",") };
    format!(
        "{{\"type\":\"click\",\"click_id\":\"0190c000-0000-7000-8000-{n:012x}\",\"clicked_at_ms\":{},\
         \"outcome\":\"{outcome}\",{creator}\"code\":\"abc\",\"class\":\"{class}\",\"source\":\"{source}\",\
         \"countable\":{countable},\"countable_reason\":\"{reason}\",\
         \"duplicate\":{}}}",
        1_795_000_000_000 + n * 40_000_000,
        reason == "duplicate"
    )
}

/// Two files of clicks, one of orphan clicks, and an incomplete last line.
fn write_click_files(dir: &Path) -> ClickSource {
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
    ClickSource::Files(dir.to_owned())
}

fn latest_clicks(source: &ClickSource, lines: u32, topic: TopicFilter) -> Vec<String> {
    let mut out = Vec::new();
    print_latest_clicks_and_follow_if_asked(source, &TailArgs { lines, follow: false, json: true, topic }, &mut out)
        .unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn tail_gives_the_latest_of_both_topics_by_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let source = write_click_files(dir.path());
    assert_eq!(
        latest_clicks(&source, 2, TopicFilter::All),
        [event(4, "c1", "x", "bot"), event(5, "", "direct", "orphan")]
    );
    assert_eq!(latest_clicks(&source, 4, TopicFilter::Clicks).len(), 4);
    assert_eq!(latest_clicks(&source, 100, TopicFilter::All).len(), 6);
    assert_eq!(latest_clicks(&source, 0, TopicFilter::All).len(), 0);
    assert_eq!(latest_clicks(&source, 1, TopicFilter::Orphan), [event(5, "", "direct", "orphan")]);
}

#[test]
fn tail_as_text_escapes_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("clicks-000001.jsonl"),
        "{\"code\":\"a\\u001b[2J\",\"outcome\":\"redirected\"}\n\x1b]0;\n",
    )
    .unwrap();
    let mut out = Vec::new();
    let args = TailArgs { lines: 9, follow: false, json: false, topic: TopicFilter::All };
    print_latest_clicks_and_follow_if_asked(&ClickSource::Files(dir.path().to_owned()), &args, &mut out).unwrap();
    assert!(!out.contains(&0x1b), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn stats_count_each_click_once_by_day_creator_and_source() {
    let dir = tempfile::tempdir().unwrap();
    let source = write_click_files(dir.path());
    let rows = |args: &StatsArgs| {
        let mut out = Vec::new();
        count_clicks_by_group_and_print(&source, args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let all = StatsArgs { from: None, to: None, by: vec![GroupBy::Creator, GroupBy::Source], json: true };
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
    let table = rows(&StatsArgs { by: vec![GroupBy::Day], json: false, ..all.clone() });
    assert!(table.contains("2026-11-18") && table.contains("total"), "{table}");
    assert!(table.contains("1 more events with a click id"), "{table}");
    let one_day = StatsArgs { from: "2026-11-19".parse().ok(), to: "2026-11-19".parse().ok(), by: vec![], json: true };
    assert!(rows(&one_day).contains("\"clicks\":2"), "{}", rows(&one_day));
}

#[test]
fn stubs_are_not_clicks_and_a_click_counts_although_its_stub_came_first() {
    let dir = tempfile::tempdir().unwrap();
    let stub = |n: u64| {
        let click = event(n, "", "direct", "human");
        let (id, _) = click.split_once(",\"outcome\"").unwrap();
        format!("{},\"reason\":\"too_large\",\"size\":2000}}", id.replace("\"click\"", "\"dead_lettered\""))
    };
    let clicks = [event(1, "c1", "x", "human"), event(3, "c1", "x", "human")];
    let lines = [&stub(1), &clicks[0], &stub(2), &clicks[1], &stub(3)].map(|line| format!("{line}\n"));
    fs::write(dir.path().join("clicks-000001.jsonl"), lines.concat()).unwrap();
    let source = ClickSource::Files(dir.path().to_owned());
    assert_eq!(latest_clicks(&source, 10, TopicFilter::All), clicks);
    let mut out = Vec::new();
    count_clicks_by_group_and_print(
        &source,
        &StatsArgs { from: None, to: None, by: vec![GroupBy::Creator], json: true },
        &mut out,
    )
    .unwrap();
    let row: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((&row["creator"], &row["clicks"], &row["countable"]), (&"c1".into(), &2.into(), &2.into()));
}

#[test]
fn a_missing_directory_is_an_error_that_names_the_flag() {
    let error = ClickSource::Files("/nonexistent/clicks".into())
        .visit_records_and_follow_if_asked(&Topic::ALL, ReadRange::All, &mut |_| Ok(()))
        .unwrap_err();
    assert!(error.to_string().contains("--data-dir"), "{error}");
}

#[test]
fn brokers_that_do_not_answer_are_named() {
    let brokers = Some("127.0.0.1:1".to_owned());
    let source = ClickSource::Kafka(Box::new(crate::kafka::Config { brokers, ..crate::kafka::Config::default() }));
    let error =
        source.visit_records_and_follow_if_asked(&Topic::ALL, ReadRange::All, &mut |_| Ok(())).unwrap_err().to_string();
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
    let source = ClickSource::Kafka(Box::new(config.clone()));
    let missing =
        source.visit_records_and_follow_if_asked(&Topic::ALL, ReadRange::All, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(missing.contains("waypost kafka setup"), "{missing}");
    for topic in config.topics.click_topics() {
        cluster.create_topic(topic, 3, 1).unwrap();
    }
    let producer: BaseProducer = config.build_producer_settings("test").unwrap().create().unwrap();
    for n in 0..90 {
        let (topic, reason) = if n % 3 == 0 { (Topic::Orphan, "orphan") } else { (Topic::Clicks, "human") };
        let value = event(n, "c1", "instagram", reason);
        let record: BaseRecord<'_, (), String> =
            BaseRecord::to(config.topics.click_topics()[topic as usize]).payload(&value).partition((n % 2) as i32);
        producer.send(record).map_err(|(why, _)| why).unwrap();
    }
    producer.flush(std::time::Duration::from_secs(30)).unwrap();
    let mut out = Vec::new();
    count_clicks_by_group_and_print(
        &source,
        &StatsArgs { from: None, to: None, by: vec![GroupBy::Source], json: true },
        &mut out,
    )
    .unwrap();
    let row: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (row["clicks"].as_u64(), row["countable"].as_u64(), row["orphan"].as_u64()),
        (Some(90), Some(60), Some(30))
    );
    let latest = [event(88, "c1", "instagram", "human"), event(89, "c1", "instagram", "human")];
    assert_eq!(latest_clicks(&source, 2, TopicFilter::All), latest);
}
