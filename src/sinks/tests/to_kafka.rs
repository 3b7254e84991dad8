//! The engine with a mock cluster: records, statements, reports, and a cluster that fails.

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::*;

#[test]
fn records_have_key_timestamp_and_by_default_one_header_the_time_of_sending() {
    let (cluster, config) = start_mock_cluster(3);
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    edge.append(0, &sample_click());
    edge.deliver_all();
    let [record] = &consume(&cluster, Topic::Clicks, 1)[..] else { panic!("more than one record") };
    assert_eq!(record.key.as_deref(), record.value["visitor_id"].as_str().map(str::as_bytes));
    assert_eq!(record.timestamp, sample_click().at_ms as i64);
    assert!(record.headers["wp_shipped_at_ms"].parse::<u64>().unwrap() > 1_700_000_000_000);
    assert_eq!(record.headers.len(), 1, "{:?}", record.headers);
}

#[test]
fn a_value_in_protobuf_has_the_facts_of_the_json_and_a_header_that_says_so() {
    let (cluster, config) = start_mock_cluster(3);
    let deliver = |config: kafka::Config, seq: u64| {
        let dir = tempfile::tempdir().unwrap();
        let mut edge = TestEdge::with_kafka(dir.path(), config);
        edge.append_numbered(0, seq);
        edge.deliver_all();
    };
    deliver(config.clone(), 1);
    let protobuf = kafka::Config { encoding: kafka::Encoding::Protobuf, ..config };
    deliver(protobuf.clone(), 1);
    deliver(kafka::Config { schema_id: Some(258), ..protobuf }, 1);
    let records = consume(&cluster, Topic::Clicks, 3);
    let facts = |record: &ConsumedRecord| {
        let mut value = record.value.clone();
        // The three edges have data directories, and epochs, of their own.
        value.as_object_mut().unwrap().remove("epoch");
        value
    };
    assert_eq!(facts(&records[1]), facts(&records[0]));
    assert_eq!(facts(&records[2]), facts(&records[0]));
    assert_eq!(records[0].encoded[0], b'{');
    assert!(records[1].encoded.len() * 3 < records[0].encoded.len() * 2, "{}", records[1].encoded.len());
    assert_eq!(records[2].encoded[..6], [0, 0, 0, 1, 2, 0]);
    let content_type = |record: &ConsumedRecord| record.headers.get("content-type").cloned();
    assert_eq!(content_type(&records[0]), None);
    assert_eq!(content_type(&records[1]).as_deref(), Some("application/protobuf"));
}

#[test]
fn records_have_the_headers_of_cloudevents_by_choice() {
    let (cluster, mut config) = start_mock_cluster(3);
    config.cloudevents = true;
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    edge.append(0, &sample_click());
    edge.append(0, &Click { visitor: None, ..sample_click() });
    edge.deliver_all();
    let records = consume(&cluster, Topic::Clicks, 2);
    for record in &records {
        let key = record.value.get("visitor_id").unwrap_or(&record.value["click_id"]);
        assert_eq!(record.key.as_deref(), key.as_str().map(str::as_bytes));
        assert_eq!(record.timestamp, sample_click().at_ms as i64);
        let header = |name: &str| record.headers[name].as_str();
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("ce_specversion"), "1.0");
        assert_eq!(header("ce_type"), "waypost.click.v1");
        assert_eq!(header("ce_source"), "/waypost/edge-1");
        assert_eq!(header("ce_id"), record.value["click_id"].as_str().unwrap());
        assert_eq!(header("ce_time"), "2026-11-18T11:06:40.123Z");
        assert_eq!(header("schema-version"), "1");
        assert!(header("wp_shipped_at_ms").parse::<u64>().unwrap() > 1_700_000_000_000);
    }
    assert_eq!(records.iter().filter(|record| record.value.get("visitor_id").is_none()).count(), 1);
}

#[test]
fn a_lane_states_its_opening_its_progress_and_the_end_of_its_last_epoch() {
    let (cluster, config) = start_mock_cluster(3);
    cluster.create_topic("clicks.lanes", 1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config.clone());
    (0..20).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    let (stopper, stop) = crate::lifecycle::stop_signal();
    stopper.stop();
    let TestEdge { engine, lanes, _spiller: spiller, .. } = edge;
    drop((lanes, spiller));
    engine.run_until_stopped_then_drain_and_send_closing_statements(&stop, Duration::from_secs(10));
    let statements = consume_statements(&cluster, |statement| statement["kind"] == "closing");
    let first = &statements[0];
    assert_eq!((&first["kind"], &first["ended"]), (&"open".into(), &serde_json::json!([])));
    let closing = statements.last().unwrap();
    let epoch = closing["epoch"].as_u64().unwrap();
    assert_eq!((&closing["topic"], &closing["next_seq"]), (&"clicks".into(), &20.into()));
    assert_eq!(closing["delivered"], serde_json::json!({"epoch": epoch, "next": 20}));
    assert_eq!(closing["safe"], closing["delivered"]);
    assert_eq!(closing["quarantined"], serde_json::json!([]));
    // Everything is delivered: complete up to the statement, less the second that an append may take.
    let complete_to_ms = closing["complete_to_ms"].as_u64().unwrap();
    assert_eq!(complete_to_ms, closing["at_ms"].as_u64().unwrap() - 1_000);
    // The next process dies without a closing statement. Its ring remains, so the end of the epoch is known exactly.
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
    let statements = consume_statements(&cluster, |statement| statement["kind"] == "recovered");
    let end = serde_json::json!({"epoch": epoch, "cut": false, "next_seq": 20});
    assert_eq!(statements.last().unwrap()["ended"], serde_json::json!([end]));
}

