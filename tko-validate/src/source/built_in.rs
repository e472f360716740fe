//! Kubernetes kinds from the schemas built into the program.

use super::SchemaSource;
use crate::definitions::Definitions;
use crate::schema::Schema;
use crate::version::KubernetesVersion;
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tko_core::{Gvk, Result};

/// The kinds of one Kubernetes version. Needs no network and no file.
///
/// Definitions are unpacked on the first lookup and compiled on first use.
pub struct BuiltIn {
    version: KubernetesVersion,
    kinds: OnceLock<HashMap<Gvk, Arc<Schema>>>,
}

impl BuiltIn {
    /// Uses the newest built-in version that is not newer than `version`.
    ///
    /// # Errors
    /// [`Error::BadArgument`](tko_core::Error::BadArgument): `version` is older than every built-in
    /// version.
    pub fn new(version: KubernetesVersion) -> Result<Self> {
        Ok(Self {
            version: version.nearest_built_in()?,
            kinds: OnceLock::new(),
        })
    }

    /// Returns the version in use.
    pub fn version(&self) -> KubernetesVersion {
        self.version
    }

    /// Finds the schema of one of Kubernetes' own kinds.
    pub(crate) fn get(&self, gvk: &Gvk) -> Option<Arc<Schema>> {
        self.by_gvk().get(gvk).cloned()
    }

    /// Iterates over the kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Gvk> {
        self.by_gvk().keys()
    }

    fn by_gvk(&self) -> &HashMap<Gvk, Arc<Schema>> {
        self.kinds.get_or_init(|| {
            let definitions = Definitions::built_in(self.version)
                .expect("the version was chosen of those that are built in");
            let origin = format!("Kubernetes {}", self.version.label());
            definitions
                .kinds()
                .map(|(gvk, name)| {
                    let schema =
                        Schema::definition(origin.clone(), gvk.clone(), &definitions, name);
                    (gvk, Arc::new(schema))
                })
                .collect()
        })
    }
}

#[async_trait]
impl SchemaSource for BuiltIn {
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>> {
        Ok(self.get(gvk))
    }
}

#[cfg(test)]
mod tests {
    use super::BuiltIn;
    use crate::version::KubernetesVersion;
    use tko_core::Gvk;

    #[test]
    fn versions_differ_in_their_kinds() {
        let kinds =
            |version: &str| BuiltIn::new(version.parse().expect("a version")).expect("built in");
        let beta = Gvk::of("autoscaling/v2beta2", "HorizontalPodAutoscaler");
        assert!(kinds("1.25").get(&beta).is_some());
        assert!(kinds("1.26").get(&beta).is_none());
        assert!(BuiltIn::new("1.2".parse().expect("a version")).is_err());
    }

    #[test]
    fn every_kind_of_the_newest_version_compiles() {
        let kinds = BuiltIn::new(KubernetesVersion::default()).expect("built in");
        assert!(kinds.get(&Gvk::of("v1", "Pod")).is_some());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        for (gvk, schema) in kinds.kinds.get().expect("was asked for") {
            let fault = runtime.block_on(schema.fault()).expect("compiled");
            assert_eq!(fault, None, "{gvk}");
        }
    }
}
