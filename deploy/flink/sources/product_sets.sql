-- What a showcase or a campaign stands for: one entry a set, seller, product and time from which it holds. The same four
-- again replace the entry: the record with the greater offset stands, so the topic's key must be the four (one key, one
-- partition). `removed` ends the membership.
CREATE TABLE product_sets_topic (
  product_set_id STRING, seller_id STRING, product_id STRING, valid_from_ms BIGINT, removed BOOLEAN,
  `plan` STRING, rate_bp BIGINT, partner_id STRING,
  position_in_topic BIGINT METADATA FROM 'offset' VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_PRODUCT_SETS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${SCAN_END}', 'format' = 'json'
);

CREATE VIEW product_set AS
SELECT product_set_id, seller_id, product_id, valid_from_ms, CASE WHEN removed THEN 1 ELSE 0 END AS removed,
  `plan`, rate_bp, partner_id, position_in_topic
FROM product_sets_topic;
