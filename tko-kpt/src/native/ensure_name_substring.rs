//! `ensure-name-substring`: adds a prefix or suffix to names, and to references to them.

use super::fields::{
    Config, FieldSpec, config, group, is_cluster_scoped, kind, name, namespace, texts,
};
use super::growth::WriteBudget;
use crate::reference::FunctionVersion;
use crate::resource_list::ResourceList;
use crate::results::{FunctionResult, Severity};
use serde_json::{Value, json};
use std::collections::HashMap;

/// The paths of the pod specification in workloads.
const PODS: [(&str, &str); 9] = [
    ("Pod", "spec"),
    ("Deployment", "spec/template/spec"),
    ("ReplicaSet", "spec/template/spec"),
    ("DaemonSet", "spec/template/spec"),
    ("StatefulSet", "spec/template/spec"),
    ("ReplicationController", "spec/template/spec"),
    ("Job", "spec/template/spec"),
    ("CronJob", "spec/jobTemplate/spec/template/spec"),
    ("PodTemplate", "template/spec"),
];

/// The paths of references in the specification of a pod: the kind, and the path.
const POD_REFERENCES: [(&str, &str); 18] = [
    ("ConfigMap", "volumes/configMap/name"),
    ("ConfigMap", "volumes/projected/sources/configMap/name"),
    ("ConfigMap", "containers/env/valueFrom/configMapKeyRef/name"),
    (
        "ConfigMap",
        "initContainers/env/valueFrom/configMapKeyRef/name",
    ),
    ("ConfigMap", "containers/envFrom/configMapRef/name"),
    ("ConfigMap", "initContainers/envFrom/configMapRef/name"),
    ("Secret", "volumes/secret/secretName"),
    ("Secret", "volumes/projected/sources/secret/name"),
    ("Secret", "containers/env/valueFrom/secretKeyRef/name"),
    ("Secret", "initContainers/env/valueFrom/secretKeyRef/name"),
    ("Secret", "containers/envFrom/secretRef/name"),
    ("Secret", "initContainers/envFrom/secretRef/name"),
    ("Secret", "imagePullSecrets/name"),
    (
        "PersistentVolumeClaim",
        "volumes/persistentVolumeClaim/claimName",
    ),
    ("ServiceAccount", "serviceAccountName"),
    ("ServiceAccount", "serviceAccount"),
    ("PriorityClass", "priorityClassName"),
    ("RuntimeClass", "runtimeClassName"),
];

/// The paths of references in other kinds: the referring kind, the kind it refers to, and the path.
const REFERENCES: [(&str, &str, &str); 34] = [
    ("ServiceAccount", "Secret", "secrets/name"),
    ("ServiceAccount", "Secret", "imagePullSecrets/name"),
    ("Ingress", "Secret", "spec/tls/secretName"),
    (
        "Ingress",
        "Service",
        "spec/rules/http/paths/backend/service/name",
    ),
    (
        "Ingress",
        "Service",
        "spec/rules/http/paths/backend/serviceName",
    ),
    ("Ingress", "Service", "spec/defaultBackend/service/name"),
    ("Ingress", "Service", "spec/backend/serviceName"),
    ("Ingress", "IngressClass", "spec/ingressClassName"),
    ("StatefulSet", "Service", "spec/serviceName"),
    (
        "StatefulSet",
        "StorageClass",
        "spec/volumeClaimTemplates/spec/storageClassName",
    ),
    (
        "PersistentVolumeClaim",
        "PersistentVolume",
        "spec/volumeName",
    ),
    (
        "PersistentVolumeClaim",
        "StorageClass",
        "spec/storageClassName",
    ),
    ("PersistentVolume", "StorageClass", "spec/storageClassName"),
    (
        "PersistentVolume",
        "PersistentVolumeClaim",
        "spec/claimRef/name",
    ),
    ("APIService", "Service", "spec/service/name"),
    (
        "ValidatingWebhookConfiguration",
        "Service",
        "webhooks/clientConfig/service/name",
    ),
    (
        "MutatingWebhookConfiguration",
        "Service",
        "webhooks/clientConfig/service/name",
    ),
    (
        "CustomResourceDefinition",
        "Service",
        "spec/conversion/webhook/clientConfig/service/name",
    ),
    (
        "ServiceAccount",
        "ServiceAccount",
        "spec/serviceAccountName",
    ),
    ("Role", "ConfigMap", "rules/resourceNames[]"),
    ("Role", "Secret", "rules/resourceNames[]"),
    ("ClusterRole", "ConfigMap", "rules/resourceNames[]"),
    ("ClusterRole", "Secret", "rules/resourceNames[]"),
    ("ClusterRole", "PersistentVolume", "rules/resourceNames[]"),
    ("StorageClass", "Secret", "parameters/secretName"),
    ("StorageClass", "Secret", "parameters/adminSecretName"),
    ("StorageClass", "Secret", "parameters/userSecretName"),
    ("StorageClass", "Secret", "parameters/secretRef"),
    ("PersistentVolume", "Secret", "spec/azureFile/secretName"),
    (
        "Ingress",
        "Secret",
        r"metadata/annotations/ingress.kubernetes.io\/auth-secret",
    ),
    (
        "Ingress",
        "Secret",
        r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-secret",
    ),
    (
        "Ingress",
        "Secret",
        r"metadata/annotations/nginx.ingress.kubernetes.io\/auth-tls-secret",
    ),
    (
        "Ingress",
        "ConfigMap",
        r"metadata/annotations/nginx.ingress.kubernetes.io\/fastcgi-params-configmap",
    ),
    (
        "ValidatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "spec/policyName",
    ),
];

