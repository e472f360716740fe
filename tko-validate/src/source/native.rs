//! Schemas of TKO's own kinds.

use crate::schema::Schema;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::Gvk;

const TOPOLOGY: &str = "topology.nephio.org/v1alpha1";
const KINDS: [(&str, &str, &str); 8] = [
    (
        TOPOLOGY,
        "Template",
        include_str!("../../schemas/tko/template.json"),
    ),
    (
        TOPOLOGY,
        "Site",
        include_str!("../../schemas/tko/site.json"),
    ),
    (
        TOPOLOGY,
        "Sites",
        include_str!("../../schemas/tko/sites.json"),
    ),
    (
        TOPOLOGY,
        "Placement",
        include_str!("../../schemas/tko/placement.json"),
    ),
    (
        TOPOLOGY,
        "TOSCA",
        include_str!("../../schemas/tko/tosca.json"),
    ),
    (
        "cluster.nephio.org/v1alpha1",
        "KubernetesCluster",
        include_str!("../../schemas/tko/kubernetes-cluster.json"),
    ),
    (
        "deployment.nephio.org/v1alpha1",
        "Deployment",
        include_str!("../../schemas/tko/deployment.json"),
    ),
    (
        "workload.nephio.org/v1alpha1",
        "HelmChart",
        include_str!("../../schemas/tko/helm-chart.json"),
    ),
];
const METADATA: &str = include_str!("../../schemas/tko/metadata.json");
const ORIGIN: &str = "TKO";

/// The schemas of TKO's own kinds. No other source can override them.
pub(crate) struct Native {
    kinds: HashMap<Gvk, Arc<Schema>>,
    metadata: Arc<Schema>,
}

impl Native {
    pub(crate) fn new() -> Self {
        let read = |text| serde_json::from_str(text).expect("schemas that are built in are JSON");
        let kinds = KINDS
            .into_iter()
            .map(|(api_version, kind, text)| {
                let gvk = Gvk::of(api_version, kind);
                let schema = Schema::document(ORIGIN, gvk.clone(), read(text));
                (gvk, Arc::new(schema))
            })
            .collect();
        Self {
            kinds,
            metadata: Arc::new(Schema::document_of_any_kind(ORIGIN, read(METADATA))),
        }
    }

    /// Iterates over the kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Gvk> {
        self.kinds.keys()
    }

    pub(crate) fn get(&self, gvk: &Gvk) -> Option<Arc<Schema>> {
        if *gvk.group == *"metadata.nephio.org" {
            return Some(self.metadata.clone());
        }
        self.kinds.get(gvk).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::KINDS;
    use crate::source::{OWN_GROUPS, is_own_group};

    #[test]
    fn own_groups_are_those_of_own_kinds() {
        let groups = KINDS.map(|(version, _, _)| version.split('/').next().expect("a group"));
        assert!(groups.into_iter().all(is_own_group));
        assert!(OWN_GROUPS.into_iter().all(|group| groups.contains(&group)));
    }
}
