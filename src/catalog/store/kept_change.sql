-- Changes of many links that the API was asked for, with how far each has come, so that a restart goes on with them.
CREATE TABLE IF NOT EXISTS kept_change (
  act TEXT PRIMARY KEY,
  actor TEXT NOT NULL,
  reason TEXT,
  change TEXT NOT NULL,      -- JSON
  asked_ms INTEGER NOT NULL,
  effective_ms INTEGER NOT NULL,
  state TEXT NOT NULL,       -- scheduled, running, done, failed or cancelled
  after_domain TEXT NOT NULL, -- the last link of the last chunk
  after_code TEXT NOT NULL,
  report TEXT,               -- JSON; what became of the links so far
  error TEXT
) STRICT, WITHOUT ROWID;
