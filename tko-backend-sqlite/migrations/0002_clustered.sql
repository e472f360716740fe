-- Rows, packages and work in the order of their keys, without a second index for each; and packages
-- compressed against the package of their template.
--
-- SQLite stores the text of each statement, so comments are between them, and the statements are
-- short: the schema takes few pages, without which a damaged file cannot be opened.
--
-- Without `OR ROLLBACK`, SQLite would keep in memory a copy of each page that it uses again.

CREATE TABLE entity_2 (kind INTEGER NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, id))
WITHOUT ROWID;
INSERT OR ROLLBACK INTO entity_2 SELECT kind, id, data FROM entity ORDER BY kind, id;
DROP TABLE entity;
ALTER TABLE entity_2 RENAME TO entity;

-- Packages of templates, for the compression of other packages. Immutable. A number is never used
-- again, and all of them are deleted at the same time or none, so those that are not below the
-- lowest number are still there. `data` is a value of `tko_core::codec`, or a zstd frame of one.
CREATE TABLE dictionary (num INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, data BLOB NOT NULL);

-- `dictionary` is that of the zstd frame in `data`, if it has one.
CREATE TABLE body_2 (hash BLOB PRIMARY KEY, refs INTEGER NOT NULL, dictionary INTEGER, data BLOB NOT NULL)
WITHOUT ROWID;
INSERT OR ROLLBACK INTO body_2 SELECT hash, refs, NULL, data FROM body ORDER BY hash;
DROP TABLE body;
ALTER TABLE body_2 RENAME TO body;

-- `ready`: from when it may be claimed, when it is due or when its lease ends.
CREATE TABLE work_2 (kind INTEGER NOT NULL, id TEXT NOT NULL, stage INTEGER NOT NULL, lane INTEGER NOT NULL,
ready INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (kind, id, stage)) WITHOUT ROWID;
INSERT OR ROLLBACK INTO work_2 SELECT kind, id, stage, lane, ready, data FROM work ORDER BY kind, id, stage;
DROP TABLE work;
ALTER TABLE work_2 RENAME TO work;
CREATE INDEX work_ready ON work (stage, lane, ready, kind, id);

-- Removals, a row each. `DELETE ... WHERE (a, b) IN (SELECT ...)` may look at every row with the
-- same `a`; these look up each row by its whole key.
CREATE VIEW removed_row (kind, id, now) AS SELECT 0, '', 0;
CREATE TRIGGER remove_row INSTEAD OF INSERT ON removed_row BEGIN
DELETE FROM entity WHERE kind=NEW.kind AND id=NEW.id;
DELETE FROM work WHERE kind=NEW.kind AND id=NEW.id;
DELETE FROM modification WHERE latest=1 AND kind=NEW.kind AND id=NEW.id AND until>NEW.now;
UPDATE modification SET latest=0 WHERE latest=1 AND kind=NEW.kind AND id=NEW.id;
END;

CREATE VIEW removed_term (kind, facet, name, value, id) AS SELECT 0, 0, x'', x'', '';
CREATE TRIGGER remove_term INSTEAD OF INSERT ON removed_term BEGIN
DELETE FROM posting WHERE id=NEW.id AND term=(SELECT num FROM term WHERE kind=NEW.kind
AND facet=NEW.facet AND name=NEW.name AND value=NEW.value);
DELETE FROM term WHERE kind=NEW.kind AND facet=NEW.facet AND name=NEW.name
AND value=NEW.value AND NOT EXISTS (SELECT 1 FROM posting p WHERE p.term=term.num);
END;

CREATE VIEW removed_work (kind, id, stage) AS SELECT 0, '', 0;
CREATE TRIGGER remove_work INSTEAD OF INSERT ON removed_work BEGIN
DELETE FROM work WHERE kind=NEW.kind AND id=NEW.id AND stage=NEW.stage;
END;
