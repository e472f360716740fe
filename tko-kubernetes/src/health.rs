//! Whether an object is healthy, by the rules of kstatus.
//!
//! kstatus is the library of `sigs.k8s.io/cli-utils`: generic rules over `observedGeneration` and
//! conditions, and special rules for built-in kinds.

use serde_json::Value;

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The object is healthy.
    Current,
    /// The object makes progress; the text says what is missing.
    InProgress(String),
    /// The object makes no progress by itself; the text is the reason.
    Failed(String),
    /// It is being deleted.
    Terminating,
}

/// The health of an object.
pub(crate) fn health(object: &Value) -> Health {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Health::Terminating;
    }
    let api = object["apiVersion"].as_str().unwrap_or_default();
    let group = api.split_once('/').map_or("", |(group, _)| group);
    let own = match (group, object["kind"].as_str().unwrap_or_default()) {
        ("apps", "Deployment") => Some(deployment(object)),
        ("apps", "StatefulSet") => Some(stateful_set(object)),
        ("apps", "DaemonSet") => Some(daemon_set(object)),
        ("apps", "ReplicaSet") => Some(replica_set(object)),
        ("", "Pod") => Some(pod(object)),
        ("", "PersistentVolumeClaim") => Some(phase(object, "Bound")),
        ("", "Service") => Some(service(object)),
        ("batch", "Job") => Some(job(object)),
        ("policy", "PodDisruptionBudget") => Some(observed(object).unwrap_or(Health::Current)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(definition(object)),
        _ => None,
    };
    own.unwrap_or_else(|| generic(object))
}

