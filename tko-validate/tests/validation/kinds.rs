//! Kinds of Kubernetes, complete.

use crate::fixture::{found, found_by};
use tko_validate::{KubernetesVersion, SchemaValidator};

const EVERYDAY: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: core}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, namespace: core, creationTimestamp: null, labels: {a: b}}
data: {mode: 'x'}
binaryData: {b: YWJj}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
type: Opaque
stringData: {password: hunter2}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: upf}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: upf, namespace: core}
spec:
  replicas: 2
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 25%}}
  selector: {matchLabels: {app: upf}}
  template:
    metadata: {labels: {app: upf}, creationTimestamp: null}
    spec:
      containers:
      - name: upf
        image: free5gc/upf:v3
        imagePullPolicy: IfNotPresent
        ports: [{containerPort: 8805, protocol: UDP}]
        resources: {limits: {cpu: 2, memory: 1Gi, hugepages-1Gi: 2Gi}, requests: {cpu: 500m, memory: '128e6'}}
        readinessProbe: {httpGet: {port: http, path: /}, periodSeconds: 5}
        securityContext: {capabilities: {add: [NET_ADMIN]}}
        volumeMounts: [{name: conf, mountPath: /etc/upf}]
      volumes: [{name: conf, configMap: {name: conf, defaultMode: 0644}}]
status: {}
---
apiVersion: v1
kind: Service
metadata: {name: upf}
spec:
  type: ClusterIP
  selector: {app: upf}
  ports: [{name: pfcp, port: 8805, targetPort: pfcp, protocol: UDP}, {name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: mongo}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Gi}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '*/5 * * * *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: OnFailure, containers: [{name: a, image: b}]}}}}
";

#[tokio::test]
async fn everyday_resources_pass_in_every_version() {
    for version in KubernetesVersion::built_in() {
        let validator = SchemaValidator::builder().kubernetes(version).build();
        let found = found_by(validator.expect("built in"), EVERYDAY, true).await;
        assert_eq!(found, Vec::<String>::new(), "{version}");
    }
    assert_eq!(found(EVERYDAY, false).await, Vec::<String>::new());
}

/// One mistake in a Deployment, and what is said about it.
async fn mistake(path: &str, wrong: &str) -> Vec<String> {
    let mut value = serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {
                "containers": [{"name": "a", "image": "b", "resources": {"limits": {}}}]
            }},
        },
    });
    let (parent, name) = path.rsplit_once('/').expect("a pointer");
    let wrong = serde_json::from_str(wrong).expect("JSON");
    let parent = value
        .pointer_mut(parent)
        .and_then(|parent| parent.as_object_mut());
    parent.expect("a map").insert(name.to_owned(), wrong);
    found(&value.to_string(), true).await
}

#[tokio::test]
async fn violations_have_a_path_and_a_remedy() {
    const CONTAINER: &str = "/spec/template/spec/containers/0";
    for (path, wrong, message) in [
        (
            "/spec/replicas".to_owned(),
            "\"two\"",
            "spec.replicas: must be an integer, but is the text \"two\"",
        ),
        (
            "/spec/replicas".to_owned(),
            "4294967296",
            "spec.replicas: must be at most 2147483647, but is 4294967296",
        ),
        (
            "/spec/replica".to_owned(),
            "3",
            "spec.replica: is not a known property; did you mean replicas?",
        ),
        (
            "/spec/selector".to_owned(),
            "null",
            "spec.selector: is required and must not be null",
        ),
        (
            "/metadata/labels".to_owned(),
            "{\"a\": 1}",
            "metadata.labels.a: must be text, but is 1",
        ),
        (
            format!("{CONTAINER}/imagePullPolicy"),
            "\"Sometimes\"",
            "spec.template.spec.containers[0].imagePullPolicy: must be one of Always, IfNotPresent, Never, but is the text \"Sometimes\"",
        ),
        (
            format!("{CONTAINER}/resources/limits/cpu"),
            "\"lots\"",
            "spec.template.spec.containers[0].resources.limits.cpu: must be a quantity, such as 2, 500m or 1.5Gi, but is the text \"lots\"",
        ),
        (
            format!("{CONTAINER}/ports"),
            "[{\"containerPort\": \"80\"}]",
            "spec.template.spec.containers[0].ports[0].containerPort: must be an integer, but is the text \"80\"",
        ),
        (
            "/spec/template/spec/containers".to_owned(),
            "{}",
            "spec.template.spec.containers: must be a list, but is a map",
        ),
        (
            "/metadata/creationTimestamp".to_owned(),
            "\"yesterday\"",
            "metadata.creationTimestamp: must be a time such as 2026-01-31T12:00:00Z, but is the text \"yesterday\"",
        ),
    ] {
        let message = format!("Deployment a: {message}");
        assert_eq!(mistake(&path, wrong).await, [message], "{path} = {wrong}");
    }
}

#[tokio::test]
async fn all_violations_are_reported_at_once_in_order() {
    let found = found(
        "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: x}
spec: {type: Bus, ports: [{port: '80'}], selektor: {}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: b}
data: {a: 1}
",
        true,
    )
    .await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found[..3]
            .iter()
            .all(|text| text.starts_with("Service x/a: spec.")),
        "{found:?}"
    );
    assert_eq!(found[3], "ConfigMap b: data.a: must be text, but is 1");
}

#[tokio::test]
async fn values_of_secrets_are_not_repeated() {
    let yaml = "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {password: 'hunter 2'}, stringData: {pin: 4711}}";
    let found = found(yaml, true).await;
    assert_eq!(
        found,
        [
            "Secret a: data.password: must be base64",
            "Secret a: stringData.pin: must be text"
        ]
    );
}

#[tokio::test]
async fn a_kind_that_its_version_lacks_is_refused() {
    let beta = "{apiVersion: autoscaling/v2beta2, kind: HorizontalPodAutoscaler, metadata: {name: a}, nonsense: 1}";
    for (version, message) in [
        ("1.25", "nonsense: is not a known property"),
        (
            "1.26",
            "kind: Kubernetes 1.26 has no kind HorizontalPodAutoscaler in autoscaling/v2beta2; use apiVersion autoscaling/v2",
        ),
    ] {
        let validator = SchemaValidator::builder().kubernetes(version.parse().expect("a version"));
        let found = found_by(validator.build().expect("built in"), beta, false).await;
        assert_eq!(found.len(), 1, "{version}: {found:?}");
        assert!(found[0].contains(message), "{version}: {found:?}");
    }
}

#[tokio::test]
async fn tko_annotations_may_be_unquoted() {
    let yaml = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, annotations: {nephio.org/prepared: true, other: true}}}";
    assert_eq!(
        found(yaml, true).await,
        ["ConfigMap a: metadata.annotations.other: must be text, but is true"]
    );
}
