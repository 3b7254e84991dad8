-- The lines of the links file (docs/links.md), a record each, with the key (domain, code): the facts of a token whose
-- click has no record. The topic may be empty; then such tokens earn nothing.
CREATE TABLE links_topic (
  `value` STRING,
  `offset` BIGINT METADATA VIRTUAL
) WITH (
  'connector' = 'kafka', 'topic' = '${TOPIC_LINKS}', 'properties.bootstrap.servers' = '${KAFKA}',
  'properties.group.id' = '${GROUP}', 'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = '${SCAN_END}', 'format' = 'raw'
);

CREATE TEMPORARY FUNCTION parse_link AS 'waypost.flink.ParseLink';

-- The last record of each link. MAX over the offset and the value keeps one row a link, for ever: a link is asked for as
-- long as orders come.
CREATE VIEW last_link AS
SELECT /*+ STATE_TTL('keyed' = '0 s') */ `domain`, `code`, SUBSTR(MAX(ranked), 21) AS `value`
FROM (
  SELECT COALESCE(JSON_VALUE(`value`, '$.domain'), '*') AS `domain`, JSON_VALUE(`value`, '$.code') AS `code`,
    LPAD(CAST(`offset` AS STRING), 20, '0') || `value` AS ranked
  FROM links_topic
) keyed
WHERE `code` IS NOT NULL
GROUP BY `domain`, `code`;

CREATE VIEW `link` AS
SELECT l.`domain`, l.`code`, p.link_kind, p.created_ms, p.ends_ms, p.`test`, p.creator_id, p.creator_type, p.partner_id,
  p.seller_id, p.campaign_id, p.product_id, p.product_set_id, p.`plan`, p.rate_bp
FROM last_link l CROSS JOIN LATERAL TABLE(parse_link(l.`value`)) AS p;
