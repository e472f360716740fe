//! The rules on a snapshot of a few rows.

use super::{EmptySnapshot, Right, Snapshot, Staged, TokenState, check, judge};
use crate::change::{Change, ChangeSet, MAX_CHANGES, Put, Require};
use crate::deployment_resource;
use crate::entity::{Condition, Deployment, Entity, Facts};
use crate::error::{Error, Result, Subject};
use crate::id::{DeploymentId, Key, Kind};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::revision::{Generation, Timestamp, Version};
use crate::work::{MAX_PROGRESS, Outcome, Stage, Token};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(77);

#[derive(Default)]
struct World {
    rows: BTreeMap<Key, Arc<Entity>>,
    modified: BTreeMap<Key, Token>,
    tokens: BTreeMap<Token, TokenState>,
    version: u64,
}

impl Snapshot for World {
    type Row = Arc<Entity>;

    fn row(&self, key: &Key) -> Option<Arc<Entity>> {
        self.rows.get(key).cloned()
    }

    fn holder(&self, idempotency_key: &str) -> Option<DeploymentId> {
        self.rows.values().find_map(|row| {
            let held = row.deployment()?.idempotency_key.as_deref() == Some(idempotency_key);
            row.key.deployment().filter(|_| held).cloned()
        })
    }

    fn is_referenced(&self, key: &Key, changed: &dyn Fn(&Key) -> bool) -> bool {
        let mut rows = self.rows.values();
        rows.any(|row| row.refers_to(key) && !changed(&row.key))
    }

    fn token(&self, token: &Token) -> TokenState {
        let known = self.tokens.get(token).copied();
        known.unwrap_or(TokenState::Unknown)
    }

    fn is_modified(&self, key: &Key, own: Option<&Token>) -> bool {
        let holder = self.modified.get(key);
        holder.is_some_and(|holder| Some(holder) != own)
    }

    fn now(&self) -> Timestamp {
        NOW
    }
}

impl World {
    fn of(puts: impl IntoIterator<Item = Put>) -> Self {
        let mut world = Self::default();
        world.commit(set(puts)).expect("nothing is in the way");
        world
    }

    fn stage(&self, changes: Vec<Change>) -> Staged<Arc<Entity>> {
        let first = self.version + 1;
        Staged::new(self, changes, |index| Version(first + index as u64))
    }

    fn try_stage(&self, mut set: ChangeSet) -> Result<(Staged<Arc<Entity>>, Option<Right>)> {
        check(&set)?;
        let staged = self.stage(std::mem::take(&mut set.changes));
        let right = judge(self, &staged, &set.require, set.under.as_ref())?;
        Ok((staged, right))
    }

    fn commit(&mut self, set: ChangeSet) -> Result<Staged<Arc<Entity>>> {
        let count = set.changes.len() as u64;
        let (staged, _) = self.try_stage(set)?;
        self.version += count;
        for step in &staged.steps {
            match &step.after {
                Some(entity) => {
                    let row = Arc::new(entity.clone());
                    self.rows.insert(row.key.clone(), row)
                }
                None => self.rows.remove(step.key()),
            };
        }
        Ok(staged)
    }

    fn require(&self, require: impl IntoIterator<Item = Require>) -> Result<()> {
        let set = ChangeSet {
            require: require.into_iter().collect(),
            ..ChangeSet::default()
        };
        self.try_stage(set).map(drop)
    }

    fn version(&self, key: &Key) -> Version {
        self.rows[key].version
    }
}

fn key(kind: Kind, id: &str) -> Key {
    Key::new(kind, id).expect("an id of its kind")
}

fn deployment_key(id: &str) -> Key {
    key(Kind::Deployment, id)
}

fn put(key: Key, facts: Facts) -> Put {
    Put {
        key,
        inherited: Metadata::default(),
        given: Metadata::default(),
        metadata: Metadata::default(),
        facts,
        deleting: false,
        beside_modification: false,
        conditions: Vec::new(),
        body: None,
    }
}

fn template(id: &str) -> Put {
    put(key(Kind::Template, id), Facts::Template)
}

