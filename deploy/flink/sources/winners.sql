-- Who earns by each line: `commission_winners`, compacted, key (order, line). The job `winners` writes it, the job
-- `commissions` reads it. `flags` is a list in one text.
CREATE TABLE commission_winners (
  order_id STRING, line_id STRING, paid_at_ms BIGINT, freeze_at_ms BIGINT, bad_tokens BIGINT, seller_id STRING,
  product_id STRING, quantity BIGINT, value_minor BIGINT, currency STRING, reason STRING, click_id STRING,
  clicked_at_ms BIGINT, `domain` STRING, `code` STRING, link_kind STRING, creator_id STRING, campaign_id STRING,
  product_set_id STRING, partner_id STRING, `plan` STRING, rate_bp BIGINT, flags STRING,
  PRIMARY KEY (order_id, line_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '${TOPIC_WINNERS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.bounded.mode' = '${SCAN_END}', 'key.format' = 'json', 'value.format' = 'json',
  'value.json.encode.ignore-null-fields' = 'true',
  'sink.delivery-guarantee' = 'at-least-once', 'sink.buffer-flush.interval' = '${FLUSH_INTERVAL}',
  'sink.buffer-flush.max-rows' = '10000'
);
