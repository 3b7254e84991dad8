-- Step 7. The last click wins: own before shared, then time, click id, domain, code. With the scope `product` of those
-- that stand for the line, with `any` of all able ones. The first row says the line's reason too.
CREATE VIEW pick AS
SELECT * FROM (
  SELECT termed.*, CASE WHEN able = 2 AND ('${SCOPE}' = 'any' OR stands = 1) THEN 1 ELSE 0 END AS pool,
    ROW_NUMBER() OVER (PARTITION BY order_id, line_id
      ORDER BY CASE WHEN able = 2 AND ('${SCOPE}' = 'any' OR stands = 1) THEN 3 ELSE able END DESC, `own` DESC,
        at_ms DESC, click_id DESC, `domain` DESC, `code` DESC) AS rk
  FROM termed)
WHERE rk = 1;

-- The winner is credited if its link was alive at payment: before its end, and younger than 100 days. If it was not,
-- nobody is: the earlier click was displaced when the later one was made.
CREATE VIEW judged_line AS
SELECT l.order_id, l.line_id, l.paid_at_ms, l.freeze_ms AS freeze_at_ms, l.bad_tokens, l.seller_id, l.product_id,
  l.quantity, l.value_minor, l.currency,
  CASE WHEN w.click_id IS NULL THEN 'no_click'
       WHEN w.pool = 1 AND w.stands = 1 AND (w.ends_ms IS NULL OR l.paid_at_ms < w.ends_ms)
         AND l.paid_at_ms < w.created_ms + 8640000000 THEN 'last_click'
       WHEN w.pool = 1 AND w.stands = 1 THEN 'link_ended'
       WHEN w.able = 2 THEN 'not_linked_product'
       WHEN w.able = 1 THEN 'click_over_14_days'
       ELSE 'no_creditable_click' END AS reason,
  w.click_id, w.at_ms AS clicked_at_ms, w.`domain`, w.`code`, w.link_kind, w.creator_id, w.campaign_id, w.product_set_id,
  w.t_partner_id AS partner_id, w.t_plan AS `plan`, w.t_rate_bp AS rate_bp,
  CASE WHEN w.token_only = 1 AND w.unjournaled = 1 AND w.`own` = 0 THEN 'token_only,unjournaled,shared_token'
       WHEN w.token_only = 1 AND w.unjournaled = 1 THEN 'token_only,unjournaled'
       WHEN w.token_only = 1 AND w.`own` = 0 THEN 'token_only,shared_token'
       WHEN w.token_only = 1 THEN 'token_only'
       WHEN w.`own` = 0 THEN 'shared_token' END AS flags
FROM paid_line l
LEFT JOIN pick w ON w.order_id = l.order_id AND w.line_id = l.line_id;

-- A line that nobody is credited for names no click.
CREATE VIEW winner AS
SELECT order_id, line_id, paid_at_ms, freeze_at_ms, bad_tokens, seller_id, product_id, quantity, value_minor, currency,
  reason,
  CASE WHEN reason = 'last_click' THEN click_id END AS click_id,
  CASE WHEN reason = 'last_click' THEN clicked_at_ms END AS clicked_at_ms,
  CASE WHEN reason = 'last_click' THEN `domain` END AS `domain`,
  CASE WHEN reason = 'last_click' THEN `code` END AS `code`,
  CASE WHEN reason = 'last_click' THEN link_kind END AS link_kind,
  CASE WHEN reason = 'last_click' THEN creator_id END AS creator_id,
  CASE WHEN reason = 'last_click' THEN campaign_id END AS campaign_id,
  CASE WHEN reason = 'last_click' THEN product_set_id END AS product_set_id,
  CASE WHEN reason = 'last_click' THEN partner_id END AS partner_id,
  CASE WHEN reason = 'last_click' THEN `plan` END AS `plan`,
  CASE WHEN reason = 'last_click' THEN rate_bp END AS rate_bp,
  CASE WHEN reason = 'last_click' THEN flags END AS flags
FROM judged_line;
