-- `creator_commissions`: orders and commission of each creator by hour and by day of payment (UTC) and by currency,
-- compacted, key (creator, span, start, currency). Sums of rounded lines; nothing is converted. `owed_minor` is what is
-- confirmed or payable, clawbacks off; `pending_minor` is an estimate.
CREATE TABLE creator_commissions (
  creator_id STRING, span STRING, starts_at_ms BIGINT, currency STRING, orders BIGINT, pending_minor DECIMAL(38, 0),
  owed_minor DECIMAL(38, 0),
  PRIMARY KEY (creator_id, span, starts_at_ms, currency) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '${TOPIC_CREATOR_COMMISSIONS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'key.format' = 'json', 'value.format' = 'json',
  'value.json.encode.decimal-as-plain-number' = 'true',
  'sink.delivery-guarantee' = 'at-least-once', 'sink.buffer-flush.interval' = '${FLUSH_INTERVAL}',
  'sink.buffer-flush.max-rows' = '10000'
);

CREATE TEMPORARY FUNCTION clawed_back AS 'waypost.flink.ClawedBack';

INSERT INTO creator_commissions
SELECT creator_id, span, starts_at_ms, currency, COUNT(DISTINCT order_id),
  SUM(CASE WHEN state = 'pending' THEN amount ELSE CAST(0 AS DECIMAL(20, 0)) END),
  SUM(CASE WHEN state IN ('confirmed', 'payable') THEN amount ELSE CAST(0 AS DECIMAL(20, 0)) END)
FROM (
  SELECT creator_id, 'hour' AS span, paid_at_ms - MOD(paid_at_ms, 3600000) AS starts_at_ms, currency, order_id, state,
    CAST(commission_minor + clawed_back(clawbacks) AS DECIMAL(20, 0)) AS amount
  FROM commissions
  UNION ALL
  SELECT creator_id, 'day', paid_at_ms - MOD(paid_at_ms, 86400000), currency, order_id, state,
    CAST(commission_minor + clawed_back(clawbacks) AS DECIMAL(20, 0))
  FROM commissions)
WHERE creator_id IS NOT NULL
GROUP BY creator_id, span, starts_at_ms, currency;
