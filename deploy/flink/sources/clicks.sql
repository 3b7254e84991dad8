-- The clicks that Waypost delivered: the topics `clicks` and `clicks.orphan`, stubs included (docs/events.md).
-- A record that is no JSON stops the job: Waypost writes none.
CREATE TABLE clicks_topic (
  `type` STRING, click_id STRING, clicked_at_ms BIGINT, edge STRING, lane BIGINT, epoch BIGINT, seq BIGINT,
  outcome STRING, `class` STRING, countable BOOLEAN, duplicate BOOLEAN, `source` STRING, labels_version BIGINT,
  `domain` STRING, `code` STRING, link_kind STRING, link_created_at_ms BIGINT, link_ends_at_ms BIGINT, link_test BOOLEAN,
  creator_id STRING, creator_type STRING, partner_id STRING, seller_id STRING, campaign_id STRING, product_id STRING,
  product_set_id STRING, `plan` STRING, rate_bp BIGINT, visitor_id STRING,
  headers MAP<STRING, BYTES> METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_CLICKS};${TOPIC_ORPHANS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${SCAN_END}', 'format' = 'json'
);

-- A click's facts by the names that the steps use. The time of arrival is the header that Waypost sets when it sends the
-- record, so a replay reads the same time.
CREATE VIEW click AS
SELECT `type`, click_id, clicked_at_ms,
  COALESCE(TRY_CAST(CAST(headers['wp_shipped_at_ms'] AS STRING) AS BIGINT), 0) AS arrived_at_ms,
  labels_version, duplicate, countable, edge, lane, epoch, seq, outcome, `class`, `source`, `domain`, `code`, link_kind,
  link_created_at_ms AS created_ms, link_ends_at_ms AS ends_ms, CASE WHEN link_test THEN 1 ELSE 0 END AS `test`,
  creator_id, creator_type, partner_id, seller_id, campaign_id, product_id, product_set_id, `plan`, rate_bp, visitor_id
FROM clicks_topic;
