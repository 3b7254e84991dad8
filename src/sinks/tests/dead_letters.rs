//! Dead letters with a mock cluster: clicks refused even alone, their stubs, and crashes in between.

use rdkafka::types::{
    RDKafkaApiKey,
    RDKafkaRespErr::{self, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE, RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR},
};

use super::*;
use crate::delivery::{engine::reports::MAX_TIMESTAMP_SHIFT, gate::SendDecision};

/// A mock cluster with one partition a topic and a long linger, so that clicks sent together are one batch.
pub(super) fn start_one_batch_cluster() -> (TestCluster, kafka::Config) {
    let (cluster, mut config) = start_mock_cluster(1);
    config.properties = [("linger.ms".to_owned(), "30".to_owned())].into_iter().collect();
    (cluster, config)
}

/// Refuses the batch, the same batch again, and of its clicks one by one the one at this index. The next requests pass,
/// after `more_refusals` further ones.
fn refuse_click(cluster: &TestCluster, index: usize, more_refusals: usize) {
    let mut answers = vec![TOO_LARGE, TOO_LARGE];
    answers.extend(std::iter::repeat_n(NO_ERROR, index));
    answers.extend(std::iter::repeat_n(TOO_LARGE, 1 + more_refusals));
    cluster.request_errors(RDKafkaApiKey::Produce, &answers);
}

impl TestEdge<KafkaSink> {
    /// Clicks refused more often than it takes to prove them bad.
    fn blocked_clicks(&self) -> usize {
        self.engine.sum_undelivered_counts_over_lanes().returned[4]
    }

    fn decide_next_send(&self, now: Instant) -> SendDecision {
        self.engine.gate.decide_next_send(&self.engine.sum_undelivered_counts_over_lanes(), 1_000, now)
    }
}

/// The records of a topic, apart by their type.
struct ClicksAndStubs {
    clicks: Vec<serde_json::Value>,
    stubs: Vec<ConsumedRecord>,
}

fn consume_clicks_and_stubs(cluster: &TestCluster, count: usize) -> ClicksAndStubs {
    let records = consume(cluster, Topic::Clicks, count).into_iter();
    let (stubs, clicks): (Vec<_>, Vec<_>) = records.partition(|record| record.value["type"] == "dead_lettered");
    ClicksAndStubs { clicks: clicks.into_iter().map(|record| record.value).collect(), stubs }
}

#[test]
fn of_a_batch_with_one_bad_click_only_that_is_dead_lettered_and_its_stub_takes_its_place() {
    let (cluster, mut config) = start_one_batch_cluster();
    (config.cloudevents, config.encoding) = (true, kafka::Encoding::Protobuf);
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    refuse_click(&cluster, 5, 0);
    (0..8).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    assert_eq!(edge.engine.delivered, 7, "a dead letter is not delivered");
    let ClicksAndStubs { clicks, stubs } = consume_clicks_and_stubs(&cluster, 8);
    assert_eq!(count_by_number(&clicks), once_each((0..8).filter(|number| *number != 5)));
    let [letter] = &edge.dead_letters()[..] else { panic!("{:?}", edge.dead_letters()) };
    let [stub] = &stubs[..] else { panic!("{} stubs", stubs.len()) };
    let event = &letter["event"];
    assert_eq!(count_by_number([event]), once_each(5..6));
    for key in ["click_id", "clicked_at_ms", "edge", "lane", "epoch", "seq", "schema_version"] {
        assert_eq!(stub.value[key], event[key], "{key}");
    }
    assert_eq!((&stub.value["seq"], &letter["seq"]), (&5.into(), &5.into()));
    assert_eq!((&stub.value["reason"], &letter["reason"]), (&"too_large".into(), &"too_large".into()));
    assert_eq!(letter["topic"], "clicks");
    assert!(stub.value["size"].as_u64().unwrap() > 500 && stub.value["safe"].is_u64());
    assert_eq!(stub.key.as_deref(), event["visitor_id"].as_str().map(str::as_bytes));
    let stub_id = format!("{}/dead_lettered", stub.value["click_id"].as_str().unwrap());
    assert_eq!(stub.headers["ce_id"], stub_id, "a reader that drops known ids must keep the click itself");
    assert_eq!(stub.headers["ce_type"], "waypost.dead_lettered.v1");
    assert_eq!(stub.timestamp, sample_click().at_ms as i64);
}

#[test]
fn a_crash_between_a_dead_letter_and_its_stub_repeats_both_and_loses_nothing() {
    let (cluster, config) = start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config.clone());
    // The stub is refused too, and so is the click behind it, which is no dead letter as long as the stub waits.
    refuse_click(&cluster, 2, 100);
    (0..4).for_each(|number| edge.append_numbered(0, number));
    edge.run_until(|edge| edge.blocked_clicks() == 1);
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (1, 2), "the blocked click is not passed");
    drop(edge);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);

    // The clicks above the delivered position are sent again: the bad click, now the first, and the one behind it.
    refuse_click(&cluster, 0, 0);
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (2, 1));
    let letters = edge.dead_letters();
    for key in ["edge", "lane", "epoch", "seq"] {
        assert_eq!(letters[0][key], letters[1][key], "{key}");
    }
    let ClicksAndStubs { clicks, stubs } = consume_clicks_and_stubs(&cluster, 4);
    assert!(count_by_number(&clicks).into_keys().eq([0, 1, 3]));
    assert_eq!(stubs.len(), 1);
    assert_eq!(stubs[0].value["seq"], 2);
}

