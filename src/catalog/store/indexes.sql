-- The indexes that lists are made by. Created behind a first load, which is faster so.
CREATE INDEX IF NOT EXISTS link_creator ON link (creator, domain, code) WHERE creator IS NOT NULL;
CREATE INDEX IF NOT EXISTS link_partner ON link (partner, domain, code) WHERE partner IS NOT NULL;
CREATE INDEX IF NOT EXISTS link_seller ON link (seller, domain, code) WHERE seller IS NOT NULL;
CREATE INDEX IF NOT EXISTS link_campaign ON link (campaign, domain, code) WHERE campaign IS NOT NULL;
CREATE INDEX IF NOT EXISTS link_product ON link (product, domain, code) WHERE product IS NOT NULL;
CREATE INDEX IF NOT EXISTS link_host ON link (host, domain, code) WHERE host IS NOT NULL;
CREATE INDEX IF NOT EXISTS tag_name ON tag (tag, link);
