-- Step 4. One candidate an order, click and link; of several tokens the own one and the earliest landing count. Its time
-- is the click's; but the landing's, if that is earlier by at most a day: then the edge's clock was ahead.
CREATE VIEW candidate AS
SELECT c.*, CASE WHEN landed_at_ms < clicked_at_ms AND landed_at_ms >= clicked_at_ms - 86400000
  THEN landed_at_ms ELSE clicked_at_ms END AS at_ms
FROM (
  SELECT order_id, click_id, `domain`, `code`, paid_at_ms, buyer_creator_id, outcome, `class`, `source`, link_kind,
    created_ms, ends_ms, `test`, creator_id, creator_type, partner_id, seller_id, campaign_id, product_id,
    product_set_id, `plan`, rate_bp, clicked_at_ms, token_only,
    MAX(unjournaled) AS unjournaled, MAX(`own`) AS `own`, MIN(landed_at_ms) AS landed_at_ms, MAX(fit) AS fit
  FROM touch
  GROUP BY order_id, click_id, `domain`, `code`, paid_at_ms, buyer_creator_id, outcome, `class`, `source`, link_kind,
    created_ms, ends_ms, `test`, creator_id, creator_type, partner_id, seller_id, campaign_id, product_id,
    product_set_id, `plan`, rate_bp, clicked_at_ms, token_only) c;
