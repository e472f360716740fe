//! Writes the steps of a change set, in one round trip.

use super::found::Head;
use crate::arena::{Arena, BlobPlace, RowList, signed};
use crate::fault::SqlResult;
use crate::pack::pack;
use crate::term::{Term, terms};
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tko_core::commit::{Step, WorkItem};
use tko_core::{ContentHash, DeploymentId, Key, Kind, Package, Record, Revision, Stage, Timestamp};

/// The order matters: bodies before the references to them change, terms before postings.
const WRITE: &str = "\
INSERT INTO body (hash, refs, data) \
    SELECT substr($1, j.value->>0, j.value->>1), j.value->>2, \
        substr($1, j.value->>3, j.value->>4) FROM json_each($2) j; \
UPDATE body SET refs = refs + (j.value->>2) FROM json_each($3) j \
    WHERE hash = substr($1, j.value->>0, j.value->>1); \
INSERT INTO change (revision, set_revision, at, kind, id, gone, before, body_before, cause) \
    SELECT j.value->>0, $17, $18, j.value->>1, j.value->>2, j.value->>3, \
        substr($1, j.value->>4, j.value->>5), substr($1, j.value->>6, j.value->>7), \
        substr($1, j.value->>8, j.value->>9) FROM json_each($4) j; \
INSERT INTO entity (kind, id, data) \
    SELECT j.value->>0, j.value->>1, substr($1, j.value->>2, j.value->>3) \
    FROM json_each($5) j WHERE true ON CONFLICT (kind, id) DO UPDATE SET data = excluded.data; \
DELETE FROM entity WHERE (kind, id) IN \
    (SELECT j.value->>0, j.value->>1 FROM json_each($6) j); \
DELETE FROM work WHERE (kind, id) IN \
    (SELECT j.value->>0, j.value->>1 FROM json_each($6) j); \
DELETE FROM modification WHERE latest = 1 AND until > $18 AND (kind, id) IN \
    (SELECT j.value->>0, j.value->>1 FROM json_each($6) j); \
UPDATE modification SET latest = 0 WHERE latest = 1 AND (kind, id) IN \
    (SELECT j.value->>0, j.value->>1 FROM json_each($6) j); \
INSERT OR IGNORE INTO term (kind, facet, name, value, num) \
    SELECT j.value->>0, j.value->>1, substr($1, j.value->>3, j.value->>4), \
        substr($1, j.value->>5, j.value->>6), $16 - j.key FROM json_each($7) j; \
INSERT OR IGNORE INTO posting (term, id) \
    SELECT t.num, j.value->>2 FROM json_each($7) j CROSS JOIN term t \
    ON t.kind = j.value->>0 AND t.facet = j.value->>1 \
        AND t.name = substr($1, j.value->>3, j.value->>4) \
        AND t.value = substr($1, j.value->>5, j.value->>6); \
DELETE FROM posting WHERE (term, id) IN \
    (SELECT t.num, j.value->>2 FROM json_each($8) j CROSS JOIN term t \
    ON t.kind = j.value->>0 AND t.facet = j.value->>1 \
        AND t.name = substr($1, j.value->>3, j.value->>4) \
        AND t.value = substr($1, j.value->>5, j.value->>6)); \
DELETE FROM term WHERE (kind, facet, name, value) IN \
    (SELECT j.value->>0, j.value->>1, substr($1, j.value->>3, j.value->>4), \
        substr($1, j.value->>5, j.value->>6) FROM json_each($8) j) \
    AND NOT EXISTS (SELECT 1 FROM posting p WHERE p.term = term.num); \
DELETE FROM holder WHERE idempotency_key IN \
    (SELECT substr($1, j.value->>0, j.value->>1) FROM json_each($9) j); \
INSERT INTO holder (idempotency_key, id) \
    SELECT substr($1, j.value->>0, j.value->>1), j.value->>2 FROM json_each($10) j; \
INSERT INTO work (kind, id, stage, lane, ready, data) \
    SELECT j.value->>0, j.value->>1, j.value->>2, j.value->>3, j.value->>4, \
        substr($1, j.value->>5, j.value->>6) \
    FROM json_each($11) j WHERE true ON CONFLICT (kind, id, stage) \
    DO UPDATE SET lane = excluded.lane, ready = excluded.ready, data = excluded.data; \
DELETE FROM work WHERE (kind, id, stage) IN \
    (SELECT j.value->>0, j.value->>1, j.value->>2 FROM json_each($12) j); \
DELETE FROM modification WHERE secret = $13; \
UPDATE head SET revision = $14, number = $15;";

