-- Step 2. Each genuine token beside the record of its click if the record arrived before the freeze, else beside its
-- link. A token without a record is `token_only`: its time is the token's, its class and source are unknown.
-- A token is the buyer's own unless `landed_by` names another account. Links stay in state for ever: a token is younger
-- than its link.
CREATE VIEW known AS
SELECT /*+ STATE_TTL('l' = '0 s') */ t.order_id, t.click_id, t.`domain`, t.`code`, t.`kind`, t.audience_kind, t.audience, t.unjournaled,
  t.landed_at_ms, t.paid_at_ms, t.freeze_ms, t.buyer_creator_id,
  CASE WHEN t.landed_by IS NULL OR t.landed_by = t.buyer_id THEN 1 ELSE 0 END AS `own`,
  CASE WHEN r.click_id IS NULL THEN 1 ELSE 0 END AS token_only,
  COALESCE(r.clicked_at_ms, t.clicked_at_ms) AS clicked_at_ms, r.outcome, r.`class`, r.`source`,
  CASE WHEN t.`kind` = 'cookie' THEN t.visitor_id ELSE r.visitor_id END AS jar,
  CASE WHEN r.click_id IS NULL THEN l.`domain` ELSE r.`domain` END AS link_domain,
  CASE WHEN r.click_id IS NULL THEN l.`code` ELSE r.`code` END AS link_code,
  CASE WHEN r.click_id IS NULL THEN l.link_kind ELSE r.link_kind END AS link_kind,
  CASE WHEN r.click_id IS NULL THEN l.created_ms ELSE r.created_ms END AS created_ms,
  CASE WHEN r.click_id IS NULL THEN l.ends_ms ELSE r.ends_ms END AS ends_ms,
  CASE WHEN r.click_id IS NULL THEN l.`test` ELSE r.`test` END AS `test`,
  CASE WHEN r.click_id IS NULL THEN l.creator_id ELSE r.creator_id END AS creator_id,
  CASE WHEN r.click_id IS NULL THEN l.creator_type ELSE r.creator_type END AS creator_type,
  CASE WHEN r.click_id IS NULL THEN l.partner_id ELSE r.partner_id END AS partner_id,
  CASE WHEN r.click_id IS NULL THEN l.seller_id ELSE r.seller_id END AS seller_id,
  CASE WHEN r.click_id IS NULL THEN l.campaign_id ELSE r.campaign_id END AS campaign_id,
  CASE WHEN r.click_id IS NULL THEN l.product_id ELSE r.product_id END AS product_id,
  CASE WHEN r.click_id IS NULL THEN l.product_set_id ELSE r.product_set_id END AS product_set_id,
  CASE WHEN r.click_id IS NULL THEN l.`plan` ELSE r.`plan` END AS `plan`,
  CASE WHEN r.click_id IS NULL THEN l.rate_bp ELSE r.rate_bp END AS rate_bp
FROM token t
LEFT JOIN `record` r ON r.click_id = t.click_id AND r.arrived_at_ms < t.freeze_ms
LEFT JOIN `link` l ON l.`domain` = t.`domain` AND l.`code` = t.`code`;

-- A shop can sign for its own audience. So a token fits only if domain and code are those of the click's link, and the
-- audience of a URL token is the link's seller, else its partner, else its domain.
CREATE VIEW fitted AS
SELECT known.*, CASE WHEN `domain` = link_domain AND `code` = link_code AND (`kind` = 'cookie'
    OR audience_kind = 'seller' AND audience = seller_id
    OR audience_kind = 'partner' AND audience = partner_id AND seller_id IS NULL
    OR audience_kind = 'domain' AND audience = `domain` AND seller_id IS NULL AND partner_id IS NULL)
  THEN 1 ELSE 0 END AS fit
FROM known;
