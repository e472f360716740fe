//! TKO's own kinds.

use crate::fixture::{found, found_by};
use tko_validate::{MissingSchema, SchemaValidator};

const SOUND: &str = "
apiVersion: topology.nephio.org/v1alpha1
kind: Template
metadata: {name: upf}
spec: {templateId: 'nf/free5gc/upf:v1.0.0'}
status: {anything: [1]}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Template
metadata: {name: smf}
spec: {select: {metadata: {NetworkFunction.type: SMF, NetworkFunction.generation: 5, NetworkFunction.on: true}}}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Site
metadata: {name: edge2}
spec:
  provisionIfNotFound: true
  provisionTemplateId: site/edge:v1
  merge: [{apiVersion: kind.x-k8s.io/v1alpha4, kind: Cluster, name: edge2}, {apiVersion: v1, kind: ConfigMap, name: a, namespace: b}]
status: {siteId: provisioned/1}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Sites
metadata: {name: bangalore}
spec: {select: {metadata: {Site.cloud: GDC-E}}}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Placement
metadata: {name: placement}
spec:
  track: Continuous
  onLeave: Delete
  templates: [{template: upf, sites: [edge2, bangalore], merge: []}, {template: smf, sites: [edge2]}]
---
apiVersion: topology.nephio.org/v1alpha1
kind: TOSCA
metadata: {name: tosca}
spec: {url: 'file:service.csar', inputs: {a: {b: [1]}}}
---
apiVersion: deployment.nephio.org/v1alpha1
kind: Deployment
metadata: {name: deployment, annotations: {nephio.org/prepared: true}}
spec: {templateId: a, siteId: b, prepared: true, approved: 'false'}
status: {anything: true}
---
apiVersion: workload.nephio.org/v1alpha1
kind: HelmChart
metadata: {name: nginx}
spec: {chart: 'oci://host/nginx', version: 1.2.3, parameters: {replicas: 3, tolerations: []}}
---
apiVersion: cluster.nephio.org/v1alpha1
kind: KubernetesCluster
metadata: {name: cluster}
spec: {kubeconfig: {secretRef: {name: a, namespace: b, key: value}}, context: c, namespace: d}
---
apiVersion: cluster.nephio.org/v1alpha1
kind: KubernetesCluster
metadata: {name: of-gitops}
spec: {kubernetesVersion: 1.34.1, apiVersions: [example.com/v1/Pool]}
---
apiVersion: metadata.nephio.org/v1alpha1
kind: WhateverPeopleCallIt
metadata: {name: _}
spec: {cloud: GDC-E, nested: {deep: 1}}
---
apiVersion: free5gc.plugin.nephio.org/v1alpha1
kind: SMF
metadata: {name: _}
free: {of: rules}
---
apiVersion: infra.nephio.org/v1alpha1
kind: Network
metadata: {name: _}
anything: goes
";

#[tokio::test]
async fn valid_topologies_pass_even_if_missing_schemas_are_refused() {
    for complete in [false, true] {
        let validator = SchemaValidator::builder()
            .missing(MissingSchema::Refuse)
            .build();
        let found = found_by(validator.expect("sound"), SOUND, complete).await;
        assert_eq!(found, Vec::<String>::new());
    }
}

#[tokio::test]
async fn violations_in_tko_kinds_are_reported() {
    for (api_version, kind, spec, message) in [
        (
            "topology.nephio.org/v1alpha1",
            "Template",
            "{}",
            "spec: must have one of templateId, select",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Site",
            "{}",
            "spec: must have one of siteId, select, provisionIfNotFound",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Site",
            "{siteid: a, provisionIfNotFound: true}",
            "spec.siteid: is not a known property; did you mean siteId?",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Sites",
            "{select: {metadata: {a: []}}}",
            "spec.select.metadata.a: must be true or false or a number or text, but is a list",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Placement",
            "{templates: [{template: a}], track: Often}",
            "spec.track: must be one of Once, Continuous, but is the text \"Often\"",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Placement",
            "{templates: [{template: a}], onLeave: Drop}",
            "spec.onLeave: must be one of Keep, Delete, but is the text \"Drop\"",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "Placement",
            "{templates: [{template: a, merge: [{apiVersion: v1, kind: A}]}]}",
            "spec.templates[0].merge[0].name: is required and missing",
        ),
        (
            "topology.nephio.org/v1alpha1",
            "TOSCA",
            "{inputs: {}}",
            "spec.url: is required and missing",
        ),
        (
            "deployment.nephio.org/v1alpha1",
            "Deployment",
            "{site: a}",
            "spec.site: is not a known property; did you mean siteId?",
        ),
        (
            "workload.nephio.org/v1alpha1",
            "HelmChart",
            "{repository: a}",
            "spec.chart: is required and missing",
        ),
        (
            "cluster.nephio.org/v1alpha1",
            "KubernetesCluster",
            "{kubeconfig: {}}",
            "spec.kubeconfig: must have one of file, secretRef",
        ),
        (
            "cluster.nephio.org/v1alpha1",
            "KubernetesCluster",
            "{context: a}",
            "spec: must have one of kubeconfig, kubernetesVersion",
        ),
        (
            "cluster.nephio.org/v1alpha1",
            "KubernetesCluster",
            "{kubeconfig: {file: a}, contxt: b}",
            "spec.contxt: is not a known property; did you mean context?",
        ),
        (
            "metadata.nephio.org/v1alpha1",
            "Site",
            "[]",
            "spec: must be a map, but is a list",
        ),
    ] {
        let yaml = format!(
            "{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}"
        );
        assert_eq!(found(&yaml, true).await, [format!("{kind} a: {message}")]);
    }
}

/// A template with such an id could create no deployment.
#[tokio::test]
async fn the_ids_of_a_deployment_resource_are_checked() {
    let package = |field: &str, id: &str| {
        format!(
            "{{apiVersion: deployment.nephio.org/v1alpha1, kind: Deployment, \
             metadata: {{name: deployment}}, spec: {{{field}: {id}}}}}"
        )
    };
    for complete in [true, false] {
        for field in ["siteId", "templateId"] {
            for good in ["edge/1", "'nf/upf:v1.0'", "''"] {
                let found = found(&package(field, good), complete).await;
                assert_eq!(found, Vec::<String>::new(), "{field}: {good}");
            }
            let found = found(&package(field, "a b"), complete).await;
            assert_eq!(found.len(), 1, "{field}: {found:?}");
            let words = format!("spec.{field}: must be an id");
            assert!(found[0].contains(&words), "{found:?}");
        }
    }
}

#[tokio::test]
async fn packages_cannot_redefine_tko_or_kubernetes_kinds() {
    for (group, version, kind) in [
        ("topology.nephio.org", "v1alpha1", "Site"),
        ("apps", "v1", "Deployment"),
        ("metadata.nephio.org", "v1alpha1", "Site"),
    ] {
        let yaml = format!(
            "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: x.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: {kind}, plural: x}}
  versions:
  - {{name: {version}, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}
---
{{apiVersion: {group}/{version}, kind: {kind}, metadata: {{name: a}}, spec: [], nonsense: true}}
"
        );
        assert!(!found(&yaml, false).await.is_empty(), "{kind}.{group}");
    }
}
