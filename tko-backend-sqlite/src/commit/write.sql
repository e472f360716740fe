-- What a group of change sets writes, as one statement: an insert into the view `written`. Each
-- statement that is sent alone costs two switches between threads. The views and triggers belong to
-- the connection, not to the file.
--
-- `arena` has the bytes. The lists are JSON lists of rows, which have places in the arena. The order
-- matters: idempotency keys are freed before they get their next holders, and terms come before
-- postings. If a statement fails, SQLite undoes the insert, and the writer undoes the transaction that
-- it has begun.
--
-- `version`: the version of the data when they were read. If another process has written since, nothing
-- is written. Within a transaction, no other process writes.

CREATE TEMP VIEW written (arena, bodies, changes, rows, terms, works, revision, number, now, has_others,
    used_bodies, removed_rows, removed_terms, freed, held, removed_works, modifications, version) AS
SELECT x'', '', '', '', '', '', 0, 0, 0, 0, '', '', '', '', '', '', '', 0;

-- The lists that most change sets do not have.
CREATE TEMP VIEW written_seldom (arena, now, used_bodies, removed_rows, removed_terms, freed, held,
    removed_works, modifications) AS
SELECT x'', 0, '', '', '', '', '', '', '';

CREATE TEMP TRIGGER write_all INSTEAD OF INSERT ON written BEGIN
SELECT RAISE(ABORT, 'another process wrote since the read') FROM pragma_data_version
WHERE data_version <> NEW.version;
INSERT INTO body (hash, refs, dictionary, data)
SELECT substr(NEW.arena, j.value->>0, j.value->>1), j.value->>2, j.value->>3,
    substr(NEW.arena, j.value->>4, j.value->>5) FROM json_each(NEW.bodies) j;
INSERT INTO change (revision, set_revision, at, kind, id, gone, before, body_before, cause)
SELECT j.value->>0, j.value->>1, NEW.now, j.value->>2, j.value->>3, j.value->>4,
    substr(NEW.arena, j.value->>5, j.value->>6), substr(NEW.arena, j.value->>7, j.value->>8),
    substr(NEW.arena, j.value->>9, j.value->>10) FROM json_each(NEW.changes) j;
INSERT INTO entity (kind, id, data)
SELECT j.value->>0, j.value->>1, substr(NEW.arena, j.value->>2, j.value->>3)
FROM json_each(NEW.rows) j WHERE true ON CONFLICT (kind, id) DO UPDATE SET data = excluded.data;
INSERT INTO written_seldom
SELECT NEW.arena, NEW.now, NEW.used_bodies, NEW.removed_rows, NEW.removed_terms, NEW.freed, NEW.held,
    NEW.removed_works, NEW.modifications WHERE NEW.has_others;
INSERT INTO term (kind, facet, name, value, num)
SELECT j.value->>0, j.value->>1, substr(NEW.arena, j.value->>3, j.value->>4),
    substr(NEW.arena, j.value->>5, j.value->>6), NEW.number - j.key
FROM json_each(NEW.terms) j WHERE true ON CONFLICT DO NOTHING;
INSERT INTO posting (term, id)
SELECT t.num, j.value->>2 FROM json_each(NEW.terms) j CROSS JOIN term t
ON t.kind = j.value->>0 AND t.facet = j.value->>1
    AND t.name = substr(NEW.arena, j.value->>3, j.value->>4)
    AND t.value = substr(NEW.arena, j.value->>5, j.value->>6) WHERE true ON CONFLICT DO NOTHING;
INSERT INTO work (kind, id, stage, lane, ready, data)
SELECT j.value->>0, j.value->>1, j.value->>2, j.value->>3, j.value->>4,
    substr(NEW.arena, j.value->>5, j.value->>6)
FROM json_each(NEW.works) j WHERE true ON CONFLICT (kind, id, stage)
DO UPDATE SET lane = excluded.lane, ready = excluded.ready, data = excluded.data;
UPDATE head SET revision = NEW.revision, number = NEW.number WHERE NEW.changes <> '[]';
END;

CREATE TEMP TRIGGER write_seldom INSTEAD OF INSERT ON written_seldom BEGIN
UPDATE body SET refs = refs + (j.value->>2) FROM json_each(NEW.used_bodies) j
WHERE hash = substr(NEW.arena, j.value->>0, j.value->>1);
INSERT INTO removed_row (kind, id, now)
SELECT j.value->>0, j.value->>1, NEW.now FROM json_each(NEW.removed_rows) j;
INSERT INTO removed_term (kind, facet, name, value, id)
SELECT j.value->>0, j.value->>1, substr(NEW.arena, j.value->>3, j.value->>4),
    substr(NEW.arena, j.value->>5, j.value->>6), j.value->>2 FROM json_each(NEW.removed_terms) j;
DELETE FROM holder WHERE idempotency_key IN
    (SELECT substr(NEW.arena, j.value->>0, j.value->>1) FROM json_each(NEW.freed) j);
INSERT INTO holder (idempotency_key, id)
SELECT substr(NEW.arena, j.value->>0, j.value->>1), j.value->>2 FROM json_each(NEW.held) j;
INSERT INTO removed_work (kind, id, stage)
SELECT j.value->>0, j.value->>1, j.value->>2 FROM json_each(NEW.removed_works) j;
DELETE FROM modification WHERE secret IN
    (SELECT CAST(substr(NEW.arena, j.value->>0, j.value->>1) AS TEXT) FROM json_each(NEW.modifications) j);
END;