fn deployment(id: &str, change: impl FnOnce(&mut Deployment)) -> Put {
    let asked = deployment_resource::asked(None, None, false, false);
    let package = Package::new(vec![Arc::new(asked)]).expect("one resource");
    let mut facts = Deployment {
        parent: None,
        template: None,
        origin: None,
        site: None,
        prepared: false,
        approved: false,
        placed: None,
        idempotency_key: None,
        resource: deployment_resource::split(&package)
            .expect("it has the Deployment resource")
            .resource,
    };
    change(&mut facts);
    put(deployment_key(id), Facts::Deployment(Box::new(facts)))
}

fn keyed(id: &str, idempotency_key: &str) -> Put {
    deployment(id, |d| d.idempotency_key = Some(idempotency_key.into()))
}

fn package(name: &str) -> Package {
    let value = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name}});
    Package::from_values([value]).expect("a package")
}

fn condition(kind: &str, message: &str) -> Condition {
    Condition::new(kind, true, "Reason", message, Generation(1))
}

fn set(puts: impl IntoIterator<Item = Put>) -> ChangeSet {
    ChangeSet {
        changes: puts.into_iter().map(Change::Put).collect(),
        ..ChangeSet::default()
    }
}

fn token(key: Key, secret: &str) -> Token {
    Token {
        key,
        secret: secret.into(),
    }
}

fn ids(keys: &[(Key, DeploymentId)]) -> Vec<(&str, &str)> {
    keys.iter()
        .map(|(key, holder)| (key.id(), holder.as_str()))
        .collect()
}

