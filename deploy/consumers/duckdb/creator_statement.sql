-- A creator's statement: by currency and state, the lines, the commission, what was clawed back, and what is owed. Sums of rounded
-- lines; nothing is converted. Owed is what is confirmed or payable. The parameter $creator is the creator's id.
SELECT currency, state, count(*) AS lines, sum(commission_minor)::BIGINT AS commission_minor,
  sum(clawed_back_minor)::BIGINT AS clawed_back_minor,
  sum(CASE WHEN state IN ('confirmed', 'payable') THEN commission_minor + clawed_back_minor ELSE 0 END)::BIGINT AS owed_minor
FROM commission
WHERE creator_id = $creator
GROUP BY ALL
ORDER BY currency, state;