/// Maps that name another resource by `kind` and `name`: the kind that has them, and their path.
const TYPED: [(&str, &str); 4] = [
    ("HorizontalPodAutoscaler", "spec/scaleTargetRef"),
    ("RoleBinding", "roleRef"),
    ("ClusterRoleBinding", "roleRef"),
    ("VerticalPodAutoscaler", "spec/targetRef"),
];

/// The position of the substring.
#[derive(Clone, Copy)]
enum EditMode {
    Prepend,
    Append,
}

/// The new names of resources, by kind, namespace and old name.
struct Renamed(HashMap<(String, String, String), String>);

pub(super) fn run(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let (substring, mode, own) = read(list)?;
    let more = FieldSpec::read(&own, "additionalNameFields")?;
    let with = |old: &str| match mode {
        _ if old.contains(&substring) => None,
        EditMode::Prepend => Some(format!("{substring}{old}")),
        EditMode::Append => Some(format!("{old}{substring}")),
    };
    let mut renamed = Renamed(HashMap::new());
    let mut count = 0;
    for item in &mut list.items {
        if is_left_alone(&item.value) {
            continue;
        }
        if let Some(new) = with(name(&item.value)) {
            budget.take(new.len());
            budget.check()?;
            let old = (
                kind(&item.value).to_owned(),
                namespace(&item.value).to_owned(),
                name(&item.value).to_owned(),
            );
            item.value["metadata"]["name"] = json!(new);
            renamed.0.insert(old, new);
            count += 1;
        }
        for place in &more {
            if !place.selects(&item.value) {
                continue;
            }
            place.edit(&mut item.value, &mut |place| {
                if let Some(new) = place.as_str().and_then(with)
                    && budget.take(new.len())
                {
                    *place = json!(new);
                    count += 1;
                }
            });
        }
    }
    for item in &mut list.items {
        renamed.refer(&mut item.value, budget);
        budget.check()?;
    }
    let message = format!("{substring:?} ensured, {count} names changed");
    list.results
        .push(FunctionResult::new(Severity::Info, message));
    Ok(())
}

