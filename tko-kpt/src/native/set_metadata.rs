//! `set-labels` and `set-annotations`: set metadata of resources, and in other places that need it.
//!
//! These places are those of kustomize: selectors and pod templates of the kinds of Kubernetes.
//! From v0.2 on, `set-labels` refuses `additionalLabelFields`.

use super::fields::{Config, FieldSpec, config, texts};
use super::growth::WriteBudget;
use crate::reference::FunctionVersion;
use crate::resource_list::ResourceList;
use crate::results::{FunctionResult, Severity};
use serde_json::{Map, Value};

/// A place in resources of every kind.
const fn everywhere(path: &'static str) -> FieldSpec<'static> {
    FieldSpec {
        group: None,
        version: None,
        kind: None,
        path,
        create: true,
    }
}

const AFFINITIES: [&str; 5] = [
    "spec/template/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "spec/template/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm/labelSelector/matchLabels",
    "spec/template/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/labelSelector/matchLabels",
    "spec/template/spec/topologySpreadConstraints/labelSelector/matchLabels",
];

const SELECTOR: &str = "spec/selector/matchLabels";
const POD_LABELS: &str = "spec/template/metadata/labels";
const POD_ANNOTATIONS: &str = "spec/template/metadata/annotations";

const LABELS: [FieldSpec<'static>; 22] = [
    everywhere("metadata/labels"),
    FieldSpec::of("", "Service", "spec/selector", true),
    FieldSpec::of("", "ReplicationController", "spec/selector", true),
    FieldSpec::of("", "ReplicationController", POD_LABELS, true),
    FieldSpec::of_kind("Deployment", SELECTOR, true),
    FieldSpec::of_kind("Deployment", POD_LABELS, true),
    FieldSpec::of_kind("ReplicaSet", SELECTOR, true),
    FieldSpec::of_kind("ReplicaSet", POD_LABELS, true),
    FieldSpec::of_kind("DaemonSet", SELECTOR, true),
    FieldSpec::of_kind("DaemonSet", POD_LABELS, true),
    FieldSpec::of("apps", "StatefulSet", SELECTOR, true),
    FieldSpec::of("apps", "StatefulSet", POD_LABELS, true),
    FieldSpec::of(
        "apps",
        "StatefulSet",
        "spec/volumeClaimTemplates[]/metadata/labels",
        true,
    ),
    FieldSpec::of("batch", "Job", SELECTOR, false),
    FieldSpec::of("batch", "Job", POD_LABELS, true),
    FieldSpec::of(
        "batch",
        "CronJob",
        "spec/jobTemplate/spec/selector/matchLabels",
        false,
    ),
    FieldSpec::of("batch", "CronJob", "spec/jobTemplate/metadata/labels", true),
    FieldSpec::of(
        "batch",
        "CronJob",
        "spec/jobTemplate/spec/template/metadata/labels",
        true,
    ),
    FieldSpec::of("policy", "PodDisruptionBudget", SELECTOR, false),
    FieldSpec::of(
        "networking.k8s.io",
        "NetworkPolicy",
        "spec/podSelector/matchLabels",
        false,
    ),
    FieldSpec::of(
        "networking.k8s.io",
        "NetworkPolicy",
        "spec/ingress/from/podSelector/matchLabels",
        false,
    ),
    FieldSpec::of(
        "networking.k8s.io",
        "NetworkPolicy",
        "spec/egress/to/podSelector/matchLabels",
        false,
    ),
];

const ANNOTATIONS: [FieldSpec<'static>; 9] = [
    everywhere("metadata/annotations"),
    FieldSpec::of("", "ReplicationController", POD_ANNOTATIONS, true),
    FieldSpec::of_kind("Deployment", POD_ANNOTATIONS, true),
    FieldSpec::of_kind("ReplicaSet", POD_ANNOTATIONS, true),
    FieldSpec::of_kind("DaemonSet", POD_ANNOTATIONS, true),
    FieldSpec::of_kind("StatefulSet", POD_ANNOTATIONS, true),
    FieldSpec::of("batch", "Job", POD_ANNOTATIONS, true),
    FieldSpec::of(
        "batch",
        "CronJob",
        "spec/jobTemplate/metadata/annotations",
        true,
    ),
    FieldSpec::of(
        "batch",
        "CronJob",
        "spec/jobTemplate/spec/template/metadata/annotations",
        true,
    ),
];

/// The field for more places, in early versions.
const FIELD: &str = "additionalLabelFields";

/// The kind `Deployment` of TKO is not a workload, and has no pods.
fn is_own(resource: &Value) -> bool {
    super::fields::group(resource).ends_with("nephio.org")
}

pub(super) fn labels(
    list: &mut ResourceList,
    version: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let (wanted, own) = match config(list, "SetLabels")? {
        Config::Data(_, data) => (texts(Some(&Value::Object(data)), "data")?, None),
        Config::Own(own) => (texts(own.get("labels"), "labels")?, Some(own.clone())),
    };
    if version >= FunctionVersion::new(0, 2, 0)
        && own.as_ref().is_some_and(|own| own.get(FIELD).is_some())
    {
        return Err(format!(
            "{FIELD} is deprecated and has no effect from v0.2 on; remove it, or use v0.1"
        ));
    }
    let own = own.unwrap_or_default();
    let mut more = FieldSpec::read(&own, FIELD)?;
    for kind in ["Deployment", "StatefulSet"] {
        more.extend(AFFINITIES.map(|path| FieldSpec::of("apps", kind, path, false)));
    }
    set(list, wanted, &LABELS, &more, "labels", budget)
}

pub(super) fn annotations(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let (wanted, own) = match config(list, "SetAnnotations")? {
        Config::Data(_, data) => (texts(Some(&Value::Object(data)), "data")?, Value::Null),
        Config::Own(own) => (texts(own.get("annotations"), "annotations")?, own.clone()),
    };
    let more = FieldSpec::read(&own, "additionalAnnotationFields")?;
    set(list, wanted, &ANNOTATIONS, &more, "annotations", budget)
}

fn set(
    list: &mut ResourceList,
    mut wanted: Vec<(String, String)>,
    places: &[FieldSpec<'_>],
    more: &[FieldSpec<'_>],
    what: &str,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    if wanted.is_empty() {
        return Err(format!("it has no {what}; expected at least one"));
    }
    wanted.sort();
    let mut count = 0;
    for item in &mut list.items {
        let is_own = is_own(&item.value);
        for place in places.iter().chain(more) {
            // For resources of TKO itself, only the first place applies.
            if !place.selects(&item.value) || place.kind.is_some() && is_own {
                continue;
            }
            place.edit(&mut item.value, &mut |found| {
                // The keys of the path may be new, too.
                if found.is_null() && budget.take(place.path.len()) {
                    *found = Value::Object(Map::new());
                }
                let Value::Object(map) = found else {
                    return;
                };
                for (key, text) in &wanted {
                    let is_new = map.get(key).and_then(Value::as_str) != Some(text.as_str());
                    if is_new && budget.take(key.len() + text.len()) {
                        map.insert(key.clone(), Value::String(text.clone()));
                        count += 1;
                    }
                }
            });
        }
    }
    budget.check()?;
    let message = format!("{what} set, {count} values changed");
    list.results
        .push(FunctionResult::new(Severity::Info, message));
    Ok(())
}
