-- Entities of all kinds, their indexes, due work, and the feed of changes.
--
-- There are only tables, sequences and indexes: no trigger, no foreign key, no extension. Ids, keys and
-- values compare by bytes (COLLATE "C"): listings have that order, and an index can find prefixes. Times
-- are microseconds since 1970.

-- The store's time, for all deadlines. Only tests replace this function, to advance the time.
CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint $$;

-- Entities of all kinds (0 template, 1 site, 2 deployment, 3 plugin).
CREATE TABLE entity (
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    -- Unique, without an order.
    version bigint NOT NULL,
    generation bigint NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    -- The version that wrote the body: its key in `body`. 0: an empty package.
    body_at bigint NOT NULL,
    -- The end of the modification.
    edit_until bigint,
    skeleton integer,
    deleting boolean NOT NULL,
    prepared boolean NOT NULL,
    approved boolean NOT NULL,
    -- The token of the modification.
    edit uuid,
    template text COLLATE "C",
    site text COLLATE "C",
    parent text COLLATE "C",
    -- The site where a scheduler placed it.
    place text COLLATE "C",
    -- Hash of the idempotency key.
    once bytea,
    -- Hash of the body.
    body bytea NOT NULL,
    -- One line per pair: key, tab, value. The index is `facet`.
    metadata text NOT NULL,
    -- Values that no statement selects by.
    rest json NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX entity_template ON entity (kind, template, id) WHERE template IS NOT NULL;
CREATE INDEX entity_site ON entity (site, id) WHERE site IS NOT NULL;
CREATE INDEX entity_parent ON entity (parent, id) WHERE parent IS NOT NULL;
-- Only deployments that are not placed on their site.
CREATE INDEX entity_elsewhere ON entity (place, id)
    WHERE place IS NOT NULL AND (site IS NULL OR place <> site);
-- Unprepared and unapproved deployments.
CREATE INDEX entity_unfinished ON entity (prepared, id) WHERE kind = 2 AND NOT (prepared AND approved);
CREATE UNIQUE INDEX entity_once ON entity (once) WHERE once IS NOT NULL;

-- The index of metadata, in the order of listings.
CREATE TABLE facet (
    kind smallint NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key, value, id)
);

-- Packages by the version that wrote them; immutable, and compressed by the writing process.
CREATE TABLE body (
    at bigint PRIMARY KEY,
    codec smallint NOT NULL,
    dictionary integer,
    data bytea NOT NULL
);
ALTER TABLE body ALTER data SET STORAGE EXTERNAL;

-- Compression dictionaries: packages of templates. Immutable.
CREATE TABLE dictionary (
    num integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    data bytea NOT NULL
);

-- Deployment resources without their ids, stored once each. Immutable.
CREATE TABLE skeleton (
    num integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    data bytea NOT NULL
);

-- Processes reserve versions in blocks of 1,024.
CREATE SEQUENCE version_block;

-- Due and leased work (stage 0 prepare, 1 schedule, 2 delete).
CREATE TABLE work (
    stage smallint NOT NULL,
    kind smallint NOT NULL,
    lane smallint NOT NULL,
    -- The lane of work that was enqueued during the lease.
    again smallint,
    attempts integer NOT NULL DEFAULT 0,
    id text COLLATE "C" NOT NULL,
    -- From when it may be claimed: when it is due, or when its lease ends.
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

-- Modifications that were neither used nor given up, to recognize expired tokens.
CREATE TABLE edit (
    token uuid PRIMARY KEY,
    until bigint NOT NULL
);
CREATE INDEX edit_until ON edit (until);

-- Ids of change sets, taken after the last row lock: sets of one entity are in commit order.
CREATE SEQUENCE change_set;

-- Changes without a revision.
CREATE TABLE pending (
    change_set bigint NOT NULL,
    ordinal smallint NOT NULL,
    kind smallint NOT NULL,
    -- Whether the entity was deleted.
    gone boolean NOT NULL,
    -- The key of the previous body, if the body changed.
    body_before bigint,
    version bigint NOT NULL,
    at bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    -- The row before the change. The row after it is `before` of the next change, or the current row.
    before json,
    cause text,
    PRIMARY KEY (change_set, ordinal)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX pending_key ON pending (kind, id);

-- Work to enqueue for entities that the change set does not change. Numbering passes enqueue it.
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

-- Changes by revision, dense and in commit order.
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

-- The position of the feed: the last revision, and the revision before the oldest change.
CREATE TABLE head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    revision bigint NOT NULL,
    oldest bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO head (revision, oldest) VALUES (0, 0);

-- Deletion guards: announced deletions, which prevent new references.
CREATE TABLE going (
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    token uuid NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (kind, id)
);
