-- `late_orders`: orders whose first paid version arrived at the freeze or later, with key and value as they came. The
-- clicks that would decide them are gone from state; `waypost attribute` computes them from the topics. Append-only.
--
-- This Deduplicate is insert-only by right: the first row by processing time is never taken back.
CREATE TABLE late_orders (
  order_id STRING, `value` STRING
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_LATE_ORDERS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.transaction.timeout.ms' = '${TRANSACTION_TIMEOUT_MS}',
  'key.format' = 'raw', 'key.fields' = 'order_id', 'value.format' = 'raw', 'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = '${DELIVERY}', 'sink.transactional-id-prefix' = '${GROUP}-late-orders'
);

INSERT INTO late_orders
SELECT order_id, `value` FROM (
  SELECT order_id, `value`, received_at, paid_at_ms,
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY processed_at ASC) AS rn
  FROM order_version WHERE paid_at_ms IS NOT NULL)
WHERE rn = 1 AND received_at >= TO_TIMESTAMP_LTZ(paid_at_ms + CAST(${CONFIRM_DAYS} AS BIGINT) * 86400000, 3);
