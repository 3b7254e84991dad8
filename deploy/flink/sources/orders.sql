-- Versions of orders, a JSON object each; the key is the order id. The topic must not be compacted: step 1 needs the
-- first paid version. `received_at` is the record's timestamp in Kafka (the broker's time or the producer's, by the
-- topic's `message.timestamp.type`), so a replay reads the same time.
CREATE TABLE orders_topic (
  `value` STRING,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  received_at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  processed_at AS PROCTIME()
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_ORDERS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${SCAN_END}', 'format' = 'raw'
);

CREATE TEMPORARY FUNCTION parse_order AS 'waypost.flink.ParseOrder';

-- Every record, parsed. A version that cannot be used has a `fault` and nothing else.
CREATE VIEW parsed_order AS
SELECT t.`value`, t.`partition`, t.`offset`, t.received_at, t.processed_at, p.*
FROM orders_topic t CROSS JOIN LATERAL TABLE(parse_order(t.`value`)) AS p;

CREATE VIEW order_version AS
SELECT * FROM parsed_order WHERE fault IS NULL;
