-- One row a click, from the table `click_record` that report.py fills: `arrived_at_ms` and the event as `value`, a row each record.
-- A click can be there twice, and its stub beside it: a stub is no click, and of several records the first to arrive stands, then
-- the newest labels, no duplicate, the least number.
CREATE OR REPLACE VIEW click AS
SELECT
  value->>'click_id' AS click_id,
  make_timestamp((value->>'clicked_at_ms')::BIGINT * 1000) AS clicked_at,
  coalesce(value->>'creator_id', '') AS creator_id,
  coalesce(value->>'source', 'unknown') AS source,
  coalesce((value->>'countable')::BOOLEAN, false) AS countable
FROM click_record
WHERE value->>'type' = 'click'
QUALIFY row_number() OVER (
  PARTITION BY value->>'click_id'
  ORDER BY arrived_at_ms, coalesce((value->>'labels_version')::BIGINT, 0) DESC, coalesce((value->>'duplicate')::BOOLEAN, false),
    value->>'edge', (value->>'lane')::BIGINT, (value->>'epoch')::BIGINT, (value->>'seq')::BIGINT) = 1;
