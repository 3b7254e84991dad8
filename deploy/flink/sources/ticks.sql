-- The clock of the states: {"as_of_ms": N} for each multiple N of ${TICK_MS} ms that has passed, without a gap.
-- waypost.flink.Ticks writes the topic.
CREATE TABLE ticks_topic (
  as_of_ms BIGINT
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_TICKS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${SCAN_END}', 'format' = 'json'
);

CREATE VIEW tick AS
SELECT as_of_ms, as_of_ms / CAST(${TICK_MS} AS BIGINT) AS tick_number FROM ticks_topic;
