//! The statement that writes a change set.
//!
//! Its parts, in the order in which they run:
//! 1. `locked`: the changed rows, in the order of keys, if they still have the versions that were
//!    read. `lease`: the leased work, if it still has this token.
//! 2. `gate`: whether everything holds. If not, nothing below runs.
//! 3. Entities are deleted, updated, and inserted.
//! 4. `s`: the id of the change set, taken after the last lock. So change sets of one entity have
//!    ids in the order of their commits, and revisions follow that order.
//! 5. The rest: bodies, metadata, work, and changes to be numbered.

mod changes;
mod claim;
mod facets;
mod gate;
mod plan;
mod rows;
mod work;

use crate::database::Database;
use crate::metrics::{Instrument, Purpose};
use crate::sql::{BuiltSql, SqlBuilder};
use sqlx::{AssertSqlSafe, Row as _};

pub(super) use plan::WritePlan;

/// Writes a change set. Returns its id; `None` if the state changed since it was read.
///
/// # Errors
/// The error of the database: the caller decides about retries.
pub(super) async fn execute(
    plan: &WritePlan<'_>,
    database: &Database,
) -> sqlx::Result<Option<i64>> {
    let BuiltSql { text, values } = statement(plan)?;
    let row = sqlx::query_with(AssertSqlSafe(text), values)
        .fetch_one(&database.pool)
        .measured(&database.metrics, Purpose::Commit)
        .await?;
    row.try_get(0)
}

/// Marks of one key that this set changes, as one.
struct OwnMark<'a> {
    stage: Stage,
    key: &'a Key,
    lane: i16,
    again: i16,
    after: i64,
}

impl<'a> Write<'a> {
    /// Prepares what is written, bodies packed.
    pub(crate) async fn new(
        shared: &Shared,
        set: &'a ChangeSet,
        staged: &'a Staged<'a>,
        snapshot: Option<&Snapshot>,
        hold: Option<&'a DeletionGuard>,
    ) -> Result<Self> {
        let right = snapshot.and_then(|snapshot| snapshot.right);
        let leased = match (right, &set.under) {
            (Some(Right::Lease(stage, _)), Some(token)) => Some((stage, &token.key)),
            _ => None,
        };
        let (own, others) = marks(set, staged, leased);
        let mut write = Self {
            set,
            staged,
            hold,
            right,
            now: snapshot.map(|snapshot| snapshot.now.0),
            rows: Vec::with_capacity(staged.steps.len()),
            bodies: Vec::new(),
            own,
            others,
        };
        write.pack(shared).await?;
        Ok(write)
    }

    async fn pack(&mut self, shared: &Shared) -> Result<()> {
        let heads: Vec<&Arc<Resource>> = self
            .staged
            .after()
            .filter_map(|entity| Some(&entity.deployment()?.resource.skeleton))
            .collect();
        let mut skeletons = shared.skeletons.numbers(shared, &heads).await?.into_iter();
        let bodies: Vec<(&Package, Option<&TemplateId>)> = self
            .staged
            .steps
            .iter()
            .filter_map(|step| {
                let template = step
                    .after
                    .as_ref()?
                    .deployment()
                    .map(|d| d.template.as_ref());
                Some((new_body(step)?, template.flatten()))
            })
            .collect();
        let mut packed = shared.bodies.pack(shared, &bodies).await?.into_iter();
        for step in &self.staged.steps {
            let Some(entity) = &step.after else {
                self.rows.push(None);
                continue;
            };
            let version = signed(step.version.0);
            let body_at = match (step.body, step.before) {
                (Some(_), _) => match new_body(step).and_then(|_| packed.next()) {
                    Some(packed) => {
                        self.bodies.push((version, packed));
                        version
                    }
                    None => 0,
                },
                (None, Some(before)) => before.body_at,
                (None, None) => 0,
            };
            let skeleton = entity.deployment().and_then(|_| skeletons.next());
            self.rows.push(Some(Row::of(entity, body_at, skeleton)));
        }
        Ok(())
    }

    /// Whether work of other keys is marked: then there is something for a numbering pass.
    pub(crate) fn marks_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Writes; the id of the set. `None`: something does not hold any more.
    pub(crate) async fn execute(&self, shared: &Shared) -> Sql<Option<i64>> {
        let (text, arguments) = self.statement()?;
        let row = sqlx::query_with(AssertSqlSafe(text), arguments)
            .fetch_one(&shared.pool)
            .measured(&shared.measures, Purpose::Commit)
            .await?;
        row.try_get(0)
    }

