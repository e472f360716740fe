//! Schemas of TKO's own kinds.

use crate::schema::Schema;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::Gvk;

const TOPOLOGY: &str = "topology.nephio.org/v1alpha1";
const KINDS: [(&str, &str, &str); 7] = [
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

/// Returns true for the groups whose kinds are all TKO's own. Only those of metadata are free in
/// their names.
pub(crate) fn is_own_group(group: &str) -> bool {
    KINDS
        .iter()
        .any(|(api_version, _, _)| api_version.split('/').next() == Some(group))
}

/// Returns true if resources of this group are inputs that only plugins or schedulers understand.
/// They pass if no source has their schema, even where missing schemas are refused.
pub(crate) fn is_free(gvk: &Gvk) -> bool {
    *gvk.group == *"infra.nephio.org"
        || *gvk.group == *"plugin.nephio.org"
        || gvk.group.ends_with(".plugin.nephio.org")
}
