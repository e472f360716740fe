-- Entities of all kinds, what they are found by, due work, and the feed of changes.
--
-- Everything below is plain tables, sequences and indexes; no trigger, no foreign key, no
-- extension. Ids, keys and values compare by bytes (COLLATE "C"): that is the order of listings,
-- and lets an index find what starts with a text. Times are microseconds since 1970.

-- The store's time, which alone counts: tests put it forward, nothing else replaces it.
CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint $$;

-- Rows of all kinds (0 template, 1 site, 2 deployment, 3 plugin).
CREATE TABLE entity (
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    -- Never given twice; orders nothing.
    version bigint NOT NULL,
    generation bigint NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    -- The version with which the body was last written: its key in `body`; 0: an empty package.
    body_at bigint NOT NULL,
    -- An edit that keeps other writers off, until then.
    edit_until bigint,
    skeleton integer,
    deleting boolean NOT NULL,
    prepared boolean NOT NULL,
    approved boolean NOT NULL,
    edit uuid,
    template text COLLATE "C",
    site text COLLATE "C",
    parent text COLLATE "C",
    -- Where a scheduler has put it.
    place text COLLATE "C",
    -- Hash of the `once` key.
    once bytea,
    -- Hash of the body.
    body bytea NOT NULL,
    -- A line for each pair: key, tab, value. What is found by it is in `facet`.
    metadata text NOT NULL,
    -- What else is only read with the row.
    rest json NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX entity_template ON entity (kind, template, id) WHERE template IS NOT NULL;
CREATE INDEX entity_site ON entity (site, id) WHERE site IS NOT NULL;
CREATE INDEX entity_parent ON entity (parent, id) WHERE parent IS NOT NULL;
-- Most are placed where they belong, and found there.
CREATE INDEX entity_elsewhere ON entity (place, id)
    WHERE place IS NOT NULL AND (site IS NULL OR place <> site);
-- What is not prepared, and what is not approved yet.
CREATE INDEX entity_unfinished ON entity (prepared, id) WHERE kind = 2 AND NOT (prepared AND approved);
CREATE UNIQUE INDEX entity_once ON entity (once) WHERE once IS NOT NULL;

-- Metadata, in the order of listings.
CREATE TABLE facet (
    kind smallint NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key, value, id)
);

-- Bodies, immutable, by the version that wrote them; compressed by the process that writes.
CREATE TABLE body (
    at bigint PRIMARY KEY,
    codec smallint NOT NULL,
    dictionary integer,
    data bytea NOT NULL
);
ALTER TABLE body ALTER data SET STORAGE EXTERNAL;

-- What bodies are compressed against: packages of templates. Immutable.
CREATE TABLE dictionary (
    num integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    data bytea NOT NULL
);

-- Deployment resources without their facts, one for all that are equal. Immutable.
CREATE TABLE skeleton (
    num integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    data bytea NOT NULL
);

-- Versions are taken in blocks of 1,024.
CREATE SEQUENCE version_block;

-- What is due (stage 0 prepare, 1 schedule, 2 retire).
CREATE TABLE work (
    stage smallint NOT NULL,
    kind smallint NOT NULL,
    lane smallint NOT NULL,
    -- The lane of a mark that came while it was claimed.
    again smallint,
    attempts integer NOT NULL DEFAULT 0,
    id text COLLATE "C" NOT NULL,
    -- When it may be claimed: when it is due, or when its lease ends.
    at bigint NOT NULL,
    due bigint NOT NULL,
    until bigint,
    fence bigint,
    token uuid,
    worker text,
    error text,
    progress json,
    PRIMARY KEY (stage, kind, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
CREATE INDEX work_due ON work (stage, lane, at, kind, id);
CREATE SEQUENCE fence;

-- Edits that were neither used nor given up: who comes late is told so.
CREATE TABLE edit (
    token uuid PRIMARY KEY,
    until bigint NOT NULL
);
CREATE INDEX edit_until ON edit (until);

-- Taken after the last row lock of a change set: sets of one entity never come in a wrong order.
CREATE SEQUENCE change_set;

-- Changes without a revision yet.
CREATE TABLE pending (
    change_set bigint NOT NULL,
    ordinal smallint NOT NULL,
    kind smallint NOT NULL,
    -- What it changed is gone.
    gone boolean NOT NULL,
    -- Of the body before it, if that is not the body after it.
    body_before bigint,
    version bigint NOT NULL,
    at bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    -- The row as it was; what it became is the next change's `before`, or the row of now.
    before json,
    cause text,
    PRIMARY KEY (change_set, ordinal)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX pending_key ON pending (kind, id);

-- Marks of other keys than the set changes: applied where revisions are given.
CREATE TABLE mark (
    change_set bigint NOT NULL,
    ordinal smallint NOT NULL,
    stage smallint NOT NULL,
    kind smallint NOT NULL,
    lane smallint NOT NULL,
    due bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (change_set, ordinal)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Changes by revision: dense, in commit order.
CREATE TABLE event (
    revision bigint PRIMARY KEY,
    -- The last revision of its change set.
    set_revision bigint NOT NULL,
    version bigint NOT NULL,
    at bigint NOT NULL,
    body_before bigint,
    kind smallint NOT NULL,
    gone boolean NOT NULL,
    id text COLLATE "C" NOT NULL,
    before json,
    cause text
);
CREATE INDEX event_key ON event (kind, id, revision);

-- Where the feed is: the last revision, and the one before the oldest that is kept.
CREATE TABLE head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL,
    oldest bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO head (revision, oldest) VALUES (0, 0);

-- Keys that are about to go unless something names them: new references wait for the outcome.
CREATE TABLE going (
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    token uuid NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (kind, id)
);
