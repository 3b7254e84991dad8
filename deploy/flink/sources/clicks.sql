-- The clicks that Waypost delivered: the topics `clicks` and `clicks.orphan`, stubs included (docs/events.md). Values are
-- JSON or Protobuf, record by record. A record that is neither stops the job: Waypost writes none.
CREATE TABLE clicks_topic (
  `value` BYTES,
  headers MAP<STRING, BYTES> METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_CLICKS};${TOPIC_ORPHANS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${SCAN_END}', 'format' = 'raw'
);

CREATE TEMPORARY FUNCTION parse_click AS 'waypost.flink.ParseClick';

-- A click's facts by the names that the steps use. The time of arrival is the header that Waypost sets when it sends the
-- record, so a replay reads the same time.
CREATE VIEW click AS
SELECT p.`type`, p.click_id, p.clicked_at_ms,
  COALESCE(TRY_CAST(CAST(t.headers['wp_shipped_at_ms'] AS STRING) AS BIGINT), 0) AS arrived_at_ms,
  p.labels_version, p.duplicate, p.countable, p.edge, p.lane, p.epoch, p.seq, p.outcome, p.`class`, p.`source`,
  p.`domain`, p.`code`, p.link_kind, p.link_created_at_ms AS created_ms, p.link_ends_at_ms AS ends_ms,
  CASE WHEN p.link_test THEN 1 ELSE 0 END AS `test`, p.creator_id, p.creator_type, p.partner_id, p.seller_id,
  p.campaign_id, p.product_id, p.product_set_id, p.`plan`, p.rate_bp, p.visitor_id
FROM clicks_topic t CROSS JOIN LATERAL TABLE(parse_click(t.`value`)) AS p;