/// A number of the object; 0 if there is none.
fn number(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

fn message(condition: &Value) -> String {
    let part = |name: &str| condition[name].as_str().unwrap_or_default();
    match (part("reason"), part("message")) {
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// In progress while the controller has not seen the newest generation.
fn observed(object: &Value) -> Option<Health> {
    let observed = object.pointer("/status/observedGeneration")?.as_i64()?;
    let generation = number(object, "/metadata/generation");
    (observed != generation).then(|| {
        Health::InProgress("its controller has not seen the newest generation yet".to_owned())
    })
}

fn generic(object: &Value) -> Health {
    if let Some(health) = observed(object) {
        return health;
    }
    let is = |kind: &str, status: &str| {
        condition(object, kind).filter(|condition| condition["status"] == status)
    };
    if let Some(condition) = is("Reconciling", "True") {
        return Health::InProgress(message(condition));
    }
    if let Some(condition) = is("Stalled", "True") {
        return Health::Failed(message(condition));
    }
    match condition(object, "Ready") {
        Some(ready) if ready["status"] != "True" => Health::InProgress(message(ready)),
        _ => Health::Current,
    }
}

fn progress(done: bool, what: impl FnOnce() -> String) -> Option<Health> {
    (!done).then(|| Health::InProgress(what()))
}

/// The desired number of replicas; one if the object does not specify it.
fn wanted(object: &Value) -> i64 {
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_i64);
    replicas.unwrap_or(1)
}

/// The workload's controller writes the observed generation first of all.
fn unseen(object: &Value) -> Option<Health> {
    match object.pointer("/status/observedGeneration") {
        None => Some(Health::InProgress(
            "no controller has seen it yet".to_owned(),
        )),
        Some(_) => observed(object),
    }
}

fn deployment(object: &Value) -> Health {
    if let Some(progressing) = condition(object, "Progressing")
        && progressing["reason"] == "ProgressDeadlineExceeded"
    {
        return Health::Failed(message(progressing));
    }
    let wanted = wanted(object);
    let count = |name: &str| number(object, &format!("/status/{name}"));
    unseen(object)
        .or_else(|| {
            let updated = count("updatedReplicas");
            progress(updated >= wanted, || {
                format!("{updated} of {wanted} pods are updated")
            })
        })
        .or_else(|| {
            let old = count("replicas") - count("updatedReplicas");
            progress(old <= 0, || format!("{old} old pods are still there"))
        })
        .or_else(|| {
            let available = count("availableReplicas");
            progress(available >= wanted, || {
                format!("{available} of {wanted} pods are available")
            })
        })
        .unwrap_or(Health::Current)
}

fn stateful_set(object: &Value) -> Health {
    let wanted = wanted(object);
    let count = |name: &str| number(object, &format!("/status/{name}"));
    unseen(object)
        .or_else(|| {
            let ready = count("readyReplicas");
            progress(ready >= wanted, || {
                format!("{ready} of {wanted} pods are ready")
            })
        })
        .or_else(|| {
            let updated = object.pointer("/status/updateRevision");
            let is_partial = object.pointer("/spec/updateStrategy/rollingUpdate/partition");
            let same = updated == object.pointer("/status/currentRevision");
            let is_partial = is_partial.is_some_and(|at| at.as_i64() != Some(0));
            progress(same || is_partial, || {
                "pods of the old revision are still there".to_owned()
            })
        })
        .unwrap_or(Health::Current)
}

fn daemon_set(object: &Value) -> Health {
    let count = |name: &str| number(object, &format!("/status/{name}"));
    let wanted = count("desiredNumberScheduled");
    unseen(object)
        .or_else(|| {
            let updated = count("updatedNumberScheduled");
            progress(updated >= wanted, || {
                format!("{updated} of {wanted} pods are updated")
            })
        })
        .or_else(|| {
            let available = count("numberAvailable");
            progress(available >= wanted, || {
                format!("{available} of {wanted} pods are available")
            })
        })
        .unwrap_or(Health::Current)
}

fn replica_set(object: &Value) -> Health {
    let wanted = wanted(object);
    let available = number(object, "/status/availableReplicas");
    unseen(object)
        .or_else(|| {
            progress(available >= wanted, || {
                format!("{available} of {wanted} pods are available")
            })
        })
        .unwrap_or(Health::Current)
}

fn pod(object: &Value) -> Health {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Succeeded") => Health::Current,
        Some("Failed") => {
            let why = object.pointer("/status/message").and_then(Value::as_str);
            Health::Failed(why.unwrap_or("the pod failed").to_owned())
        }
        Some("Running") => match condition(object, "Ready") {
            Some(ready) if ready["status"] == "True" => Health::Current,
            Some(ready) => Health::InProgress(message(ready)),
            None => Health::InProgress("the pod is not ready".to_owned()),
        },
        _ => match condition(object, "PodScheduled") {
            Some(scheduled) if scheduled["status"] == "False" => {
                Health::InProgress(message(scheduled))
            }
            _ => Health::InProgress("the pod has not started".to_owned()),
        },
    }
}

fn phase(object: &Value, wanted: &str) -> Health {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some(phase) if phase == wanted => Health::Current,
        phase => Health::InProgress(format!(
            "its phase is {}, not {wanted}",
            phase.unwrap_or("unknown")
        )),
    }
}

fn service(object: &Value) -> Health {
    let kind = object.pointer("/spec/type").and_then(Value::as_str);
    let ingress = object.pointer("/status/loadBalancer/ingress");
    let has_address = ingress
        .and_then(Value::as_array)
        .is_some_and(|all| !all.is_empty());
    if kind == Some("LoadBalancer") && !has_address {
        return Health::InProgress("the load balancer has no address".to_owned());
    }
    Health::Current
}

fn job(object: &Value) -> Health {
    let is = |kind: &str| condition(object, kind).filter(|found| found["status"] == "True");
    if let Some(failed) = is("Failed") {
        return Health::Failed(message(failed));
    }
    // A job that has started is current for kstatus: it may run for days.
    if is("Complete").is_some() || object.pointer("/status/startTime").is_some() {
        return Health::Current;
    }
    Health::InProgress("the job has not started".to_owned())
}

