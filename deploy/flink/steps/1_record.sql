-- Step 1. One record a click. A stub is no record. The first record to arrive stands, then the newest label rules, then
-- the one that is no duplicate, then the least (edge, lane, epoch, seq).
--
-- A click that cannot earn stays: without its record, its token would be credited by the link.
-- The ORDER BY is one column, descending: any other one on an append-only input loses retractions (FLINK-40368).
CREATE TEMPORARY FUNCTION record_order AS 'waypost.flink.RecordOrder';

CREATE VIEW `record` AS
SELECT * FROM (
  SELECT click.*, ROW_NUMBER() OVER (PARTITION BY click_id
    ORDER BY record_order(arrived_at_ms, labels_version, duplicate, edge, lane, epoch, seq) DESC) AS rn
  FROM click WHERE `type` = 'click')
WHERE rn = 1;
