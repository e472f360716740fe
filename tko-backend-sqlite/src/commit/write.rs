//! Writes the steps of change sets, in one round trip.

use super::snapshot::WritePosition;
use crate::arena::{Arena, BlobPlace, RowList, signed};
use crate::connect::SqliteParts;
use crate::facet::{Term, terms};
use crate::fault::SqlResult;
use crate::pack::{BodyDictionary, pack, pack_body};
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tko_core::commit::{Step, WorkItem};
use tko_core::{
    ContentHash, DeploymentId, Key, Kind, Package, Record, Result, Revision, Stage, TemplateId,
    Timestamp,
};

/// Adds the views and triggers that make a group one statement to the connection that writes.
pub(crate) async fn add_triggers(connection: &mut SqliteConnection) -> SqlResult<()> {
    let triggers = sqlx::raw_sql(include_str!("write.sql"));
    triggers.execute(connection).await.map(drop)
}

/// Writes a group. The arguments are the arena, the lists by position, and whether a list from
/// [`USED_BODIES`] on has rows. The others are the time, the new revision and number, and the
/// version of the data.
macro_rules! write_group {
    () => {
        "INSERT INTO written (arena, bodies, changes, rows, terms, works, used_bodies, \
             removed_rows, removed_terms, freed, held, removed_works, modifications, has_others, \
             now, revision, number, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18); "
    };
}
const WRITE: &str = write_group!();
const WRITE_AND_COMMIT: &str = concat!(write_group!(), "COMMIT; ");

/// The positions of the lists among the arguments of [`WRITE`]. The first is `$2`.
const NEW_BODIES: usize = 0;
const CHANGES: usize = 1;
const ROWS: usize = 2;
const TERMS: usize = 3;
const WORK: usize = 4;
/// From here on, most groups have no rows.
const USED_BODIES: usize = 5;
const REMOVED_ROWS: usize = 6;
const REMOVED_TERMS: usize = 7;
const FREED: usize = 8;
const HELD: usize = 9;
const REMOVED_WORK: usize = 10;
const MODIFICATIONS: usize = 11;
/// The number of lists.
const LISTS: usize = 12;

/// Collects the arguments of [`WRITE`].
pub(super) struct SetWrite {
    now: Timestamp,
    arena: Arena,
    /// The new bodies of changed rows: how many rows have each, and the body if it is not stored
    /// yet.
    bodies: BTreeMap<ContentHash, (i64, Option<NewBody>)>,
    rows: [RowList; LISTS],
    term_count: u64,
}

/// Whether a group was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardedWrite {
    /// The group was written.
    Done,
    /// Nothing was written, because another process wrote after the read.
    OthersWroteFirst,
}

/// Whether `RAISE` of a trigger refused a statement: `SQLITE_CONSTRAINT_TRIGGER`,
/// <https://www.sqlite.org/rescode.html#constraint_trigger>.
fn is_refused_by_trigger(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some("1811")
}

/// A package that is not stored yet.
struct NewBody {
    package: Package,
    /// The template of a row that has it.
    template: Option<TemplateId>,
}

