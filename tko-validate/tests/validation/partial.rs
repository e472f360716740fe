//! Templates and unprepared deployments: fields may be missing, but none may be wrong.

use crate::fixture::found;

async fn partial_and_complete(yaml: &str) -> (Vec<String>, Vec<String>) {
    (found(yaml, false).await, found(yaml, true).await)
}

#[tokio::test]
async fn properties_may_be_missing_at_any_depth() {
    for yaml in [
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {}}",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {selector: null, template: {spec: {containers: [{image: b, ports: [{protocol: TCP}]}]}}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{name: x}]}}",
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a}, roleRef: {kind: Role}}",
        "{apiVersion: topology.nephio.org/v1alpha1, kind: Placement, metadata: {name: a}, spec: {templates: [{merge: [{kind: Foo}]}]}}",
        "{apiVersion: topology.nephio.org/v1alpha1, kind: Site, metadata: {name: a}, spec: {}}",
    ] {
        let (partial, complete) = partial_and_complete(yaml).await;
        assert_eq!(partial, Vec::<String>::new(), "{yaml}");
        assert!(!complete.is_empty(), "{yaml}");
    }
}

#[tokio::test]
async fn present_fields_must_be_valid() {
    for yaml in [
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: many}}",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: [{imagePullPolicy: Sometimes}]}}}}",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: [{img: a}]}}}}",
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a}, spec: {resources: {requests: {storage: big}}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{targetPort: []}]}}",
        "{apiVersion: topology.nephio.org/v1alpha1, kind: Placement, metadata: {name: a}, spec: {track: Sometimes}}",
    ] {
        let (partial, complete) = partial_and_complete(yaml).await;
        assert_eq!(partial.len(), 1, "{yaml}: {partial:?}");
        assert!(complete.contains(&partial[0]), "{yaml}: {complete:?}");
    }
}
