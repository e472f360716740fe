//! References to resources that a topology merges into other packages.

use super::field;
use super::lookup::{MAX_SEARCHES, PackageLookup};
use super::resources::GROUP;
use super::when::MergeConditions;
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};
use tko_core::{
    DeploymentId, Error, Identifier, Key, Package, PrepareCall, Result, Subscription, merge,
};

/// Resolves the references of one topology resource, in linear time.
pub(super) struct MergeReferences<'a> {
    call: &'a PrepareCall<'a>,
    conditions: &'a MergeConditions,
    /// The resources of the package.
    pub(super) lookup: PackageLookup<'a>,
    /// The resources of the package that are not prepared yet, once many were looked up.
    unprepared: Option<HashSet<&'a Identifier>>,
    /// Number of searches among the resources that are not prepared yet.
    searches: usize,
    /// Whether conditions must wait for one of them, once that is known.
    is_early: Option<bool>,
    /// Whether a condition was left out because of that.
    waits_with_conditions: bool,
    /// Those that must be prepared here before they are merged.
    pending: BTreeSet<&'a Identifier>,
}

impl<'a> MergeReferences<'a> {
    pub(super) fn new(call: &'a PrepareCall<'a>, conditions: &'a MergeConditions) -> Self {
        Self {
            call,
            conditions,
            lookup: PackageLookup::new(call.package),
            unprepared: None,
            searches: 0,
            is_early: None,
            waits_with_conditions: false,
            pending: BTreeSet::new(),
        }
    }

    /// Whether a resource of the package is not prepared yet.
    pub(super) fn is_unprepared(&mut self, identifier: &Identifier) -> bool {
        self.unprepared(identifier).is_some()
    }

    /// The resource, if it is not prepared yet.
    fn unprepared(&mut self, identifier: &Identifier) -> Option<&'a Identifier> {
        let pending = self.call.pending;
        if self.searches < MAX_SEARCHES {
            self.searches += 1;
            let mut pending = pending.iter();
            return pending.find(|other| other.name == identifier.name && *other == identifier);
        }
        let all = self
            .unprepared
            .get_or_insert_with(|| pending.iter().collect());
        all.get(identifier).copied()
    }

    /// Whether conditions must wait.
    fn is_early(&mut self) -> bool {
        let call = self.call;
        let is_early = || call.pending.iter().any(|other| is_awaited(call, other));
        *self.is_early.get_or_insert_with(is_early)
    }

    /// The copies for other packages of the resources in a list of references, in its order.
    /// Duplicates are merged once, and references whose condition `when` does not hold are left out.
    ///
    /// They are complete unless resources are [awaited](Self::awaited).
    pub(super) fn copies(&mut self, references: Option<&Value>, path: &str) -> Result<Package> {
        let mut copies = Vec::new();
        let mut copied = HashSet::new();
        for (index, reference) in field::list(references, path)?.iter().enumerate() {
            let at = |message: String| Error::bad(format!("{path}[{index}]"), message);
            let condition = reference.get("when").filter(|when| !when.is_null());
            if let Some(condition) = field::text(condition, &format!("{path}[{index}].when"))? {
                // A condition is evaluated once the resources that it depends on are prepared.
                if self.is_early() {
                    self.waits_with_conditions = true;
                    continue;
                }
                let holds = self.conditions.holds(condition, self.call.package);
                if !holds.map_err(|reason| at(format!("when: {reason}")))? {
                    continue;
                }
            }
            let reference = Identifier::from_reference("reference", reference)
                .map_err(|error| at(message(error)))?;
            let resource = self
                .lookup
                .resolve(&reference)
                .map_err(|error| at(message(error)))?
                .ok_or_else(|| {
                    at(format!(
                        "{reference} ({}) is not in the package",
                        reference.gvk.api_version()
                    ))
                })?;
            let identifier = resource.identifier();
            if identifier == self.call.target {
                return Err(at(format!("{reference} cannot refer to itself")));
            }
            if let Some(unprepared) = self.unprepared(identifier) {
                self.pending.insert(unprepared);
            }
            if copied.insert(identifier.clone()) {
                copies.push(merge::elsewhere(&resource));
            }
        }
        Package::new(copies)
    }

    /// The resources that must be prepared here first, for people: `Cluster a, Cluster b`. `None`
    /// if there are none.
    pub(super) fn awaited(&self) -> Option<String> {
        let mut awaited = self.pending.clone();
        if self.waits_with_conditions {
            let pending = self.call.pending.iter();
            awaited.extend(pending.filter(|other| is_awaited(self.call, other)));
        }
        let names: Vec<String> = awaited.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Whether a condition waits until a resource is prepared. Topologies wait for each other's
/// resources, and charts for those of all other kinds.
fn is_awaited(call: &PrepareCall<'_>, other: &Identifier) -> bool {
    *other != *call.target && &*other.gvk.group != GROUP && &*other.gvk.kind != "HelmChart"
}

/// The id of the deployment that is prepared.
pub(super) fn deployment_id(call: &PrepareCall<'_>) -> Result<DeploymentId> {
    call.deployment
        .entity
        .key
        .deployment()
        .cloned()
        .ok_or_else(|| Error::bad("target", "topologies can only be prepared in deployments"))
}

/// A subscription to changes of the package, which changes with each resource that is prepared.
pub(super) fn own_changes(call: &PrepareCall<'_>) -> Result<Subscription> {
    deployment_id(call).map(|id| Subscription::Entity(Key::Deployment(id)))
}

fn message(error: Error) -> String {
    match error {
        Error::BadArgument { message, .. } => message,
        other => other.chain(),
    }
}
