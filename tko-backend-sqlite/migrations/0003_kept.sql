-- Values that workers keep for one another, by hash. Those with the earliest `at` are forgotten first.
CREATE TABLE kept (
    key BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    value BLOB NOT NULL
);
-- Has all that decides which are forgotten.
CREATE INDEX kept_at ON kept (at, key, size);
