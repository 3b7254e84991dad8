-- `creator_clicks`: clicks of each creator by hour and by day (UTC), compacted, key (creator, span, start). A click
-- counts once, however often it was delivered. `countable` is the event's own verdict.
CREATE TABLE creator_clicks (
  creator_id STRING, span STRING, starts_at_ms BIGINT, clicks BIGINT, countable BIGINT,
  PRIMARY KEY (creator_id, span, starts_at_ms) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '${TOPIC_CREATOR_CLICKS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json', 'value.format' = 'json',
  'sink.delivery-guarantee' = 'at-least-once', 'sink.buffer-flush.interval' = '${FLUSH_INTERVAL}',
  'sink.buffer-flush.max-rows' = '10000'
);

INSERT INTO creator_clicks
SELECT creator_id, span, starts_at_ms, COUNT(*), SUM(CASE WHEN countable THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END)
FROM (
  SELECT creator_id, 'hour' AS span, clicked_at_ms - MOD(clicked_at_ms, 3600000) AS starts_at_ms, countable FROM `record`
  UNION ALL
  SELECT creator_id, 'day', clicked_at_ms - MOD(clicked_at_ms, 86400000), countable FROM `record`)
WHERE creator_id IS NOT NULL
GROUP BY creator_id, span, starts_at_ms;
