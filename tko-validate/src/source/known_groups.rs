//! Groups whose kinds are all known, so that another kind is a mistake.

use super::is_own_group;
use crate::message::nearest;
use tko_core::Gvk;

/// Groups that Kubernetes removed as a whole.
const REMOVED: [&str; 1] = ["extensions"];

/// Returns why a kind does not exist, if its group is one of Kubernetes or of TKO itself.
///
/// `kinds` are those of TKO and of the Kubernetes version in use, `version` is its name.
pub(crate) fn unknown_kind<'a>(
    gvk: &Gvk,
    kinds: impl Iterator<Item = &'a Gvk>,
    version: &str,
) -> Option<String> {
    let known: Vec<&Gvk> = kinds.collect();
    let is_known_group = known.iter().any(|one| one.group == gvk.group);
    if !is_known_group && !REMOVED.contains(&&*gvk.group) {
        return None;
    }
    let whose = if is_own_group(&gvk.group) {
        "TKO".to_owned()
    } else {
        format!("Kubernetes {version}")
    };
    let hint = hint(gvk, &known)
        .map(|hint| format!("; {hint}"))
        .unwrap_or_default();
    Some(format!(
        "{whose} has no kind {} in {}{hint}",
        gvk.kind,
        gvk.api_version()
    ))
}

fn hint(gvk: &Gvk, known: &[&Gvk]) -> Option<String> {
    let of_kind = |in_group: bool| {
        let mut versions: Vec<&Gvk> = known
            .iter()
            .copied()
            .filter(|one| one.kind == gvk.kind && (one.group == gvk.group) == in_group)
            .collect();
        // Released versions first, the newest of them.
        versions.sort_by_key(|one| {
            (
                one.version.contains("alpha"),
                one.version.contains("beta"),
                std::cmp::Reverse(one.version.clone()),
                one.group.clone(),
            )
        });
        versions.first().map(|one| one.api_version())
    };
    if let Some(api_version) = of_kind(true).or_else(|| of_kind(false)) {
        return Some(format!("use apiVersion {api_version}"));
    }
    let in_group = known.iter().filter(|one| one.group == gvk.group);
    let meant = nearest(&gvk.kind, in_group.map(|one| &*one.kind))?;
    Some(format!("did you mean {meant}?"))
}

#[cfg(test)]
mod tests {
    use super::unknown_kind;
    use tko_core::Gvk;

    fn said(api_version: &str, kind: &str) -> Option<String> {
        let known = [
            Gvk::of("apps/v1", "Deployment"),
            Gvk::of("autoscaling/v2", "HorizontalPodAutoscaler"),
            Gvk::of("autoscaling/v1", "HorizontalPodAutoscaler"),
            Gvk::of("v1", "Pod"),
            Gvk::of("topology.nephio.org/v1alpha1", "Placement"),
        ];
        unknown_kind(&Gvk::of(api_version, kind), known.iter(), "1.37")
    }

    #[test]
    fn a_group_that_is_known_has_no_unknown_kinds() {
        for (api_version, kind, message) in [
            (
                "apps/v1",
                "Deploymnet",
                "Kubernetes 1.37 has no kind Deploymnet in apps/v1; did you mean Deployment?",
            ),
            (
                "autoscaling/v2beta2",
                "HorizontalPodAutoscaler",
                "Kubernetes 1.37 has no kind HorizontalPodAutoscaler in autoscaling/v2beta2; use apiVersion autoscaling/v2",
            ),
            (
                "extensions/v1beta1",
                "Deployment",
                "Kubernetes 1.37 has no kind Deployment in extensions/v1beta1; use apiVersion apps/v1",
            ),
            (
                "v1",
                "Deployment",
                "Kubernetes 1.37 has no kind Deployment in v1; use apiVersion apps/v1",
            ),
            ("v1", "Zebra", "Kubernetes 1.37 has no kind Zebra in v1"),
            (
                "topology.nephio.org/v1alpha1",
                "Plaecment",
                "TKO has no kind Plaecment in topology.nephio.org/v1alpha1; did you mean Placement?",
            ),
        ] {
            assert_eq!(said(api_version, kind).as_deref(), Some(message));
        }
        assert_eq!(said("example.com/v1", "Deployment"), None);
    }
}