impl SetWrite {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            arena: Arena::default(),
            bodies: BTreeMap::new(),
            rows: Default::default(),
            term_count: 0,
        }
    }

    /// Whether there is anything to write.
    pub(super) fn is_needed(&self) -> bool {
        !self.rows.iter().all(RowList::is_empty)
    }

    /// The templates of packages that are not stored yet.
    pub(super) fn templates(&self) -> BTreeSet<TemplateId> {
        let new = self.bodies.values().filter_map(|(_, new)| new.as_ref());
        new.filter_map(|new| new.template.clone()).collect()
    }

    /// Adds one step.
    pub(super) fn step(
        &mut self,
        step: Step<Record>,
        revision: Revision,
        set: Revision,
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
        if step.replaces_row {
            let (old, new) = (
                old.map(terms).unwrap_or_default(),
                new.map(terms).unwrap_or_default(),
            );
            for term in new.iter().filter(|term| !old.contains(term)) {
                Self::term(&mut self.arena, &mut self.rows[TERMS], kind, id, term);
                self.term_count += 1;
            }
            for term in old.iter().filter(|term| !new.contains(term)) {
                Self::term(
                    &mut self.arena,
                    &mut self.rows[REMOVED_TERMS],
                    kind,
                    id,
                    term,
                );
            }
        }
        let replaced = old.filter(|old| new.is_none_or(|new| new.body != old.body));
        let replaced = replaced.map(|old| self.arena.add(&old.body.0));
        let cause = cause.map(|cause| self.arena.add(cause.as_bytes()));
        let before = before.map(|record| self.arena.add(&pack(&record)));
        self.rows[CHANGES]
            .row()
            .number(signed(revision.0))
            .number(signed(set.0))
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
                let row = self.rows[ROWS].row().number(kind as i64);
                row.id(id).place(data).end();
            }
            None => self.rows[REMOVED_ROWS]
                .row()
                .number(kind as i64)
                .id(id)
                .end(),
        }
    }

    /// Counts one more row for the body after a step, if the body changed. The row's reference to
    /// the previous body passes to the change.
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
        let new = || NewBody {
            package: body.unwrap_or_default(),
            template: after.entity.template().cloned(),
        };
        let entry = self.bodies.entry(hash);
        let (rows, _) = entry.or_insert_with(|| (0, is_new.then(new)));
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
            self.rows[FREED].row().place(place).end();
            if let Some(holder) = holder {
                let row = self.rows[HELD].row().place(place);
                row.id(holder.as_str()).end();
            }
        }
    }

    /// Adds or replaces a work item.
    pub(super) fn put_work(&mut self, key: &Key, stage: Stage, item: &WorkItem, data: &[u8]) {
        let data = self.arena.add(data);
        put_work(&mut self.rows[WORK], key, stage, item, data);
    }

    /// Removes a work item.
    pub(super) fn remove_work(&mut self, key: &Key, stage: Stage) {
        self.rows[REMOVED_WORK]
            .row()
            .number(key.kind() as i64)
            .id(key.id())
            .number(stage as i64)
            .end();
    }

    /// Ends the modification with this secret.
    pub(super) fn close_modification(&mut self, secret: &str) {
        let place = self.arena.add(secret.as_bytes());
        self.rows[MODIFICATIONS].row().place(place).end();
    }

    /// Writes everything. `position`: the new one, with the version of the data that were read.
    /// `commit`: ends the transaction.
    pub(super) async fn execute(
        mut self,
        connection: &mut SqliteConnection,
        shared: &SqliteParts,
        dictionaries: &HashMap<TemplateId, Arc<BodyDictionary>>,
        position: WritePosition,
        commit: bool,
    ) -> Result<GuardedWrite> {
        for (hash, (count, new)) in std::mem::take(&mut self.bodies) {
            let place = self.arena.add(&hash.0);
            if let Some(new) = new {
                let dictionary = new
                    .template
                    .and_then(|template| dictionaries.get(&template));
                let stored = pack_body(&new.package, dictionary.map(AsRef::as_ref))?;
                let data = self.arena.add(&stored.data);
                let row = self.rows[NEW_BODIES].row().place(place).number(count);
                row.number_or_null(stored.dictionary).place(data).end();
            } else {
                let row = self.rows[USED_BODIES].row();
                row.place(place).number(count).end();
            }
        }
        let has_others = !self.rows[USED_BODIES..].iter().all(RowList::is_empty);
        let sql = if commit { WRITE_AND_COMMIT } else { WRITE };
        let mut query = sqlx::query(sql).bind(self.arena.into_bytes());
        for rows in self.rows {
            query = query.bind(rows.into_text());
        }
        let written = query
            .bind(has_others)
            .bind(self.now.0)
            .bind(signed(position.revision))
            .bind(signed(position.number + self.term_count))
            .bind(position.version)
            .execute(connection)
            .await;
        match written {
            Ok(_) => Ok(GuardedWrite::Done),
            Err(error) if is_refused_by_trigger(&error) => Ok(GuardedWrite::OthersWroteFirst),
            Err(error) => Err(shared.file.fault("commit the changes")(error)),
        }
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