    fn statement(&self) -> Sql<(String, sqlx::postgres::PgArguments)> {
        let mut sql = Statement::default();
        let mut gate = Vec::new();
        self.lock(&mut sql, &mut gate)?;
        self.lease(&mut sql, &mut gate)?;
        self.requirements(&mut sql, &mut gate)?;
        let gate = if gate.is_empty() {
            "true".to_owned()
        } else {
            gate.join(" AND ")
        };
        sql.with("gate", format_args!("SELECT 1 WHERE {gate}"));
        let done = self.entities(&mut sql)?;
        let locked = match (done.as_slice(), self.staged.steps.as_slice()) {
            ([], _) => "gate".to_owned(),
            ([part], [_]) => (*part).to_owned(),
            (parts, _) => format!("gate WHERE {}", rows::all_of(parts)),
        };
        sql.with_first(
            "s",
            format_args!("SELECT nextval('change_set') AS id FROM {locked}"),
        );
        self.contents(&mut sql)?;
        self.facets(&mut sql)?;
        self.work(&mut sql)?;
        self.settlement(&mut sql)?;
        self.changes(&mut sql)?;
        self.marks(&mut sql)?;
        if let Some(hold) = self.hold {
            let token = sql.bind(hold.token)?;
            sql.with(
                "let_go",
                format_args!("DELETE FROM going USING s WHERE going.token = {token}"),
            );
        }
        Ok(sql.finish("SELECT (SELECT id FROM s)"))
    }

    /// Locks what is changed, as it was read.
    fn lock(&self, sql: &mut Statement, gate: &mut Vec<String>) -> Sql<()> {
        let mut pins: BTreeMap<&Key, (i64, bool)> = BTreeMap::new();
        for step in &self.staged.steps {
            if let Some(before) = step.before {
                let version = signed(before.entity.version.0);
                pins.insert(step.key, (version, step.is_exclusive));
            }
        }
        for require in &self.set.require {
            if let Require::At(key, version) = require {
                pins.entry(key).or_insert((signed(version.0), false));
            }
        }
        if pins.is_empty() {
            return Ok(());
        }
        let (kinds, ids) = arrays(pins.keys().copied());
        let (versions, exclusive): (Vec<i64>, Vec<bool>) = pins.values().copied().unzip();
        let count = pins.len();
        let pins = sql
            .table(count)
            .column("kind", "smallint", kinds)?
            .column("id", "text", ids)?
            .column("version", "bigint", versions)?
            .column("exclusive", "boolean", exclusive)?
            .named("p");
        let own = match self.right {
            Some(Right::Modification(token)) => Some(token),
            _ => None,
        };
        let own = sql.bind(own)?;
        sql.with_first(
            "locked",
            format_args!(
                "SELECT e.* FROM {pins} JOIN entity e ON e.kind = p.kind AND e.id = p.id \
                 WHERE e.version = p.version AND (NOT p.exclusive OR e.edit IS NULL \
                 OR e.edit_until <= now_us() OR e.edit = {own}) \
                 ORDER BY e.kind, e.id FOR UPDATE OF e"
            ),
        );
        gate.push(so_many(sql, count, format_args!("locked"))?);
        Ok(())
    }