#[test]
fn a_refused_stub_waits_and_is_sent_again_without_a_second_dead_letter() {
    let (cluster, config) = start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    refuse_click(&cluster, 1, 1);
    (0..2).for_each(|number| edge.append_numbered(0, number));
    edge.run_until(|edge| edge.blocked_clicks() == 1);
    assert_eq!(edge.decide_next_send(Instant::now()), SendDecision::SendNew(1_000), "others go on");
    let later = Instant::now() + Duration::from_secs(31);
    assert_eq!(edge.decide_next_send(later), SendDecision::Resend { refusals: 4..=255, limit: 1 });
    edge.engine.poll_send_and_acknowledge_once(later, false);
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (1, 1));
    let ClicksAndStubs { clicks, stubs } = consume_clicks_and_stubs(&cluster, 2);
    assert_eq!((count_by_number(&clicks), stubs.len()), (once_each(0..1), 1));
}

#[test]
fn a_click_that_the_topic_accepts_after_a_crash_is_delivered_beside_its_dead_letter() {
    let (cluster, config) = start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config.clone());
    refuse_click(&cluster, 0, 100);
    edge.append_numbered(0, 0);
    edge.run_until(|edge| edge.blocked_clicks() == 1);
    drop(edge);
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (1, 1));
    let ClicksAndStubs { clicks, stubs } = consume_clicks_and_stubs(&cluster, 1);
    assert_eq!((count_by_number(&clicks), stubs.len()), (once_each(0..1), 0));
}

#[test]
fn a_dead_letter_that_neither_a_file_nor_the_reserve_takes_waits_and_others_go_on() {
    let (cluster, config) = start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("dead-letters");
    fs::write(&in_the_way, "").unwrap();
    fs::create_dir(dir.path().join("dead-letters.clicks.reserve")).unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    // The click itself is tried once more, because without a dead letter there is no stub.
    refuse_click(&cluster, 3, 1);
    (0..4).for_each(|number| edge.append_numbered(0, number));
    edge.run_until(|edge| edge.blocked_clicks() == 1);
    (4..20).for_each(|number| edge.append_numbered(0, number));
    edge.run_until(|edge| {
        let tracked = edge.engine.lanes[0].clicks.tracked_clicks();
        edge.engine.sum_undelivered_counts_over_lanes().in_flight == 0 && tracked == 17
    });
    assert_eq!(edge.engine.delivered, 3, "no click passes the blocked one");
    assert_eq!(edge.decide_next_send(Instant::now()), SendDecision::SendNew(1_000));

    fs::remove_file(&in_the_way).unwrap();
    edge.engine.poll_send_and_acknowledge_once(Instant::now() + Duration::from_secs(31), false);
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (1, 19));
    let ClicksAndStubs { clicks, stubs } = consume_clicks_and_stubs(&cluster, 20);
    assert_eq!((clicks.len(), stubs.len()), (19, 1));
    assert_eq!(stubs[0].value["seq"], 3);
}

#[test]
fn the_reserve_takes_dead_letters_while_no_file_can_be_written_and_gives_them_to_the_next_file() {
    let (cluster, config) = start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("dead-letters");
    fs::write(&in_the_way, "").unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    refuse_click(&cluster, 3, 0);
    (0..4).for_each(|number| edge.append_numbered(0, number));
    edge.deliver_all();
    assert_eq!(edge.engine.delivered, 3);
    let ClicksAndStubs { clicks, stubs } = consume_clicks_and_stubs(&cluster, 4);
    assert_eq!((clicks.len(), &stubs[0].value["seq"]), (3, &3.into()));
    fs::remove_file(&in_the_way).unwrap();
    edge.engine.poll_send_and_acknowledge_once(Instant::now() + Duration::from_secs(31), false);
    let [letter] = &edge.dead_letters()[..] else { panic!("{:?}", edge.dead_letters()) };
    assert_eq!(letter["seq"], 3);
    let reserve = fs::read(dir.path().join("dead-letters.clicks.reserve")).unwrap();
    assert!(reserve.iter().all(|byte| *byte == 0));
}

#[test]
fn a_click_shifted_with_others_is_tried_alone_with_its_own_time_before_it_is_a_dead_letter() {
    let (cluster, config) = start_one_batch_cluster();
    let dir = tempfile::tempdir().unwrap();
    let mut edge = TestEdge::with_kafka(dir.path(), config);
    let steps = usize::from(MAX_TIMESTAMP_SHIFT) + 1;
    let refusals = vec![RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP; 2 * steps];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    edge.append_numbered(0, 0);
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (0, 1));
    assert_eq!(consume(&cluster, Topic::Clicks, 1)[0].timestamp, sample_click().at_ms as i64);

    cluster.request_errors(RDKafkaApiKey::Produce, &vec![refusals[0]; 3 * steps]);
    edge.append_numbered(0, 1);
    edge.deliver_all();
    assert_eq!((edge.dead_letters().len(), edge.engine.delivered), (1, 1));
    assert_eq!(edge.dead_letters()[0]["reason"], "invalid_timestamp");
}
