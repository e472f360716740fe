//! References to resources that a topology merges into other packages.

use super::field;
use super::resources::GROUP;
use super::when::MergeConditions;
use serde_json::Value;
use std::sync::Arc;
use tko_core::{
    DeploymentId, Error, Identifier, Key, Package, PrepareCall, Resource, Result, Subscription,
    merge,
};

/// The resources of a list of references.
pub(super) struct ReferredResources {
    /// Copies for other packages, in the order of the references.
    pub(super) package: Package,
    /// Resources that must be prepared here first.
    pub(super) pending: Vec<Identifier>,
}

/// Resolves references within the package. Duplicates are merged once, and references whose
/// condition `when` does not hold are left out.
pub(super) fn referred(
    call: &PrepareCall<'_>,
    references: Option<&Value>,
    path: &str,
    conditions: &MergeConditions,
) -> Result<ReferredResources> {
    let mut copies: Vec<Arc<Resource>> = Vec::new();
    let mut pending = Vec::new();
    for (index, reference) in field::list(references, path)?.iter().enumerate() {
        let at = |message: String| Error::bad(format!("{path}[{index}]"), message);
        let condition = reference.get("when").filter(|when| !when.is_null());
        if let Some(condition) = field::text(condition, &format!("{path}[{index}].when"))? {
            // A condition is evaluated once the resources that it depends on are prepared.
            let unfinished = call.pending.iter().filter(|other| is_awaited(call, other));
            let unfinished: Vec<Identifier> = unfinished.cloned().collect();
            if !unfinished.is_empty() {
                pending.extend(unfinished);
                continue;
            }
            let holds = conditions.holds(condition, call.package);
            if !holds.map_err(|reason| at(format!("when: {reason}")))? {
                continue;
            }
        }
        let reference = Identifier::from_reference("reference", reference)
            .map_err(|error| at(message(error)))?;
        let resource = call
            .package
            .resolve(&reference)
            .map_err(|error| at(message(error)))?
            .ok_or_else(|| {
                at(format!(
                    "{reference} ({}) is not in the package",
                    reference.gvk.api_version()
                ))
            })?;
        let identifier = resource.identifier();
        if identifier == call.target {
            return Err(at(format!("{reference} cannot refer to itself")));
        }
        if call.pending.contains(identifier) && !pending.contains(identifier) {
            pending.push(identifier.clone());
        }
        if !copies.iter().any(|copy| copy.identifier() == identifier) {
            copies.push(merge::elsewhere(resource));
        }
    }
    pending.sort();
    pending.dedup();
    Ok(ReferredResources {
        package: Package::new(copies)?,
        pending,
    })
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

/// A list for people: `Cluster a, Cluster b`.
pub(super) fn names(identifiers: &[Identifier]) -> String {
    identifiers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn message(error: Error) -> String {
    match error {
        Error::BadArgument { message, .. } => message,
        other => other.chain(),
    }
}
