-- The tables of the catalog, format 3. Times are milliseconds since the epoch; a version is that of the catalog.

-- The links. `record` is the JSON object, on one line. The columns behind it are copies of its fields, to search by.
-- A code that was gone and comes back has its `id` again, and no other link ever has it.
CREATE TABLE link (
  id INTEGER PRIMARY KEY,
  domain TEXT NOT NULL,      -- '*', or the host in lower case
  code TEXT NOT NULL,        -- in lower case if the domain ignores case
  version INTEGER NOT NULL,
  record TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  starts_ms INTEGER,
  ends_ms INTEGER,           -- NULL: no end
  enabled INTEGER NOT NULL,
  creator TEXT,
  partner TEXT,
  seller TEXT,
  campaign TEXT,
  product TEXT,
  host TEXT,                 -- of the destination; NULL: an app opens it
  leads_to TEXT,             -- the links of this server that its URLs lead to: a JSON array of [domain, code]
  UNIQUE (domain, code)
) STRICT;

CREATE TABLE tag (
  link INTEGER NOT NULL,
  tag TEXT NOT NULL,
  PRIMARY KEY (link, tag)
) STRICT, WITHOUT ROWID;

-- The bytes that the table in memory has for each link. Valid while `meta.ready_fingerprint` is that of the process.
CREATE TABLE ready (
  id INTEGER PRIMARY KEY,
  bytes BLOB NOT NULL
) STRICT;

-- Links that were removed and reserve their codes.
CREATE TABLE gone (
  domain TEXT NOT NULL,
  code TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  created_at_default INTEGER NOT NULL,
  kind TEXT NOT NULL,
  creator TEXT NOT NULL,
  partner TEXT NOT NULL,
  link INTEGER,              -- the id that it had; NULL: this catalog never had it
  PRIMARY KEY (domain, code)
) STRICT, WITHOUT ROWID;

-- What somebody did at once, with its reason.
CREATE TABLE act (
  id TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  reason TEXT,
  detail TEXT                -- JSON
) STRICT, WITHOUT ROWID;

-- One row for each changed link: its record before and after; NULL where there was or is none.
CREATE TABLE audit (
  position INTEGER PRIMARY KEY, -- in the order of the commits
  version INTEGER NOT NULL,
  act TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  domain TEXT NOT NULL,
  code TEXT NOT NULL,
  before_version INTEGER,
  before TEXT,
  after TEXT,
  link INTEGER               -- its id
) STRICT;
-- By the id and not by the code: the links of an import have ids that follow each other, and their entries lie
-- together, but their codes are spread over the whole index, a page for each.
CREATE INDEX audit_link ON audit (link, position);
CREATE INDEX audit_act ON audit (act, position);

CREATE TABLE suspension (
  dimension TEXT NOT NULL,
  value TEXT NOT NULL,
  version INTEGER NOT NULL,
  since_ms INTEGER NOT NULL,
  until_ms INTEGER,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL,
  fallback_url TEXT,
  PRIMARY KEY (dimension, value)
) STRICT, WITHOUT ROWID;

-- The keys of the API. A key is kept as the SHA-256 of its secret part.
CREATE TABLE api_key (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  sha256 BLOB NOT NULL,
  scopes TEXT NOT NULL,      -- JSON array
  domains TEXT,              -- JSON array; NULL: every one. So are the next two
  partners TEXT,
  creators TEXT,
  created_ms INTEGER NOT NULL,
  revoked_ms INTEGER
) STRICT, WITHOUT ROWID;

-- What a request with an Idempotency-Key made.
CREATE TABLE idempotency (
  api_key TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  at_ms INTEGER NOT NULL,
  domain TEXT NOT NULL,
  code TEXT NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (api_key, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at_ms);

CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
