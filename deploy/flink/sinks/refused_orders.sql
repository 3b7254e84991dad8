-- `refused_orders`: records of the topic of orders that cannot be used, with the reason. Append-only.
CREATE TABLE refused_orders (
  fault STRING, `partition` INT, `offset` BIGINT, `value` STRING
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_REFUSED_ORDERS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.transaction.timeout.ms' = '${TRANSACTION_TIMEOUT_MS}', 'format' = 'json',
  'sink.delivery-guarantee' = '${DELIVERY}', 'sink.transactional-id-prefix' = '${GROUP}-refused-orders'
);

INSERT INTO refused_orders
SELECT fault, `partition`, `offset`, `value` FROM parsed_order WHERE fault IS NOT NULL;
