-- The settings of domains that the configuration does not name, as a JSON object.
CREATE TABLE IF NOT EXISTS domain (
  host TEXT PRIMARY KEY,     -- in lower case and punycode, or '*'
  settings TEXT NOT NULL,
  version INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  actor TEXT NOT NULL
) STRICT, WITHOUT ROWID;
