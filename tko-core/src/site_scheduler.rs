//! The schedulers of which a site may still have something.
//!
//! A scheduling controller records a scheduler and the resource that triggers it *before* it calls
//! the scheduler for a site. If the resource leaves the site's package later, or the scheduler
//! disappears, the controller still knows which scheduler must remove its deployments.
//!
//! The list is JSON in a [private](crate::metadata::PRIVATE) key of the site's given metadata. So no
//! index has it, no selection or listing shows it, and its changes schedule no site and wake no
//! watcher of edits. Clients cannot change it: the store ignores the key in requests.
//!
//! When a new package of a site lacks a recorded trigger, the store keeps the resource in the list.
//! The scheduler needs it for its last call, for example to find the cluster.

use crate::builder::chainable;
use crate::entity::{Entity, Record};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::{Identifier, Resource};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The private key in [`Entity::given`] of a site that holds the list.
const RECORDED: &str = "nephio.org/_schedulers";

/// Maximum number of bytes of the kept resources of one site, as compact JSON.
const MAX_KEPT: usize = 1 << 20;

/// Whether this is the key of the list.
pub(crate) fn is_recorded(key: &str) -> bool {
    key == RECORDED
}

/// A scheduler that was called for a site, with the resource that triggered it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SiteScheduler {
    /// The name of the scheduler in the [`Registry`](crate::Registry): the id of a plugin, or the
    /// name of a native scheduler.
    pub name: String,
    /// The resource of the site's package that triggers it; `None` if it serves every site.
    pub target: Option<Identifier>,
    /// The target as it was when it left the site's package. `None` while the package has it, and
    /// if the kept resources of the site would exceed 1 MiB.
    pub resource: Option<Arc<Resource>>,
}

impl SiteScheduler {
    /// A scheduler that serves every site.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            target: None,
            resource: None,
        }
    }

    chainable! {
        /// Sets the resource that triggers it.
        target: into Option<Identifier>;
    }

    /// The schedulers that are recorded with a site, in the order of their names and targets.
    ///
    /// An entry that is not readable is left out.
    pub fn all_of(site: &Entity) -> Vec<Self> {
        let Some(text) = site.given.get(RECORDED) else {
            return Vec::new();
        };
        let Ok(Value::Array(entries)) = serde_json::from_str(text) else {
            tracing::warn!(key = %site.key, "ignoring a malformed list of schedulers");
            return Vec::new();
        };
        entries.into_iter().filter_map(Self::read).collect()
    }

    /// Whether both are the same scheduler with the same trigger.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    fn identity(&self) -> (&str, Option<&Identifier>) {
        (&self.name, self.target.as_ref())
    }

    fn read(mut entry: Value) -> Option<Self> {
        let name = entry.get("scheduler")?.as_str()?.to_owned();
        let target = match entry.get("target") {
            Some(target) => Some(Identifier::from_reference("scheduler", target).ok()?),
            None => None,
        };
        let resource = entry.get_mut("resource").map(Value::take);
        let resource = resource.and_then(|value| Resource::stored(value).ok());
        Some(Self {
            name,
            target,
            resource: resource.map(Arc::new),
        })
    }

    fn write(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("scheduler".to_owned(), self.name.as_str().into());
        if let Some(target) = &self.target {
            entry.insert("target".to_owned(), reference(target));
        }
        if let Some(resource) = &self.resource {
            entry.insert("resource".to_owned(), resource.value().clone());
        }
        Value::Object(entry)
    }

    /// Keeps the target if the new package of the site lacks it, as long as there is room.
    fn keep_target(&mut self, old: Option<&Package>, new: &Package, room: &mut usize) {
        let Some(target) = &self.target else {
            return;
        };
        let known = self.resource.take();
        if new.find(target).is_some() {
            return;
        }
        let kept = known.or_else(|| old?.find(target).cloned());
        if let Some(resource) = kept
            && let Some(left) = room.checked_sub(resource.size())
        {
            *room = left;
            self.resource = Some(resource);
        }
    }
}

/// Formats the scheduler as people see it in conditions: `NAME`, or `NAME (for KIND NAME)`.
impl fmt::Display for SiteScheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{} (for {target})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The object reference that [`Identifier::from_reference`] reads.
fn reference(target: &Identifier) -> Value {
    let mut map = Map::new();
    map.insert("apiVersion".to_owned(), target.gvk.api_version().into());
    map.insert("kind".to_owned(), Value::from(&*target.gvk.kind));
    map.insert("name".to_owned(), Value::from(&*target.name));
    if let Some(namespace) = &target.namespace {
        map.insert("namespace".to_owned(), Value::from(&**namespace));
    }
    Value::Object(map)
}

/// Sets the list in given metadata; an empty one removes the key.
fn set(given: &mut Metadata, all: &mut [SiteScheduler]) {
    if all.is_empty() {
        given.retain(|key, _| key != RECORDED);
        return;
    }
    all.sort_by(|one, other| one.identity().cmp(&other.identity()));
    let entries: Vec<Value> = all.iter().map(SiteScheduler::write).collect();
    given.insert(RECORDED, Value::from(entries).to_string());
}

/// The given metadata of a site after some schedulers were recorded and others forgotten; `None` if
/// nothing changes.
pub(crate) fn updated(
    site: &Entity,
    recorded: &[SiteScheduler],
    forgotten: &[SiteScheduler],
) -> Option<Metadata> {
    let mut all = SiteScheduler::all_of(site);
    all.retain(|known| !forgotten.iter().any(|one| one.is_same(known)));
    for one in recorded {
        if !all.iter().any(|known| known.is_same(one)) {
            all.push(SiteScheduler::new(one.name.as_str()).target(one.target.clone()));
        }
    }
    let mut given = site.given.clone();
    set(&mut given, &mut all);
    (given != site.given).then_some(given)
}

