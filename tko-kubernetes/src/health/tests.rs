use super::{Health, changes_after, health};
use serde_json::{Value, json};
use std::time::Duration;
use tko_core::Timestamp;

/// 2027-01-15T08:00:00Z.
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn of(api: &str, kind: &str, rest: Value) -> Health {
    let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"generation": 2}});
    let all = object.as_object_mut().expect("a map");
    if let Value::Object(rest) = rest {
        all.extend(rest);
    }
    health(&object, NOW)
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
fn stateful_sets_are_current_when_their_strategy_has_nothing_more_to_do() {
    let on_delete = || json!({"type": "OnDelete"});
    let behind = |partition: i64| json!({"rollingUpdate": {"partition": partition}});
    let updated = |pods: i64| {
        json!({
            "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": pods,
            "currentRevision": "a", "updateRevision": "b",
        })
    };
    for (strategy, status, expected) in [
        (on_delete(), json!({}), "current"),
        (on_delete(), updated(0), "current"),
        (on_delete(), json!({"observedGeneration": 1}), "progress"),
        (behind(0), updated(3), "progress"),
        (behind(1), updated(1), "progress"),
        (behind(1), updated(2), "current"),
        (behind(2), updated(1), "current"),
        (behind(5), updated(0), "current"),
    ] {
        let spec = json!({"replicas": 3, "updateStrategy": strategy});
        let rest = json!({"spec": spec, "status": status});
        let found = of("apps/v1", "StatefulSet", rest.clone());
        assert_eq!(word(&found), expected, "{rest}");
    }
}

#[test]
fn surplus_pods_must_go() {
    for kind in ["Deployment", "StatefulSet", "ReplicaSet"] {
        for (pods, expected) in [(2, "current"), (3, "progress")] {
            let status = json!({
                "observedGeneration": 2, "replicas": pods, "updatedReplicas": pods,
                "readyReplicas": pods, "availableReplicas": pods,
            });
            let rest = json!({"spec": {"replicas": 2}, "status": status});
            let found = of("apps/v1", kind, rest);
            assert_eq!(word(&found), expected, "{pods} pods of a {kind}");
        }
    }
}

#[test]
fn a_pod_whose_containers_crash_again_and_again_has_failed() {
    let pod = |ready: &str| {
        json!({"status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady"}],
            "containerStatuses": [
                {"name": "main", "state": {"running": {}}},
                {"name": "proxy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ],
        }})
    };
    let why = "CrashLoopBackOff of the containers proxy";
    let found = of("v1", "Pod", pod("False"));
    assert_eq!(found, Health::Failed(why.to_owned()));
    assert_eq!(of("v1", "Pod", pod("True")), Health::Current);
    let mut starting = pod("False");
    starting["status"]["containerStatuses"][1]["state"]["waiting"]["reason"] =
        json!("ContainerCreating");
    let found = of("v1", "Pod", starting);
    assert_eq!(found, Health::InProgress("ContainersNotReady".to_owned()));
}

#[test]
fn a_pod_has_failed_if_no_node_can_take_it_for_15_seconds() {
    let pod = |created: &str, reason: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": created},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": reason},
            ]},
        })
    };
    for (created, reason, expected, again) in [
        ("2027-01-15T07:59:50Z", "Unschedulable", "progress", 5),
        ("2027-01-15T07:59:45Z", "Unschedulable", "failed", 0),
        ("2027-01-14T08:00:00Z", "Unschedulable", "failed", 0),
        // The clock of the cluster is ahead.
        ("2027-01-15T08:00:09Z", "Unschedulable", "progress", 15),
        ("", "Unschedulable", "failed", 0),
        ("2027-01-14T08:00:00Z", "SchedulingGated", "progress", 0),
    ] {
        let pod = pod(created, reason);
        assert_eq!(word(&health(&pod, NOW)), expected, "{pod}");
        let again = (again > 0).then(|| Duration::from_secs(again));
        assert_eq!(changes_after(&pod, NOW), again, "{pod}");
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
    assert_eq!(health(&leaving, NOW), Health::Terminating);
}
