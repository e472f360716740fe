-- Values that workers share, by hash. Those with the earliest `at` are forgotten first.
CREATE TABLE shared_value (
    key BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    value BLOB NOT NULL
);
-- Has all that decides which are forgotten.
CREATE INDEX shared_value_at ON shared_value (at, key, size);
