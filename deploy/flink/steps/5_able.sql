-- Step 5. Whether a click can earn, whatever the line: 2 able, 1 only too old, 0 anything else. `countable`, `duplicate`
-- and `burst` are not read: they count clicks. What is not able displaces nothing.
CREATE VIEW judged AS
SELECT candidate.*, CASE
  WHEN fit = 0
    OR token_only = 0 AND (outcome <> 'redirected' OR link_kind IS NULL OR `class` <> 'human'
      OR LOCATE(',' || `source` || ',', ',${EXCLUDED_SOURCES},') > 0)
    OR token_only = 1 AND '${TOKEN_ONLY}' = 'refuse'
    OR `test` = 1 OR link_kind = 'plain' OR creator_id IS NULL
    OR link_kind = 'showcase' AND (creator_type IS NULL OR creator_type <> 'affiliate')
    OR '${SELF_PURCHASE}' = 'refuse' AND buyer_creator_id = creator_id
    OR `own` = 0 AND '${SHARED_TOKEN}' = 'refuse'
    OR at_ms > paid_at_ms THEN 0
  WHEN paid_at_ms >= at_ms + 1209600000 THEN 1
  ELSE 2 END AS able
FROM candidate;
