-- Clicks in ClickHouse: a Kafka engine table that reads the topics, and a table with one row a click that it feeds.
-- Needs ClickHouse 23.8 or later. Put the brokers and a group of your own into the settings.

-- What comes from the topics. Each value is read as one text, so that a field that a later version adds breaks nothing.
CREATE TABLE click_queue
(
    value String
)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka-1:9092,kafka-2:9092,kafka-3:9092',
    kafka_topic_list = 'clicks,clicks.orphan',
    kafka_group_name = 'clickhouse-clicks',
    kafka_format = 'JSONAsString',
    kafka_num_consumers = 1;

-- One row a click. A click can come twice: of two rows with one key the one with the greatest `standing` stays. That is the first to
-- arrive, then the newest labels, then no duplicate. Rows are merged in the background: read with FINAL.
-- Kept for the 180 days of the topics.
CREATE TABLE click
(
    click_id String,
    clicked_at DateTime64(3, 'UTC'),
    creator_id LowCardinality(String),
    domain LowCardinality(String),
    code String,
    source LowCardinality(String),
    class LowCardinality(String),
    countable Bool,
    standing UInt64
)
ENGINE = ReplacingMergeTree(standing)
PARTITION BY toYYYYMM(clicked_at)
ORDER BY (creator_id, clicked_at, click_id)
TTL toDateTime(clicked_at) + INTERVAL 180 DAY;

-- A stub (type dead_lettered) is no click. The time of arrival is the record's header; without it the record's own time.
CREATE MATERIALIZED VIEW click_reader TO click AS
SELECT
    JSONExtractString(value, 'click_id') AS click_id,
    fromUnixTimestamp64Milli(JSONExtractInt(value, 'clicked_at_ms'), 'UTC') AS clicked_at,
    JSONExtractString(value, 'creator_id') AS creator_id,
    JSONExtractString(value, 'domain') AS domain,
    JSONExtractString(value, 'code') AS code,
    JSONExtractString(value, 'source') AS source,
    JSONExtractString(value, 'class') AS class,
    JSONExtractBool(value, 'countable') AS countable,
    (9007199254740992 - toUInt64OrDefault(_headers.value[indexOf(_headers.name, 'wp_shipped_at_ms')],
        toUInt64(toUnixTimestamp64Milli(assumeNotNull(_timestamp_ms))))) * 1024
        + least(JSONExtractUInt(value, 'labels_version'), 511) * 2 + if(JSONExtractBool(value, 'duplicate'), 0, 1) AS standing
FROM click_queue
WHERE JSONExtractString(value, 'type') = 'click';

-- Clicks by day and source.
CREATE VIEW clicks_by_day_and_source AS
SELECT toDate(clicked_at) AS day, if(source = '', 'unknown', source) AS source, count() AS clicks, countIf(countable) AS countable
FROM click FINAL
GROUP BY day, source
ORDER BY day, source;
