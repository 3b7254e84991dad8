-- What each line is worth: `commissions`, compacted, key (order, line). The fields are those of a row of
-- `waypost attribute --json`, without candidates and with `paid_at_ms`; what is null or empty is left out.
CREATE TABLE commissions (
  order_id STRING, line_id STRING, as_of_ms BIGINT, paid_at_ms BIGINT, freeze_at_ms BIGINT, seller_id STRING,
  product_id STRING, currency STRING, quantity BIGINT, value_minor BIGINT, state STRING, reason STRING,
  commission_minor BIGINT, bad_tokens BIGINT, kept_quantity BIGINT, click_id STRING, clicked_at_ms BIGINT,
  `domain` STRING, `code` STRING, link_kind STRING, creator_id STRING, campaign_id STRING, product_set_id STRING,
  partner_id STRING, `plan` STRING, rate_bp BIGINT, flags ARRAY<STRING>, confirmed_at_ms BIGINT, payable_from_ms BIGINT,
  payable_until_ms BIGINT, clawbacks ARRAY<ROW<returned_at_ms BIGINT, quantity BIGINT, amount_minor BIGINT>>,
  PRIMARY KEY (order_id, line_id) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = '${TOPIC_COMMISSIONS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.bounded.mode' = '${SCAN_END}', 'key.format' = 'json', 'value.format' = 'json',
  'value.json.encode.ignore-null-fields' = 'true',
  'sink.delivery-guarantee' = 'at-least-once', 'sink.buffer-flush.interval' = '${FLUSH_INTERVAL}',
  'sink.buffer-flush.max-rows' = '10000'
);
