//! Whether an object is healthy, by the rules of kstatus.
//!
//! kstatus is the library of `sigs.k8s.io/cli-utils`: generic rules over `observedGeneration` and
//! conditions, and special rules for built-in kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use std::time::Duration;
use tko_core::Timestamp;

/// The time after its creation in which a pod should get a node.
const SCHEDULE_WINDOW: Duration = Duration::from_secs(15);

/// The state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The object is healthy.
    Current,
    /// The object makes progress; the text says what is missing.
    InProgress(String),
    /// The object failed, but may recover; the text is the reason.
    Failed(String),
    /// It is being deleted.
    Terminating,
}

/// The health of an object at this time.
pub(crate) fn health(object: &Value, now: Timestamp) -> Health {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Health::Terminating;
    }
    let own = match group_and_kind(object) {
        ("apps", "Deployment") => Some(deployment(object)),
        ("apps", "StatefulSet") => Some(stateful_set(object)),
        ("apps", "DaemonSet") => Some(daemon_set(object)),
        ("apps", "ReplicaSet") => Some(replica_set(object)),
        ("", "Pod") => Some(pod(object, now)),
        ("", "PersistentVolumeClaim") => Some(phase(object, "Bound")),
        ("", "Service") => Some(service(object)),
        ("batch", "Job") => Some(job(object)),
        ("policy", "PodDisruptionBudget") => Some(observed(object).unwrap_or(Health::Current)),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(definition(object)),
        _ => None,
    };
    own.unwrap_or_else(|| generic(object))
}

/// The time after which the health of an object changes although the object does not; `None` if
/// its health does not depend on the time.
pub(crate) fn changes_after(object: &Value, now: Timestamp) -> Option<Duration> {
    if group_and_kind(object) != ("", "Pod") || !is_unschedulable(object) {
        return None;
    }
    let rest = rest_of_window(object, now);
    (!rest.is_zero()).then_some(rest)
}

fn group_and_kind(object: &Value) -> (&str, &str) {
    let api = object["apiVersion"].as_str().unwrap_or_default();
    let group = api.split_once('/').map_or("", |(group, _)| group);
    (group, object["kind"].as_str().unwrap_or_default())
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

/// In progress while there are more pods than desired.
fn surplus(object: &Value, wanted: i64) -> Option<Health> {
    let surplus = number(object, "/status/replicas").saturating_sub(wanted);
    progress(surplus <= 0, || {
        format!("{surplus} surplus pods are still there")
    })
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
        .or_else(|| surplus(object, wanted))
        .or_else(|| {
            let available = count("availableReplicas");
            progress(available >= wanted, || {
                format!("{available} of {wanted} pods are available")
            })
        })
        .unwrap_or(Health::Current)
}

fn stateful_set(object: &Value) -> Health {
    let strategy = object.pointer("/spec/updateStrategy/type");
    if strategy.is_some_and(|strategy| strategy == "OnDelete") {
        // Its pods are updated when somebody deletes them, which may be never.
        return observed(object).unwrap_or(Health::Current);
    }
    let wanted = wanted(object);
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    let count = |name: &str| number(object, &format!("/status/{name}"));
    unseen(object)
        .or_else(|| {
            let ready = count("readyReplicas");
            progress(ready >= wanted, || {
                format!("{ready} of {wanted} pods are ready")
            })
        })
        .or_else(|| surplus(object, wanted))
        .or_else(|| {
            if partition != 0 {
                let (updated, new) = (count("updatedReplicas"), wanted.saturating_sub(partition));
                return progress(updated >= new, || {
                    format!("{updated} of {new} pods above the partition are updated")
                });
            }
            let updated = object.pointer("/status/updateRevision");
            progress(updated == object.pointer("/status/currentRevision"), || {
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
        .or_else(|| surplus(object, wanted))
        .unwrap_or(Health::Current)
}

fn pod(object: &Value, now: Timestamp) -> Health {
    match object.pointer("/status/phase").and_then(Value::as_str) {
        Some("Succeeded") => Health::Current,
        Some("Failed") => {
            let why = object.pointer("/status/message").and_then(Value::as_str);
            Health::Failed(why.unwrap_or("the pod failed").to_owned())
        }
        Some("Running") => running_pod(object),
        _ => match condition(object, "PodScheduled") {
            Some(scheduled) if scheduled["status"] == "False" => {
                let why = message(scheduled);
                if is_unschedulable(object) && rest_of_window(object, now).is_zero() {
                    Health::Failed(why)
                } else {
                    Health::InProgress(why)
                }
            }
            _ => Health::InProgress("the pod has not started".to_owned()),
        },
    }
}

fn running_pod(object: &Value) -> Health {
    let ready = condition(object, "Ready");
    if ready.is_some_and(|ready| ready["status"] == "True") {
        return Health::Current;
    }
    let containers = object.pointer("/status/containerStatuses");
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    let crashing = containers.filter(|container| {
        let reason = container.pointer("/state/waiting/reason");
        reason.is_some_and(|reason| reason == "CrashLoopBackOff")
    });
    let names: Vec<&str> = crashing
        .map(|container| container["name"].as_str().unwrap_or_default())
        .collect();
    if !names.is_empty() {
        let names = names.join(", ");
        return Health::Failed(format!("CrashLoopBackOff of the containers {names}"));
    }
    Health::InProgress(ready.map_or_else(|| "the pod is not ready".to_owned(), message))
}

/// Whether no node can take a pod.
fn is_unschedulable(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_none()
        && object
            .pointer("/status/phase")
            .is_some_and(|phase| phase == "Pending")
        && condition(object, "PodScheduled").is_some_and(|scheduled| {
            scheduled["status"] == "False" && scheduled["reason"] == "Unschedulable"
        })
}

/// The rest of the time in which a pod should get a node. It begins with the creation of the pod,
/// as in kstatus.
fn rest_of_window(object: &Value, now: Timestamp) -> Duration {
    let created = object.pointer("/metadata/creationTimestamp");
    let created = serde_json::from_value::<Time>(created.cloned().unwrap_or_default());
    created.map_or(Duration::ZERO, |Time(created)| {
        let age = now.since(Timestamp(created.as_microsecond()));
        SCHEDULE_WINDOW.saturating_sub(age)
    })
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
mod tests;