    /// What must hold of rows that are not locked, in the statement's snapshot.
    fn requirements(&self, sql: &mut Statement, gate: &mut Vec<String>) -> Sql<()> {
        // With this generation, and this version, if any.
        let mut present: BTreeMap<&Key, (Option<i64>, Option<i64>)> = BTreeMap::new();
        let mut absent: BTreeSet<&Key> = BTreeSet::new();
        let mut unreferenced: BTreeSet<&Key> = BTreeSet::new();
        for require in &self.set.require {
            let key = require.key();
            match require {
                Require::Exists(_) => _ = present.entry(key).or_default(),
                Require::Generation(_, generation) => {
                    present.entry(key).or_default().0 = Some(signed(generation.0));
                }
                Require::Current(_, version) => {
                    present.entry(key).or_default().1 = Some(signed(version.0));
                }
                Require::Absent(_) if !self.staged.changes(key) => _ = absent.insert(key),
                Require::Unreferenced(_) => _ = unreferenced.insert(key),
                Require::Absent(_) | Require::At(..) => {}
            }
        }
        // Those that the set itself creates hold their keys with it. One under deletion holds its
        // key until it is gone.
        let holders: BTreeSet<Key> = self
            .staged
            .existing
            .iter()
            .map(|(_, id)| Key::from(id))
            .filter(|key| !self.staged.changes(key))
            .collect();
        if !holders.is_empty() {
            let rows = keys(sql, arrays(&holders))?;
            let found = format_args!("{rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id");
            gate.push(so_many(sql, holders.len(), found)?);
        }
        if !present.is_empty() {
            let (kinds, ids) = arrays(present.keys().copied());
            let (generations, versions): (Vec<Option<i64>>, Vec<Option<i64>>) =
                present.values().copied().unzip();
            let own = sql.bind(self.hold.map(|hold| hold.token))?;
            let rows = sql
                .table(present.len())
                .column("kind", "smallint", kinds)?
                .column("id", "text", ids)?
                .column("generation", "bigint", generations)?
                .column("version", "bigint", versions)?
                .named("r");
            let found = format_args!(
                "{rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id \
                 WHERE NOT e.deleting AND (r.generation IS NULL OR e.generation = r.generation) \
                 AND (r.version IS NULL OR e.version = r.version) \
                 AND NOT EXISTS (SELECT 1 FROM going g WHERE g.kind = r.kind AND g.id = r.id \
                 AND g.until > now_us() AND g.token IS DISTINCT FROM {own})"
            );
            gate.push(so_many(sql, present.len(), found)?);
        }
        if !absent.is_empty() {
            let rows = keys(sql, arrays(absent))?;
            gate.push(format!(
                "NOT EXISTS (SELECT 1 FROM {rows} JOIN entity e ON e.kind = r.kind AND e.id = r.id)"
            ));
        }
        if let Some(hold) = self.hold {
            let (kinds, ids) = arrays(unreferenced);
            let (changed_kinds, changed_ids) =
                arrays(self.staged.steps.iter().map(|step| step.key));
            let keys = format!(
                "unnest({}::smallint[], {}::text[]) k(kind, id)",
                sql.bind(kinds)?,
                sql.bind(ids)?
            );
            let (changed_kinds, changed_ids) = (sql.bind(changed_kinds)?, sql.bind(changed_ids)?);
            gate.push(format!(
                "NOT EXISTS (SELECT 1 FROM {keys} WHERE {})",
                is_referenced(&changed_kinds.to_string(), &changed_ids.to_string())
            ));
            let token = sql.bind(hold.token)?;
            let held = format_args!("going WHERE token = {token} AND until > now_us()");
            gate.push(so_many(sql, hold.count, held)?);
        }
        Ok(())
    }
}

/// Whether so many rows come from this.
fn so_many(sql: &mut Statement, count: usize, from: fmt::Arguments<'_>) -> Sql<String> {
    if count == 1 {
        return Ok(format!("EXISTS (SELECT 1 FROM {from})"));
    }
    let count = sql.bind(i64::try_from(count).unwrap_or(i64::MAX))?;
    Ok(format!("(SELECT count(*) FROM {from}) = {count}"))
}

/// Keys as a table `r`.
fn keys(sql: &mut Statement, (kinds, ids): (Vec<i16>, Vec<String>)) -> Sql<String> {
    let keys = sql
        .table(ids.len())
        .column("kind", "smallint", kinds)?
        .column("id", "text", ids)?;
    Ok(keys.named("r"))
}

/// A body that is to be stored.
fn new_body<'a>(step: &Step<'a>) -> Option<&'a Package> {
    step.body.filter(|body| !body.is_empty())
}

/// Enqueues of keys that the set changes and leaves there, or of the leased work, and those of other
/// keys, which are applied after the commit.
fn marks<'a>(
    set: &'a ChangeSet,
    staged: &Staged<'_>,
    leased: Option<(Stage, &Key)>,
) -> (Vec<OwnMark<'a>>, Vec<&'a Enqueue>) {
    let there: BTreeSet<&Key> = staged.after().map(|entity| &entity.key).collect();
    let mut own: BTreeMap<(Stage, &Key), OwnMark<'a>> = BTreeMap::new();
    let mut others = Vec::new();
    for mark in &set.enqueue {
        let changed = staged.changes(&mark.key);
        let leased = leased == Some((mark.stage, &mark.key));
        if !there.contains(&mark.key) && (changed || !leased) {
            if !changed {
                others.push(mark);
            }
            continue;
        }
        let after = i64::try_from(mark.after.as_micros()).unwrap_or(i64::MAX / 2);
        let lane = i16::from(mark.lane.number());
        own.entry((mark.stage, &mark.key))
            .and_modify(|known| {
                known.after = known.after.min(after);
                known.again = lane;
            })
            .or_insert(OwnMark {
                stage: mark.stage,
                key: &mark.key,
                lane,
                again: lane,
                after,
            });
    }
    (own.into_values().collect(), others)
}
