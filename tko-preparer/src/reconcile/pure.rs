//! Calls of pure preparers, which are answered with the result of an earlier equal call.

use super::session::PrepareSession;
use crate::shared_results::SharedResults;
use serde_json::json;
use std::sync::Arc;
use tko_core::{
    Answer, ContentHash, Error, Identifier, Package, PrepareCall, Preparer, Resource, Result,
    deployment_resource,
};

impl PrepareSession<'_> {
    /// Calls a preparer, unless it is pure and an equal call was answered before. Equal calls share
    /// an error.
    pub(super) async fn prepared(
        &self,
        preparer: &dyn Preparer,
        call: PrepareCall<'_>,
    ) -> Result<Answer, Arc<Error>> {
        let results = &self.context.results;
        let identity = if results.is_off() {
            None
        } else {
            preparer.pure_identity(&call).await
        };
        let Some(identity) = identity else {
            return preparer.prepare(call).await.map_err(Arc::new);
        };
        let (package, deployment) = Withheld::take(call.package);
        // Shared results may be those of another version of this program.
        let version = ContentHash::of(&json!(env!("CARGO_PKG_VERSION")));
        let key = [version, identity, hash_of(call.target), package.hash()];
        let call = call.package(&package).progress(None);
        let done = |package| Answer::Done {
            package,
            effects: Vec::new(),
        };
        let keep = |answer: &Answer| match answer {
            Answer::Done { package, effects } if effects.is_empty() => Some(package.clone()),
            _ => None,
        };
        let run = async { preparer.prepare(call).await.map_err(Arc::new) };
        let limits = self.context.settings.shared_results;
        let shared = limits.map(|limits| SharedResults {
            data: &*self.context.data,
            limits,
        });
        let answer = results
            .get_or_run(ContentHash::of_all(key), shared, done, keep, run)
            .await?;
        Ok(match answer {
            Answer::Done { package, effects } => Answer::Done {
                package: deployment.put_back(&package)?,
                effects,
            },
            answer => answer,
        })
    }
}

fn hash_of(target: &Identifier) -> ContentHash {
    let gvk = target.gvk.to_string();
    ContentHash::of(&json!([gvk, &*target.name, target.namespace.as_deref()]))
}

/// The Deployment resource, while a preparer works on the rest.
struct Withheld {
    /// The place, from 0, and the resource.
    found: Option<(usize, Arc<Resource>)>,
    /// Whether it was the last one.
    was_last: bool,
}

impl Withheld {
    fn take(package: &Package) -> (Package, Self) {
        let own = deployment_resource::identifier();
        let found = package
            .iter()
            .position(|resource| *resource.identifier() == own);
        let withheld = Self {
            found: found.map(|at| (at, package.resources()[at].clone())),
            was_last: found.is_some_and(|at| at + 1 == package.len()),
        };
        (package.without(&own), withheld)
    }

    fn put_back(self, package: &Package) -> Result<Package> {
        let Some((at, resource)) = self.found else {
            return Ok(package.clone());
        };
        let mut resources = package.resources().to_vec();
        let end = resources.len();
        resources.insert(if self.was_last { end } else { at.min(end) }, resource);
        Package::new(resources)
    }
}