/// The given metadata of a site that a client changes: those of the request, with the schedulers
/// that are recorded with the site. A request cannot record or forget a scheduler.
///
/// `package` is the new package of the site. `before` is the site as it was, with its package.
pub(crate) fn carried(
    before: Option<&Record>,
    package: &Package,
    mut requested: Metadata,
) -> Metadata {
    let mut all = before.map_or_else(Vec::new, |record| SiteScheduler::all_of(&record.entity));
    if all.is_empty() && !requested.contains_key(RECORDED) {
        return requested;
    }
    let old = before.and_then(|record| record.package.as_ref());
    let mut room = MAX_KEPT;
    for scheduler in &mut all {
        scheduler.keep_target(old, package, &mut room);
    }
    set(&mut requested, &mut all);
    requested
}

#[cfg(test)]
mod tests {
    use super::{MAX_KEPT, RECORDED, SiteScheduler, carried, updated};
    use crate::entity::{Entity, Facts, Record};
    use crate::id::SiteId;
    use crate::metadata::Metadata;
    use crate::package::Package;
    use crate::resource::{Gvk, Identifier};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn rack(name: &str, text: &str) -> Value {
        json!({
            "apiVersion": "infra.example/v1", "kind": "Rack",
            "metadata": {"name": name, "namespace": "hall"}, "spec": {"text": text, "n": 1.0},
        })
    }

    fn identifier(name: &str) -> Identifier {
        Identifier::new(Gvk::new("infra.example", "v1", "Rack"), name)
            .namespace(Arc::<str>::from("hall"))
    }

    fn package(resources: Vec<Value>) -> Package {
        Package::from_values(resources).expect("distinct")
    }

    fn site(given: Metadata, resources: Vec<Value>) -> Record {
        let id = SiteId::new("a").expect("an id");
        let entity = Entity::new(&id, Facts::site(None, None)).given(given);
        Record::new(entity).package(package(resources))
    }

    fn one(name: &str) -> SiteScheduler {
        SiteScheduler::new("schedule|rack").target(identifier(name))
    }

    fn shown(given: &Metadata) -> Vec<String> {
        let site = site(given.clone(), Vec::new());
        let all = SiteScheduler::all_of(&site.entity);
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_was_recorded_is_read_until_it_is_forgotten() {
        let empty = site(Metadata::default(), Vec::new());
        let all = [one("b"), SiteScheduler::new("manifests"), one("a")];
        let given = updated(&empty.entity, &all, &[]).expect("it is new");
        let expected = [
            "manifests",
            "schedule|rack (for Rack hall/a)",
            "schedule|rack (for Rack hall/b)",
        ];
        assert_eq!(shown(&given), expected);
        let known = site(given, Vec::new());
        assert!(updated(&known.entity, &all, &[]).is_none(), "the same");
        let fewer = updated(&known.entity, &[], &all[..2]).expect("fewer");
        assert_eq!(shown(&fewer), expected[1..2]);
        let none = updated(&known.entity, &[], &all).expect("none");
        assert!(none.is_empty(), "an empty list needs no key");
    }

    #[test]
    fn a_target_that_leaves_the_package_is_kept_until_it_is_back() {
        let empty = site(Metadata::default(), Vec::new());
        let given = updated(&empty.entity, &[one("a")], &[]).expect("it is new");
        let before = site(given, vec![rack("a", "old"), rack("b", "other")]);
        // The client neither knows nor keeps the list.
        let asked = Metadata::from_iter([("k", "v")]);
        let given = carried(Some(&before), &package(vec![rack("b", "other")]), asked);
        assert_eq!(given.get("k"), Some("v"));
        let left = site(given, vec![rack("b", "other")]);
        let all = SiteScheduler::all_of(&left.entity);
        assert_eq!(all.len(), 1);
        let resource = all[0].resource.as_ref().expect("it is kept");
        assert_eq!(*resource.value(), rack("a", "old"));
        // It stays, whatever the next package is.
        let given = carried(Some(&left), &Package::default(), left.entity.given.clone());
        assert_eq!(given, left.entity.given);
        let given = carried(Some(&left), &package(vec![rack("a", "new")]), given);
        let back = site(given, Vec::new());
        assert!(SiteScheduler::all_of(&back.entity)[0].resource.is_none());
    }

    #[test]
    fn a_target_that_is_too_large_is_not_kept() {
        let empty = site(Metadata::default(), Vec::new());
        let given = updated(&empty.entity, &[one("a"), one("b")], &[]).expect("it is new");
        let large = rack("a", &"x".repeat(MAX_KEPT));
        let before = site(given, vec![large, rack("b", "small")]);
        let given = carried(Some(&before), &Package::default(), Metadata::default());
        let left = site(given, Vec::new());
        let kept = SiteScheduler::all_of(&left.entity);
        let kept: Vec<bool> = kept.iter().map(|one| one.resource.is_some()).collect();
        assert_eq!(kept, [false, true]);
    }

    #[test]
    fn clients_cannot_record_schedulers() {
        let empty = site(Metadata::default(), Vec::new());
        let forged = updated(&empty.entity, &[one("a")], &[]).expect("it is new");
        let given = carried(None, &Package::default(), forged.clone());
        assert!(given.is_empty());
        let given = carried(Some(&empty), &Package::default(), forged);
        assert!(given.is_empty());
        let damaged = Metadata::from_iter([(RECORDED, "{")]);
        assert!(shown(&damaged).is_empty());
    }
}
