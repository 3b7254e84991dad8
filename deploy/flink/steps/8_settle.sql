-- Step 8. What each line is worth, by the last version of its order, as of the time that is known of the order.
CREATE TEMPORARY FUNCTION settle AS 'waypost.flink.Settle';

CREATE VIEW last_version AS
SELECT * FROM (
  SELECT order_id, updated_at_ms, paid_at_ms, completed_at_ms, cancelled_at_ms, lines, returned_at_ms,
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY updated_at_ms DESC) AS rn
  FROM order_version)
WHERE rn = 1;

-- The times after the last version at which a row of the order can change, each with the tick that passes it: payment,
-- delivery, confirmation, payable, cancellation, each return. Mostly two: confirmation and payable.
CREATE VIEW due AS
SELECT v.order_id, c.at_ms,
  (c.at_ms + CAST(${TICK_MS} AS BIGINT) - 1) / CAST(${TICK_MS} AS BIGINT) AS tick_number
FROM last_version v CROSS JOIN UNNEST(ARRAY_CONCAT(
  ARRAY[v.paid_at_ms, v.completed_at_ms, v.cancelled_at_ms,
    v.completed_at_ms + CAST(${CONFIRM_DAYS} AS BIGINT) * 86400000,
    v.completed_at_ms + CAST(${PAYABLE_FROM_DAYS} AS BIGINT) * 86400000],
  v.returned_at_ms)) AS c (at_ms)
WHERE c.at_ms > v.updated_at_ms;

-- As of when an order's rows are: the last version's own time, at which somebody knew it, or the last time of change
-- that a tick has passed. So a tick touches only the orders that it changes. AS_OF fixes the time instead, if not 0.
CREATE VIEW known_to AS
SELECT order_id, MAX(at_ms) AS as_of_ms FROM (
  SELECT order_id, CASE WHEN CAST(${AS_OF} AS BIGINT) > 0 THEN CAST(${AS_OF} AS BIGINT) ELSE updated_at_ms END AS at_ms
  FROM last_version
  UNION ALL
  SELECT /*+ STATE_TTL('t' = '0 s') */ d.order_id, d.at_ms
  FROM due d JOIN tick t ON t.tick_number = d.tick_number
  WHERE CAST(${AS_OF} AS BIGINT) = 0)
GROUP BY order_id;

-- An inner join: a version that comes after a winner's state was freed changes no row.
CREATE VIEW commission AS
SELECT w.order_id, w.line_id, k.as_of_ms, w.paid_at_ms, w.freeze_at_ms, w.seller_id, w.product_id, s.currency, s.quantity,
  s.value_minor, s.state, s.reason, s.commission_minor, NULLIF(w.bad_tokens, 0) AS bad_tokens, s.kept_quantity,
  w.click_id, w.clicked_at_ms, w.`domain`, w.`code`, w.link_kind, w.creator_id, w.campaign_id, w.product_set_id,
  w.partner_id, w.`plan`, w.rate_bp, SPLIT(w.flags, ',') AS flags, s.confirmed_at_ms, s.payable_from_ms,
  s.payable_until_ms, s.clawbacks
FROM commission_winners w
JOIN last_version v ON v.order_id = w.order_id
JOIN known_to k ON k.order_id = w.order_id
CROSS JOIN LATERAL TABLE(settle(k.as_of_ms, w.paid_at_ms, w.reason, w.rate_bp, w.line_id,
  ROW(w.quantity, w.value_minor, w.currency), v.updated_at_ms, v.completed_at_ms, v.cancelled_at_ms, v.lines,
  ROW(CAST(${CONFIRM_DAYS} AS BIGINT), CAST(${PAYABLE_FROM_DAYS} AS BIGINT), CAST(${PAYABLE_UNTIL_DAYS} AS BIGINT)))) AS s;
