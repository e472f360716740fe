//! Groups whose kinds are TKO's own.

use tko_core::Gvk;

/// The groups of the kinds that are built in.
pub(crate) const OWN_GROUPS: [&str; 4] = [
    "cluster.nephio.org",
    "deployment.nephio.org",
    "topology.nephio.org",
    "workload.nephio.org",
];

/// Returns true for the groups whose kinds are all TKO's own. Only the metadata group is not
/// listed, because its kinds can have any name.
pub(crate) fn is_own_group(group: &str) -> bool {
    OWN_GROUPS.contains(&group)
}

/// Returns true if resources of this group are inputs that only plugins or schedulers understand.
/// If no source has their schema, they are accepted even if missing schemas are refused.
pub(crate) fn is_free(gvk: &Gvk) -> bool {
    *gvk.group == *"infra.nephio.org"
        || *gvk.group == *"plugin.nephio.org"
        || gvk.group.ends_with(".plugin.nephio.org")
}
