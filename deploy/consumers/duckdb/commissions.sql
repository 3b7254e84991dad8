-- The last row of each order line, from the table `commission_record` that report.py fills from an export of the compacted topic
-- `commissions`: of each key the record with the greatest offset stands (a key lies in one partition), and an empty one removes the row.
CREATE OR REPLACE VIEW commission AS
SELECT
  value->>'order_id' AS order_id,
  value->>'line_id' AS line_id,
  value->>'creator_id' AS creator_id,
  value->>'state' AS state,
  value->>'currency' AS currency,
  (value->>'commission_minor')::HUGEINT AS commission_minor,
  coalesce(list_sum(CAST(value->'clawbacks'->'$[*].amount_minor' AS HUGEINT[])), 0)::HUGEINT AS clawed_back_minor
FROM (
  SELECT value FROM commission_record
  QUALIFY row_number() OVER (PARTITION BY key ORDER BY "offset" DESC) = 1)
WHERE value IS NOT NULL;