#[test]
fn check_refuses_too_many_changes_a_key_twice_and_large_progress() {
    let many = set((0..=MAX_CHANGES).map(|n| template(&n.to_string())));
    let twice = set([template("a"), template("a")]);
    let large = ChangeSet {
        progress: Some(Value::String("x".repeat(MAX_PROGRESS))),
        ..ChangeSet::default()
    };
    for (set, expected) in [
        (many, "it has 1001 changes"),
        (twice, "it changes template a twice"),
        (large, "as JSON"),
    ] {
        let error = check(&set).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
    let most = ChangeSet {
        progress: Some(Value::String("x".repeat(MAX_PROGRESS - 2))),
        ..set((0..MAX_CHANGES).map(|n| template(&n.to_string())))
    };
    check(&most).expect("both limits are inclusive");
}

#[test]
fn a_new_row_starts_at_generation_one_with_an_empty_body() {
    let staged = World::default().stage(vec![Change::Put(template("a"))]);
    let [step] = &staged.steps[..] else {
        panic!("{staged:?}");
    };
    let after = step.after.as_ref().expect("a new row");
    assert_eq!(after.generation, Generation(1));
    assert_eq!((after.created, after.updated), (NOW, NOW));
    assert_eq!((step.version, after.version), (Version(1), Version(1)));
    assert_eq!(step.body, Some(Package::default()));
    assert_eq!(after.body, Package::default().hash());
    assert!(step.before.is_none() && step.replaces_row && step.is_exclusive);
}

#[test]
fn a_body_is_written_only_if_it_differs() {
    let body = |name: &str| Put {
        body: Some(package(name)),
        ..template("a")
    };
    let world = World::of([body("one")]);
    let equal = world.stage(vec![Change::Put(body("one"))]);
    assert!(equal.steps.is_empty(), "{equal:?}");
    assert_eq!(equal.unchanged, [(0, key(Kind::Template, "a"))]);
    let other = world.stage(vec![Change::Put(body("two"))]);
    assert_eq!(other.steps[0].body, Some(package("two")));
    let given = Put {
        given: Metadata::from_iter([("key", "value")]),
        ..template("a")
    };
    let row_only = world.stage(vec![Change::Put(given)]);
    assert_eq!(row_only.steps[0].body, None);
    let after = row_only.steps[0].after.as_ref().expect("the row stays");
    assert_eq!(after.body, package("one").hash());
    assert_eq!(after.generation, Generation(1), "the package is the same");
}

#[test]
fn changes_without_effect_need_no_version() {
    let world = World::of([template("a"), template("b")]);
    let same = Put {
        conditions: Vec::new(),
        ..template("a")
    };
    let changes = vec![
        Change::Put(same),
        Change::Delete(key(Kind::Template, "absent")),
        Change::Conditions(key(Kind::Template, "absent"), vec![condition("K", "m")]),
        Change::Conditions(key(Kind::Template, "a"), Vec::new()),
        Change::Delete(key(Kind::Template, "b")),
    ];
    let mut asked = Vec::new();
    let staged = Staged::new(&world, changes, |index| {
        asked.push(index);
        Version(index as u64)
    });
    assert_eq!(asked, [4]);
    assert_eq!(staged.steps.len(), 1);
    assert_eq!(staged.steps[0].key().id(), "b");
    assert_eq!(staged.steps[0].index, 4);
    assert!(staged.changes(&key(Kind::Template, "b")));
    assert!(!staged.changes(&key(Kind::Template, "a")));
    assert!(staged.committed().versions.is_empty(), "nothing is left");
}

#[test]
fn conditions_are_merged_and_keep_the_package() {
    let world = World::of([Put {
        conditions: vec![condition("A", "old"), condition("B", "stays")],
        ..template("a")
    }]);
    let at = key(Kind::Template, "a");
    let merge = vec![condition("A", "new")];
    let staged = world.stage(vec![Change::Conditions(at.clone(), merge)]);
    let step = &staged.steps[0];
    let after = step.after.as_ref().expect("the row stays");
    let messages: Vec<&str> = after.conditions.iter().map(|c| &*c.message).collect();
    assert_eq!(messages, ["new", "stays"]);
    assert_eq!((after.version, after.updated), (Version(2), NOW));
    assert!(!step.replaces_row && !step.is_exclusive && step.body.is_none());
    let same = world.stage(vec![Change::Conditions(at, vec![condition("A", "old")])]);
    assert!(same.steps.is_empty());
}

#[test]
fn a_creation_under_a_taken_idempotency_key_is_left_out_and_names_the_holder() {
    let mut world = World::of([keyed("a", "x")]);
    let staged = world
        .commit(set([keyed("b", "x"), keyed("c", "y"), keyed("d", "y")]))
        .expect("a retried creation is no error");
    assert_eq!(ids(&staged.existing), [("b", "a"), ("d", "c")]);
    assert_eq!(staged.committed().versions.len(), 1);
    assert!(!world.rows.contains_key(&deployment_key("b")));
}

#[test]
fn taking_an_idempotency_key_of_another_is_a_conflict() {
    let world = World::of([keyed("a", "x"), keyed("b", "y")]);
    let refused = world.try_stage(set([keyed("b", "x")])).map(drop);
    assert!(
        matches!(&refused, Err(Error::Conflict(keys)) if *keys == [deployment_key("b")]),
        "{refused:?}"
    );
}

#[test]
fn an_idempotency_key_is_passed_on_in_the_order_of_changes() {
    let world = World::of([keyed("a", "x"), keyed("b", "y")]);
    let staged = world.stage(vec![
        Change::Delete(deployment_key("a")),
        Change::Put(keyed("b", "x")),
        Change::Put(keyed("c", "y")),
        Change::Put(keyed("d", "x")),
    ]);
    assert_eq!(ids(&staged.existing), [("d", "b")]);
    let holder = |idempotency_key: &str| staged.holders[idempotency_key].as_ref();
    assert_eq!(holder("x").map(DeploymentId::as_str), Some("b"));
    assert_eq!(holder("y").map(DeploymentId::as_str), Some("c"));
    let freed = world.stage(vec![Change::Delete(deployment_key("a"))]);
    assert_eq!(freed.holders["x"], None);
}

#[test]
fn a_deployment_that_is_being_deleted_keeps_its_idempotency_key() {
    let mut world = World::of([keyed("a", "x")]);
    let deleting = Put {
        deleting: true,
        ..keyed("a", "x")
    };
    world.commit(set([deleting])).expect("it may be deleted");
    let staged = world.stage(vec![Change::Put(keyed("b", "x"))]);
    assert_eq!(ids(&staged.existing), [("b", "a")]);
}

#[test]
fn each_precondition_holds_or_fails_by_the_row_that_was_read() {
    let deleting = Put {
        deleting: true,
        ..template("deleting")
    };
    let world = World::of([template("here"), deleting]);
    let at = |id: &str| key(Kind::Template, id);
    let (here, version) = (at("here"), world.version(&at("here")));
    let (going, its_version) = (at("deleting"), world.version(&at("deleting")));
    let other = Version(999);
    for held in [
        Require::Absent(at("absent")),
        Require::Exists(here.clone()),
        Require::At(here.clone(), version),
        Require::At(going.clone(), its_version),
        Require::Current(here.clone(), version),
        Require::Generation(here.clone(), Generation(1)),
        Require::Unreferenced(here.clone()),
        Require::Unreferenced(at("absent")),
    ] {
        let text = format!("{held:?}");
        world.require([held]).expect(&text);
    }
    for missing in [
        Require::Exists(at("absent")),
        Require::Exists(going.clone()),
        Require::At(at("absent"), version),
        Require::Current(going.clone(), its_version),
        Require::Generation(going.clone(), Generation(1)),
    ] {
        let key = missing.key().clone();
        let found = world.require([missing]);
        assert!(
            matches!(&found, Err(Error::NotFound(Subject::Entity(k))) if *k == key),
            "{found:?}"
        );
    }
    for moved in [
        Require::At(here.clone(), other),
        Require::At(going.clone(), other),
        Require::Current(here.clone(), other),
        Require::Generation(here.clone(), Generation(2)),
    ] {
        let key = moved.key().clone();
        let found = world.require([moved]);
        assert!(
            matches!(&found, Err(Error::Conflict(keys)) if *keys == [key]),
            "{found:?}"
        );
    }
    for present in [Require::Absent(here), Require::Absent(going)] {
        let key = present.key().clone();
        let found = world.require([present]);
        assert!(
            matches!(&found, Err(Error::AlreadyExists(k)) if *k == key),
            "{found:?}"
        );
    }
}

#[test]
fn failures_of_different_kinds_are_one_conflict_that_names_each_key_once() {
    let world = World::of([template("a"), template("b")]);
    let at = |id: &str| key(Kind::Template, id);
    let found = world.require([
        Require::Absent(at("a")),
        Require::Exists(at("absent")),
        Require::At(at("b"), Version(999)),
        Require::Generation(at("b"), Generation(9)),
    ]);
    let Err(Error::Conflict(keys)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(keys, [at("b"), at("absent"), at("a")]);
}

#[test]
fn references_are_judged_as_they_are_after_the_changes() {
    let of = |id: &str, parent: Option<&str>| {
        deployment(id, |d| {
            d.parent = parent.map(|id| DeploymentId::new(id).expect("an id"));
        })
    };
    let world = World::of([of("p", None), of("child", Some("p"))]);
    let unreferenced = |changes: Vec<Change>| {
        world
            .try_stage(ChangeSet {
                require: vec![Require::Unreferenced(deployment_key("p"))],
                changes,
                ..ChangeSet::default()
            })
            .map(drop)
    };
    let refused = |result| matches!(result, Err(Error::Conflict(_)));
    assert!(refused(unreferenced(Vec::new())), "child refers to it");
    unreferenced(vec![Change::Delete(deployment_key("child"))]).expect("child is deleted");
    unreferenced(vec![Change::Put(of("child", None))]).expect("child has let go");
    let new = Change::Put(of("new", Some("p")));
    let child = Change::Delete(deployment_key("child"));
    assert!(refused(unreferenced(vec![child, new])), "new refers to it");
    let without_effect = Change::Put(of("child", Some("p")));
    assert!(refused(unreferenced(vec![without_effect])), "it still does");
}

#[test]
fn a_modification_of_someone_else_excludes_puts_and_deletes_but_not_conditions() {
    let mut world = World::of([template("a"), template("b")]);
    let (a, b) = (key(Kind::Template, "a"), key(Kind::Template, "b"));
    let own = token(b.clone(), "own");
    world.modified.insert(b.clone(), own.clone());
    world
        .tokens
        .insert(own.clone(), TokenState::Live(Right::Modification));
    let changed = Put {
        deleting: true,
        ..template("b")
    };
    let without_effect = Change::Put(template("b"));
    for change in [
        Change::Put(changed.clone()),
        without_effect,
        Change::Delete(b.clone()),
    ] {
        let text = format!("{change:?}");
        let changes = vec![Change::Delete(a.clone()), change];
        let found = world.try_stage(ChangeSet {
            changes,
            ..ChangeSet::default()
        });
        assert!(
            matches!(&found, Err(Error::Busy(key)) if *key == b),
            "{text}"
        );
    }
    let conditions = Change::Conditions(b.clone(), vec![condition("K", "m")]);
    let free = ChangeSet {
        changes: vec![conditions],
        ..ChangeSet::default()
    };
    world.try_stage(free).expect("conditions are not excluded");
    let under = ChangeSet {
        under: Some(own),
        ..set([changed])
    };
    let (_, right) = world.try_stage(under).expect("it is the own modification");
    assert_eq!(right, Some(Right::Modification));
}

#[test]
fn a_put_beside_a_modification_is_not_excluded_and_replaces_the_row() {
    let mut world = World::of([template("a")]);
    let at = key(Kind::Template, "a");
    world
        .modified
        .insert(at.clone(), token(at.clone(), "other"));
    let placed = Put {
        metadata: Metadata::from_iter([("key", "value")]),
        ..template("a")
    };
    let busy = world.try_stage(set([placed.clone()]));
    assert!(matches!(&busy, Err(Error::Busy(key)) if *key == at));
    let placed = placed.beside_modification(true);
    let (staged, _) = world.try_stage(set([placed])).expect("it is not excluded");
    let step = &staged.steps[0];
    assert!(step.replaces_row && !step.is_exclusive);
    let without_effect = template("a").beside_modification(true);
    let (staged, _) = world
        .try_stage(set([without_effect]))
        .expect("it is not excluded");
    assert!(staged.steps.is_empty() && staged.unchanged.is_empty());
}

#[test]
fn busy_names_the_first_key_in_the_order_of_changes() {
    let mut world = World::of([template("a"), template("b")]);
    for id in ["a", "b"] {
        let at = key(Kind::Template, id);
        world.modified.insert(at.clone(), token(at, "other"));
    }
    let delete = Change::Delete(key(Kind::Template, "b"));
    let same = Change::Put(template("a"));
    for (changes, first) in [
        (vec![delete.clone(), same.clone()], "b"),
        (vec![same, delete], "a"),
    ] {
        let found = world.try_stage(ChangeSet {
            changes,
            ..ChangeSet::default()
        });
        assert!(
            matches!(&found, Err(Error::Busy(key)) if key.id() == first),
            "{first}"
        );
    }
}

#[test]
fn a_dead_token_wins_over_preconditions_and_preconditions_over_busy() {
    let mut world = World::of([template("a")]);
    let a = key(Kind::Template, "a");
    world.modified.insert(a.clone(), token(a.clone(), "other"));
    let (expired, unknown) = (token(a.clone(), "expired"), token(a.clone(), "unknown"));
    world.tokens.insert(expired.clone(), TokenState::Expired);
    let changes = |under: Option<&Token>, require: &[Require]| ChangeSet {
        under: under.cloned(),
        require: require.to_vec(),
        changes: vec![Change::Delete(a.clone())],
        ..ChangeSet::default()
    };
    let failing = [Require::Absent(a.clone())];
    let kind = |set| world.try_stage(set).map(drop).expect_err("refused");
    assert!(matches!(
        kind(changes(Some(&expired), &failing)),
        Error::ClaimExpired(_)
    ));
    assert!(matches!(
        kind(changes(Some(&unknown), &failing)),
        Error::NotFound(Subject::Claim(_))
    ));
    assert!(matches!(
        kind(changes(None, &failing)),
        Error::AlreadyExists(_)
    ));
    assert!(matches!(kind(changes(None, &[])), Error::Busy(_)));
}

#[test]
fn a_modification_always_ends_and_a_lease_as_the_change_set_says() {
    let retry = || Outcome::Yield {
        after: std::time::Duration::ZERO,
    };
    assert_eq!(
        Right::Modification.outcome(Some(retry())),
        Some(Outcome::Done)
    );
    assert_eq!(Right::Modification.outcome(None), Some(Outcome::Done));
    let lease = Right::Lease(Stage::Prepare);
    assert_eq!(lease.outcome(Some(retry())), Some(retry()));
    assert_eq!(lease.outcome(None), None);
}

#[test]
fn an_empty_snapshot_stages_creations_like_an_empty_store() {
    let changes = || vec![Change::Put(keyed("a", "x")), Change::Put(keyed("b", "x"))];
    let empty = EmptySnapshot::<Arc<Entity>>::at(NOW);
    let unread = Staged::new(&empty, changes(), |index| Version(1 + index as u64));
    let read = World::default().stage(changes());
    assert_eq!(ids(&unread.existing), ids(&read.existing));
    assert_eq!(unread.committed().versions, read.committed().versions);
    assert_eq!(unread.steps[0].after.as_ref().map(|e| e.created), Some(NOW));
}