fn read(list: &ResourceList) -> Result<(String, EditMode, Value), String> {
    let mode = |text: &str| match text {
        "prepend" => Ok(EditMode::Prepend),
        "append" => Ok(EditMode::Append),
        other => Err(format!(
            "unknown edit mode {other:?}; expected prepend or append"
        )),
    };
    let (mode, substring, own) = match config(list, "EnsureNameSubstring")? {
        Config::Data(_, data) => {
            let mut given = texts(Some(&Value::Object(data)), "data")?;
            let (Some((key, substring)), true) = (given.pop(), given.is_empty()) else {
                return Err("its data must have exactly one of prepend and append".to_owned());
            };
            (mode(&key)?, substring, Value::Null)
        }
        Config::Own(own) => {
            let text = |field: &str| own.get(field).and_then(Value::as_str);
            let mode = mode(
                text("editMode")
                    .filter(|text| !text.is_empty())
                    .unwrap_or("prepend"),
            )?;
            (
                mode,
                text("substring").unwrap_or_default().to_owned(),
                own.clone(),
            )
        }
    };
    if substring.is_empty() {
        return Err("the substring is empty".to_owned());
    }
    Ok((substring, mode, own))
}

/// Whether the name of a resource has a meaning that a substring would break. That holds for the
/// kinds that the function's documentation lists, and for resources that tools find by name.
fn is_left_alone(value: &Value) -> bool {
    let is_listed = matches!(
        (group(value), kind(value)),
        (_, "CustomResourceDefinition")
            | ("", "Namespace")
            | ("apiregistration.k8s.io", "APIService")
    );
    is_listed || group(value) == "kpt.dev" || group(value) == "deployment.nephio.org"
}

impl Renamed {
    fn new_name(&self, kind: &str, namespace: &str, old: &str) -> Option<&String> {
        let key = |namespace: &str| (kind.to_owned(), namespace.to_owned(), old.to_owned());
        self.0.get(&key(namespace)).or_else(|| {
            // Kinds without namespaces are found from everywhere.
            let is_cluster =
                |api: &str| is_cluster_scoped(&json!({"apiVersion": api, "kind": kind}));
            let groups = [
                "v1",
                "storage.k8s.io/v1",
                "scheduling.k8s.io/v1",
                "node.k8s.io/v1",
                "networking.k8s.io/v1",
                "rbac.authorization.k8s.io/v1",
            ];
            groups
                .iter()
                .any(|api| is_cluster(api))
                .then(|| self.0.get(&key("")))?
        })
    }

    fn refer(&self, value: &mut Value, budget: &mut WriteBudget) {
        let own_kind = kind(value).to_owned();
        let own_namespace = namespace(value).to_owned();
        let mut update = |path: &str, target: &str, value: &mut Value| {
            let spec = FieldSpec {
                group: None,
                version: None,
                kind: None,
                path,
                create: false,
            };
            spec.edit(value, &mut |place| {
                let old = place.as_str();
                if let Some(new) = old.and_then(|old| self.new_name(target, &own_namespace, old))
                    && budget.take(new.len())
                {
                    *place = json!(new);
                }
            });
        };
        for (_, pods) in PODS.iter().filter(|(kind, _)| *kind == own_kind) {
            for (target, path) in POD_REFERENCES {
                update(&format!("{pods}/{path}"), target, value);
            }
        }
        for (_, target, path) in REFERENCES.iter().filter(|(kind, ..)| *kind == own_kind) {
            update(path, target, value);
        }
        for (_, path) in TYPED.iter().filter(|(kind, _)| *kind == own_kind) {
            self.typed(value, path, &own_namespace, budget);
        }
        if own_kind.ends_with("RoleBinding") {
            self.typed(value, "subjects", &own_namespace, budget);
        }
    }

    /// Updates maps with `kind`, `name` and possibly `namespace`.
    fn typed(&self, value: &mut Value, path: &str, own_namespace: &str, budget: &mut WriteBudget) {
        let spec = FieldSpec {
            group: None,
            version: None,
            kind: None,
            path,
            create: false,
        };
        let mut update = |reference: &mut Value| {
            let text = |field: &str| reference.get(field).and_then(Value::as_str);
            let namespace = text("namespace").unwrap_or(own_namespace);
            let new = self.new_name(
                text("kind").unwrap_or_default(),
                namespace,
                text("name").unwrap_or_default(),
            );
            if let Some(new) = new
                && budget.take(new.len())
            {
                reference["name"] = json!(new);
            }
        };
        spec.edit(value, &mut |place| match place {
            Value::Array(items) => items.iter_mut().for_each(&mut update),
            place => update(place),
        });
    }
}