#[test]
fn a_cycle_takes_every_report_that_has_come() {
    let (cluster, mut config) = start_mock_cluster(3);
    cluster.create_topic("clicks.lanes", 1, 1).unwrap();
    // Each click is a batch of its own, with a report of its own.
    config.properties = [("batch.num.messages".to_owned(), "1".to_owned())].into_iter().collect();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    (0..600).for_each(|number| edge.append_numbered(0, number));
    while edge.engine.sum_undelivered_counts_over_lanes().in_flight as u64 + edge.engine.delivered < 600 {
        edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
    }
    assert_eq!(consume(&cluster, Topic::Clicks, 600).len(), 600);
    for _ in 0..50 {
        edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(edge.engine.delivered, 600);
}

#[test]
fn clicks_wait_for_an_unreachable_broker_and_refused_batches_are_sent_again_until_all_are_delivered() {
    let (cluster, config) = start_mock_cluster(3);
    cluster.create_topic("clicks.lanes", 1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    cluster.broker_down(-1).unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    (0..2_000).for_each(|number| edge.append_numbered(0, number));
    for _ in 0..50 {
        edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(edge.engine.delivered, 0);
    // The topic is filled up to its bound, except for room that is not worth a read of the journal.
    let in_flight = edge.engine.sum_undelivered_counts_over_lanes().in_flight;
    assert!((876..=1_000).contains(&in_flight), "{in_flight} clicks are in flight");
    cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        ],
    );
    cluster.broker_up(-1).unwrap();
    edge.deliver_all();
    assert_eq!(edge.engine.delivered, 2_000);
    let records = consume(&cluster, Topic::Clicks, 2_000);
    assert_eq!(count_by_number(records.iter().map(|record| &record.value)), once_each(0..2_000));
}

#[test]
fn a_lane_without_a_worker_states_again_that_it_is_drained_if_the_first_statement_is_lost() {
    let (cluster, config) = start_mock_cluster(3);
    cluster.create_topic("clicks.lanes", 1, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config.clone());
    edge.append_numbered(0, 0);
    edge.deliver_all();
    drop(edge);
    let open_sink = |notes: &[SinkNote]| KafkaSink::new(Topic::Clicks, config, "edge-1", notes, 1_000).unwrap();
    let mut edge = TestEdge::open(Topic::Clicks, dir.path(), 0, open_sink);
    let settle = |edge: &mut TestEdge<KafkaSink>| {
        edge.engine.poll_until_statements_are_settled(Instant::now() + DEADLINE);
    };
    edge.run_until(|edge| edge.engine.lanes[0].last_statement.is_some());
    settle(&mut edge);
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
    edge.run_until(|edge| edge.engine.lanes[0].has_stated_drained());
    settle(&mut edge);
    assert_eq!(edge.engine.sink.statement_counts().failed, 1);
    edge.run_until(|edge| !edge.engine.lanes[0].has_stated_drained());
    edge.run_until(|edge| edge.engine.lanes[0].has_stated_drained());
    settle(&mut edge);
    let statements = consume_statements(&cluster, |statement| statement["kind"] == "drained");
    assert_eq!(statements.last().unwrap()["lane"], 0);
}

/// An edge before a Kafka of three brokers. The lane's first statement has gone ahead, so that an error meets clicks.
fn edge_whose_first_statement_is_sent(cluster: &TestCluster, config: kafka::Config, dir: &Path) -> TestEdge<KafkaSink> {
    cluster.create_topic("clicks.lanes", 1, 1).unwrap();
    let mut edge = TestEdge::with_kafka(dir, config);
    edge.engine.poll_send_and_acknowledge_once(Instant::now(), false);
    edge.engine.poll_until_statements_are_settled(Instant::now() + DEADLINE);
    edge
}

#[test]
fn after_a_fatal_error_a_new_producer_sends_the_unacknowledged_clicks() {
    let (cluster, config) = start_mock_cluster(3);
    let dir = tempfile::tempdir().unwrap();
    let mut edge = edge_whose_first_statement_is_sent(&cluster, config, dir.path());
    for number in 0..300 {
        edge.append_numbered(0, number);
    }
    cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER]);
    edge.deliver_all();
    assert_eq!(edge.engine.delivered, 300);
    let records = consume(&cluster, Topic::Clicks, 300);
    let numbers = count_by_number(records.iter().map(|record| &record.value));
    assert!(numbers.into_keys().eq(0..300));
    assert_eq!(edge.engine.sink.producers_built(), 2);
}

#[test]
fn a_fence_without_exactly_once_is_a_failed_producer_and_delivery_goes_on() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH as INVALID_EPOCH, RD_KAFKA_RESP_ERR_PRODUCER_FENCED as FENCED,
    };
    for fence in [INVALID_EPOCH, FENCED] {
        let (cluster, config) = start_mock_cluster(3);
        let dir = tempfile::tempdir().unwrap();
        let mut edge = edge_whose_first_statement_is_sent(&cluster, config, dir.path());
        (0..300).for_each(|number| edge.append_numbered(0, number));
        cluster.request_errors(RDKafkaApiKey::Produce, &[fence]);
        edge.deliver_all();
        assert_eq!(edge.engine.delivered, 300, "{fence:?}");
        let records = consume(&cluster, Topic::Clicks, 300);
        assert!(count_by_number(records.iter().map(|record| &record.value)).into_keys().eq(0..300), "{fence:?}");
    }
}

#[test]
fn errors_of_the_topic_and_of_permissions_prove_nothing_against_a_click() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as TOO_FEW,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as FORBIDDEN,
    };
    let (cluster, config) = dead_letters::start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE, FORBIDDEN, TOO_LARGE, TOO_FEW, FORBIDDEN, FORBIDDEN]);
    (0..4).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (0, 4));
}