/// The arguments of [`WRITE`], as they grow.
pub(super) struct SetWrite {
    now: Timestamp,
    arena: Arena,
    /// The bodies of rows that had others: how many rows, and the body if it is not stored yet.
    bodies: BTreeMap<ContentHash, (i64, Option<Package>)>,
    changes: RowList,
    rows: RowList,
    removed_rows: RowList,
    terms: RowList,
    term_count: u64,
    removed_terms: RowList,
    freed: RowList,
    held: RowList,
    work: RowList,
    removed_work: RowList,
    modification: Option<Arc<str>>,
}

impl SetWrite {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            arena: Arena::default(),
            bodies: BTreeMap::new(),
            changes: RowList::default(),
            rows: RowList::default(),
            removed_rows: RowList::default(),
            terms: RowList::default(),
            term_count: 0,
            removed_terms: RowList::default(),
            freed: RowList::default(),
            held: RowList::default(),
            work: RowList::default(),
            removed_work: RowList::default(),
            modification: None,
        }
    }

    /// Whether there is anything to write.
    pub(super) fn is_needed(&self) -> bool {
        !(self.changes.is_empty() && self.work.is_empty() && self.removed_work.is_empty())
            || self.modification.is_some()
    }

    /// Adds one step.
    pub(super) fn step(
        &mut self,
        step: Step<Record>,
        revision: Revision,
        cause: Option<&str>,
        stored: &HashSet<ContentHash>,
    ) {
        let key = step.key().clone();
        let (kind, id) = (key.kind(), key.id());
        let before = step.before;
        let after = step
            .after
            .map(|entity| Record::new(entity).revision(revision));
        self.body(before.as_ref(), after.as_ref(), step.body, stored);
        let old = before.as_ref().map(|record| &*record.entity);
        let new = after.as_ref().map(|record| &*record.entity);
        if step.is_exclusive {
            let (old, new) = (
                old.map(terms).unwrap_or_default(),
                new.map(terms).unwrap_or_default(),
            );
            for term in new.iter().filter(|term| !old.contains(term)) {
                Self::term(&mut self.arena, &mut self.terms, kind, id, term);
                self.term_count += 1;
            }
            for term in old.iter().filter(|term| !new.contains(term)) {
                Self::term(&mut self.arena, &mut self.removed_terms, kind, id, term);
            }
        }
        let replaced = old.filter(|old| new.is_none_or(|new| new.body != old.body));
        let replaced = replaced.map(|old| self.arena.add(&old.body.0));
        let cause = cause.map(|cause| self.arena.add(cause.as_bytes()));
        let before = before.map(|record| self.arena.add(&pack(&record)));
        self.changes
            .row()
            .number(signed(revision.0))
            .number(kind as i64)
            .id(id)
            .number(i64::from(after.is_none()))
            .place_or_null(before)
            .place_or_null(replaced)
            .place_or_null(cause)
            .end();
        match after {
            Some(record) => {
                let data = self.arena.add(&pack(&record));
                self.rows.row().number(kind as i64).id(id).place(data).end();
            }
            None => self.removed_rows.row().number(kind as i64).id(id).end(),
        }
    }

    /// Counts one more row for the body after a step, if it is not that of the row before. The
    /// row's reference to the body before passes to the change.
    fn body(
        &mut self,
        before: Option<&Record>,
        after: Option<&Record>,
        body: Option<Package>,
        stored: &HashSet<ContentHash>,
    ) {
        let Some(after) = after else { return };
        let hash = after.entity.body;
        if before.is_some_and(|before| before.entity.body == hash) {
            return;
        }
        let is_new = !stored.contains(&hash);
        let entry = self.bodies.entry(hash);
        let (rows, _) = entry.or_insert_with(|| (0, is_new.then(|| body.unwrap_or_default())));
        *rows += 1;
    }

    fn term(arena: &mut Arena, rows: &mut RowList, kind: Kind, id: &str, term: &Term<'_>) {
        let (name, value) = (
            arena.add(term.name.as_bytes()),
            arena.add(term.value.as_bytes()),
        );
        rows.row()
            .number(kind as i64)
            .number(term.facet as i64)
            .id(id)
            .place(name)
            .place(value)
            .end();
    }

    /// Adds the changes of the index of idempotency keys.
    pub(super) fn holders(&mut self, holders: BTreeMap<Arc<str>, Option<DeploymentId>>) {
        for (idempotency_key, holder) in holders {
            let place = self.arena.add(idempotency_key.as_bytes());
            self.freed.row().place(place).end();
            if let Some(holder) = holder {
                self.held.row().place(place).id(holder.as_str()).end();
            }
        }
    }

    /// Adds or replaces a work item.
    pub(super) fn put_work(&mut self, key: &Key, stage: Stage, item: &WorkItem, data: &[u8]) {
        let data = self.arena.add(data);
        put_work(&mut self.work, key, stage, item, data);
    }

    /// Removes a work item.
    pub(super) fn remove_work(&mut self, key: &Key, stage: Stage) {
        self.removed_work
            .row()
            .number(key.kind() as i64)
            .id(key.id())
            .number(stage as i64)
            .end();
    }

    /// Ends the modification that permits the set.
    pub(super) fn close_modification(&mut self, secret: Option<Arc<str>>) {
        self.modification = secret;
    }

    /// Writes everything.
    pub(super) async fn execute(
        mut self,
        connection: &mut SqliteConnection,
        head: Head,
        set: Revision,
    ) -> SqlResult<()> {
        let (mut new_bodies, mut used_bodies) = (RowList::default(), RowList::default());
        for (hash, (rows, body)) in std::mem::take(&mut self.bodies) {
            let place = self.arena.add(&hash.0);
            if let Some(body) = body {
                let data = self.arena.add(&pack(&body));
                new_bodies.row().place(place).number(rows).place(data).end();
            } else {
                used_bodies.row().place(place).number(rows).end();
            }
        }
        let terms_until = head.number + self.term_count;
        sqlx::query(WRITE)
            .bind(self.arena.into_bytes())
            .bind(new_bodies.into_text())
            .bind(used_bodies.into_text())
            .bind(self.changes.into_text())
            .bind(self.rows.into_text())
            .bind(self.removed_rows.into_text())
            .bind(self.terms.into_text())
            .bind(self.removed_terms.into_text())
            .bind(self.freed.into_text())
            .bind(self.held.into_text())
            .bind(self.work.into_text())
            .bind(self.removed_work.into_text())
            .bind(self.modification.map(|secret| secret.to_string()))
            .bind(signed(head.revision))
            .bind(signed(terms_until))
            .bind(signed(terms_until))
            .bind(signed(set.0))
            .bind(self.now.0)
            .execute(connection)
            .await
            .map(drop)
    }
}

/// Adds the row of a work item: kind, id, stage, lane, ready, data.
pub(crate) fn put_work(
    rows: &mut RowList,
    key: &Key,
    stage: Stage,
    item: &WorkItem,
    data: BlobPlace,
) {
    rows.row()
        .number(key.kind() as i64)
        .id(key.id())
        .number(stage as i64)
        .number(i64::from(item.lane.number()))
        .number(item.ready().0)
        .place(data)
        .end();
}
