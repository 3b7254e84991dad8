-- Step 6. Each candidate beside each line. A product link stands for the line if seller and product are the line's, with
-- its own plan, rate and partner. A showcase or campaign stands for it if the entry of its set with the greatest
-- `valid_from_ms` up to the click is not removed, with the entry's plan, rate and partner (else the click's).
-- Entries stay in state for ever: a set is asked for as long as its links live.
CREATE VIEW matched AS
SELECT * FROM (
  SELECT /*+ STATE_TTL('e' = '0 s') */ j.*, l.line_id, e.removed, e.`plan` AS set_plan, e.rate_bp AS set_rate_bp,
    e.partner_id AS set_partner_id,
    CASE WHEN j.link_kind = 'product' AND j.seller_id = l.seller_id AND j.product_id = l.product_id
      THEN 1 ELSE 0 END AS same,
    ROW_NUMBER() OVER (PARTITION BY j.order_id, l.line_id, j.click_id, j.`domain`, j.`code`
      ORDER BY COALESCE(e.valid_from_ms, -1) DESC, COALESCE(e.position_in_topic, -1) DESC) AS rn
  FROM judged j
  JOIN paid_line l ON l.order_id = j.order_id
  LEFT JOIN product_set e ON j.link_kind IN ('showcase', 'campaign') AND e.product_set_id = j.product_set_id
    AND e.seller_id = l.seller_id AND e.product_id = l.product_id AND e.valid_from_ms <= j.at_ms)
WHERE rn = 1;

CREATE VIEW termed AS
SELECT matched.*, CASE WHEN able = 2 AND (same = 1 OR removed = 0) THEN 1 ELSE 0 END AS stands,
  CASE WHEN same = 1 THEN `plan` ELSE set_plan END AS t_plan, CASE WHEN same = 1 THEN rate_bp ELSE set_rate_bp END AS t_rate_bp,
  CASE WHEN same = 1 OR set_partner_id IS NULL THEN partner_id ELSE set_partner_id END AS t_partner_id
FROM matched;
