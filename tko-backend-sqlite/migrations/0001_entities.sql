-- Entities of all kinds, their indexes, queued work, and the feed of changes.
--
-- Kinds: 0 template, 1 site, 2 deployment, 3 plugin. Stages: 0 prepare, 1 schedule, 2 delete. Times
-- are microseconds since 1970. Blobs called `data` and `before` are values of `tko_core::codec`, or
-- a zstd frame of one.

-- The position of the feed, and the last number that was given out. Versions and fences are numbers.
CREATE TABLE head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    -- The revision before the oldest change that is kept.
    oldest INTEGER NOT NULL,
    number INTEGER NOT NULL
);
INSERT INTO head VALUES (1, 0, 0, 0);

-- Rows, each with its revision.
CREATE TABLE entity (
    num INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX entity_key ON entity (kind, id);

-- Packages by content hash. `refs` counts the rows that have the package, and the changes that
-- replaced it.
CREATE TABLE body (
    num INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    refs INTEGER NOT NULL,
    data BLOB NOT NULL
);

-- Values by which rows are found. Facet 0 is metadata, with the key as `name`; the other facets have
-- no name. `src/facet.rs` lists them.
CREATE TABLE term (
    kind INTEGER NOT NULL,
    facet INTEGER NOT NULL,
    name BLOB NOT NULL,
    value BLOB NOT NULL,
    num INTEGER NOT NULL,
    PRIMARY KEY (kind, facet, name, value)
) WITHOUT ROWID;

-- The rows that have a value, in the order of listings.
CREATE TABLE posting (
    term INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (term, id)
) WITHOUT ROWID;

-- The deployment that has an idempotency key.
CREATE TABLE holder (
    idempotency_key BLOB PRIMARY KEY,
    id TEXT NOT NULL
) WITHOUT ROWID;

-- Queued and leased work.
CREATE TABLE work (
    num INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    stage INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    -- From when it may be claimed: when it is due, or when its lease ends.
    ready INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX work_key ON work (kind, id, stage);
CREATE INDEX work_ready ON work (stage, lane, ready, kind, id);

-- Modifications that were neither used nor given up. `latest` is 1 for the last one of its entity,
-- and 0 for expired ones that are kept so that a late client learns the reason.
CREATE TABLE modification (
    secret TEXT PRIMARY KEY,
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    until INTEGER NOT NULL,
    latest INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX modification_key ON modification (kind, id) WHERE latest = 1;
CREATE INDEX modification_until ON modification (until) WHERE latest = 0;

-- Changes by revision, dense and in commit order. The row after a change is `before` of the next
-- change of the same entity, or the current row.
CREATE TABLE change (
    revision INTEGER PRIMARY KEY,
    -- The last revision of its change set.
    set_revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    id TEXT NOT NULL,
    -- Whether the entity was deleted.
    gone INTEGER NOT NULL,
    before BLOB,
    -- The hash of the previous package, if the package was replaced or the entity deleted.
    body_before BLOB,
    cause BLOB
);
CREATE INDEX change_key ON change (kind, id, revision);
