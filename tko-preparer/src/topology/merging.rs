//! Resources that a topology merges elsewhere, picked by reference.

use super::field;
use serde_json::Value;
use std::sync::Arc;
use tko_core::{
    DeploymentId, Error, Identifier, Key, Package, PrepareCall, Resource, Result, Subscription,
    merge,
};

/// What a list of references comes to.
pub(super) struct Merging {
    /// Copies for elsewhere, in order of the references.
    pub(super) package: Package,
    /// Those that must be prepared here first.
    pub(super) pending: Vec<Identifier>,
}

/// Looks up references, each once.
pub(super) fn referred(
    call: &PrepareCall<'_>,
    references: Option<&Value>,
    path: &str,
) -> Result<Merging> {
    let mut copies: Vec<Arc<Resource>> = Vec::new();
    let mut pending = Vec::new();
    for (index, reference) in field::list(references, path)?.iter().enumerate() {
        let at = |message: String| Error::bad(format!("{path}[{index}]"), message);
        let reference = Identifier::from_reference("reference", reference)
            .map_err(|error| at(message(error)))?;
        let resource = call
            .package
            .resolve(&reference)
            .map_err(|error| at(message(error)))?
            .ok_or_else(|| {
                at(format!(
                    "{reference} ({}) is not in this package",
                    reference.gvk.api_version()
                ))
            })?;
        let identifier = resource.identifier();
        if identifier == call.target {
            return Err(at(format!("{reference} cannot be merged by itself")));
        }
        if call.pending.contains(identifier) && !pending.contains(identifier) {
            pending.push(identifier.clone());
        }
        if !copies.iter().any(|copy| copy.identifier() == identifier) {
            copies.push(merge::elsewhere(resource));
        }
    }
    Ok(Merging {
        package: Package::new(copies)?,
        pending,
    })
}

/// Whose package it is.
pub(super) fn own(call: &PrepareCall<'_>) -> Result<DeploymentId> {
    call.deployment
        .entity
        .key
        .deployment()
        .cloned()
        .ok_or_else(|| Error::bad("target", "topologies are prepared in deployments only"))
}

/// A wait that ends when this package changes, as it does with each resource that is prepared.
pub(super) fn this_package(call: &PrepareCall<'_>) -> Result<Subscription> {
    own(call).map(|id| Subscription::Entity(Key::Deployment(id)))
}

/// For people: `Cluster a, Cluster b`.
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
