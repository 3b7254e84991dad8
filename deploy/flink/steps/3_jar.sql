-- Step 3. The buyer's own fitting tokens show cookie jars: of a cookie its visitor id, else that of its record.
CREATE VIEW jar AS
SELECT DISTINCT order_id, paid_at_ms, freeze_ms, buyer_creator_id, jar
FROM fitted WHERE fit = 1 AND `own` = 1 AND jar IS NOT NULL;

-- Each token, and each record of a jar in the 14 days up to payment, beside its order. Without a token of the order no
-- jar is opened, whatever was clicked.
CREATE VIEW touch AS
SELECT order_id, click_id, `domain`, `code`, paid_at_ms, buyer_creator_id, outcome, `class`, `source`, link_kind,
  created_ms, ends_ms, `test`, creator_id, creator_type, partner_id, seller_id, campaign_id, product_id, product_set_id,
  `plan`, rate_bp, clicked_at_ms, token_only, token_only * unjournaled * fit AS unjournaled, `own` * fit AS `own`,
  CASE WHEN fit = 1 THEN landed_at_ms ELSE CAST(NULL AS BIGINT) END AS landed_at_ms, fit
FROM fitted
UNION ALL
SELECT j.order_id, r.click_id, r.`domain`, r.`code`, j.paid_at_ms, j.buyer_creator_id, r.outcome, r.`class`, r.`source`,
  r.link_kind, r.created_ms, r.ends_ms, r.`test`, r.creator_id, r.creator_type, r.partner_id, r.seller_id, r.campaign_id,
  r.product_id, r.product_set_id, r.`plan`, r.rate_bp, r.clicked_at_ms, 0, 0, 1, CAST(NULL AS BIGINT), 1
FROM jar j JOIN `record` r ON r.visitor_id = j.jar
  AND r.arrived_at_ms < j.freeze_ms AND r.clicked_at_ms <= j.paid_at_ms AND r.clicked_at_ms > j.paid_at_ms - 1209600000;
