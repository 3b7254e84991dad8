-- Step 1. The order as it was when first paid: payment, buyer, tokens, and lines with seller and product. Nothing later
-- decides who earns. A version that arrives at the freeze or later decides nothing either; sinks/late_orders.sql has it.
CREATE VIEW paid AS
SELECT * FROM (
  SELECT order_id, paid_at_ms, paid_at_ms + CAST(${CONFIRM_DAYS} AS BIGINT) * 86400000 AS freeze_ms, buyer_id,
    buyer_creator_id, click_tokens, bad_tokens, lines,
    ROW_NUMBER() OVER (PARTITION BY order_id ORDER BY -updated_at_ms DESC) AS rn
  FROM order_version
  WHERE received_at < TO_TIMESTAMP_LTZ(paid_at_ms + CAST(${CONFIRM_DAYS} AS BIGINT) * 86400000, 3))
WHERE rn = 1;

-- Its genuine tokens, a row each.
CREATE VIEW token AS
SELECT p.order_id, p.paid_at_ms, p.freeze_ms, p.buyer_id, p.buyer_creator_id, t.`kind`, t.click_id, t.clicked_at_ms,
  t.`domain`, t.`code`, t.audience_kind, t.audience, t.unjournaled, t.visitor_id, t.landed_at_ms, t.landed_by
FROM paid p CROSS JOIN UNNEST(p.click_tokens) AS t
  (verdict, `kind`, click_id, clicked_at_ms, `domain`, `code`, audience_kind, audience, unjournaled, visitor_id,
   landed_at_ms, landed_by);

-- Its lines, a row each.
CREATE VIEW paid_line AS
SELECT p.order_id, p.paid_at_ms, p.freeze_ms, p.bad_tokens, l.line_id, l.seller_id, l.product_id, l.quantity,
  l.value_minor, l.currency
FROM paid p CROSS JOIN UNNEST(p.lines) AS l
  (line_id, seller_id, product_id, quantity, value_minor, currency, `returns`);
