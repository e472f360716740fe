-- Values that workers keep for one another, by hash. Those with the earliest `at` are forgotten first.
CREATE TABLE kept (
    key bytea PRIMARY KEY,
    at bigint NOT NULL,
    size integer NOT NULL,
    value bytea NOT NULL
);
-- Has all that decides which are forgotten.
CREATE INDEX kept_at ON kept (at, key, size);
