-- Makes format 3 of format 2: the audit is found by the id of the link in the place of its code.
ALTER TABLE gone ADD COLUMN link INTEGER;
-- Each id stands in the audit, so that no new link gets it.
UPDATE gone SET link = coalesce((SELECT max(id) FROM link), 0) + numbered.number
  FROM (
    SELECT domain, code, row_number() OVER (ORDER BY domain, code) AS number FROM gone
    WHERE EXISTS (SELECT 1 FROM audit WHERE audit.domain = gone.domain AND audit.code = gone.code)
  ) AS numbered
  WHERE numbered.domain = gone.domain AND numbered.code = gone.code;
ALTER TABLE audit ADD COLUMN link INTEGER;
UPDATE audit SET link = coalesce(
  (SELECT id FROM link WHERE link.domain = audit.domain AND link.code = audit.code),
  (SELECT gone.link FROM gone WHERE gone.domain = audit.domain AND gone.code = audit.code)
);
DROP INDEX audit_link;
CREATE INDEX audit_link ON audit (link, position);