fn definition(object: &Value) -> Health {
    if let Some(names) = condition(object, "NamesAccepted")
        && names["status"] == "False"
    {
        return Health::Failed(message(names));
    }
    match condition(object, "Established") {
        Some(established) if established["status"] == "True" => Health::Current,
        Some(established) => Health::InProgress(message(established)),
        None => Health::InProgress("it is not established".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Health, health};
    use serde_json::{Value, json};

    fn of(api: &str, kind: &str, rest: Value) -> Health {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"generation": 2}});
        let all = object.as_object_mut().expect("a map");
        if let Value::Object(rest) = rest {
            all.extend(rest);
        }
        health(&object)
    }

    fn word(health: &Health) -> &'static str {
        match health {
            Health::Current => "current",
            Health::InProgress(_) => "progress",
            Health::Failed(_) => "failed",
            Health::Terminating => "terminating",
        }
    }

    #[test]
    fn workloads_are_current_when_all_pods_are() {
        for (kind, status, expected) in [
            ("Deployment", json!({}), "progress"),
            (
                "Deployment",
                json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                "progress",
            ),
            (
                "Deployment",
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}),
                "progress",
            ),
            (
                "Deployment",
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}),
                "progress",
            ),
            (
                "Deployment",
                json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}),
                "current",
            ),
            (
                "Deployment",
                json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}),
                "failed",
            ),
            (
                "StatefulSet",
                json!({"observedGeneration": 2, "readyReplicas": 1}),
                "progress",
            ),
            (
                "StatefulSet",
                json!({"observedGeneration": 2, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "b"}),
                "progress",
            ),
            (
                "StatefulSet",
                json!({"observedGeneration": 2, "readyReplicas": 2, "currentRevision": "b", "updateRevision": "b"}),
                "current",
            ),
            (
                "DaemonSet",
                json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}),
                "progress",
            ),
            (
                "DaemonSet",
                json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}),
                "current",
            ),
            (
                "ReplicaSet",
                json!({"observedGeneration": 2, "availableReplicas": 2}),
                "current",
            ),
        ] {
            let found = of(
                "apps/v1",
                kind,
                json!({"spec": {"replicas": 2}, "status": status.clone()}),
            );
            assert_eq!(word(&found), expected, "{kind} {status}");
        }
    }

    #[test]
    fn other_kinds_follow_their_own_rules() {
        let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status, "reason": "R", "message": "m"}]});
        for (api, kind, rest, expected) in [
            ("v1", "ConfigMap", json!({}), "current"),
            (
                "v1",
                "Pod",
                json!({"status": {"phase": "Pending"}}),
                "progress",
            ),
            (
                "v1",
                "Pod",
                json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
                "current",
            ),
            (
                "v1",
                "Pod",
                json!({"status": {"phase": "Failed", "message": "evicted"}}),
                "failed",
            ),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"status": {"phase": "Pending"}}),
                "progress",
            ),
            (
                "v1",
                "Service",
                json!({"spec": {"type": "LoadBalancer"}}),
                "progress",
            ),
            (
                "v1",
                "Service",
                json!({"spec": {"type": "ClusterIP"}}),
                "current",
            ),
            (
                "batch/v1",
                "Job",
                json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}}),
                "failed",
            ),
            (
                "batch/v1",
                "Job",
                json!({"status": {"startTime": "x"}}),
                "current",
            ),
            ("x.example/v1", "Wide", json!({}), "current"),
            (
                "x.example/v1",
                "Wide",
                json!({"status": ready("False")}),
                "progress",
            ),
            (
                "x.example/v1",
                "Wide",
                json!({"status": ready("True")}),
                "current",
            ),
            (
                "x.example/v1",
                "Wide",
                json!({"status": {"observedGeneration": 1}}),
                "progress",
            ),
            (
                "x.example/v1",
                "Wide",
                json!({"status": {"conditions": [{"type": "Stalled", "status": "True"}]}}),
                "failed",
            ),
            (
                "x.example/v1",
                "Wide",
                json!({"status": {"conditions": "?"}}),
                "current",
            ),
        ] {
            assert_eq!(
                word(&of(api, kind, rest.clone())),
                expected,
                "{kind} {rest}"
            );
        }
    }

    #[test]
    fn the_message_is_that_of_the_object() {
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NoQuota", "message": "of disks"}]}});
        let found = of("x.example/v1", "Wide", status);
        assert_eq!(found, Health::InProgress("NoQuota: of disks".to_owned()));
        let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(health(&leaving), Health::Terminating);
    }
}
