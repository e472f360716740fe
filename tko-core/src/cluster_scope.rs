//! The built-in kinds of Kubernetes that have no namespace.
//!
//! The source is the list of resources of an API server, in all versions from 1.25 to 1.37. The
//! definition of a custom kind contains its scope.

use crate::resource::Gvk;

/// Whether a built-in kind of Kubernetes is cluster-scoped, in any version of its group.
pub fn is_cluster_scoped(gvk: &Gvk) -> bool {
    let kinds: &[&str] = match &*gvk.group {
        "" => &["ComponentStatus", "Namespace", "Node", "PersistentVolume"],
        "admissionregistration.k8s.io" => &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
        "apiextensions.k8s.io" => &["CustomResourceDefinition"],
        "apiregistration.k8s.io" => &["APIService"],
        "authentication.k8s.io" => &["SelfSubjectReview", "TokenReview"],
        "authorization.k8s.io" => &[
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
        "certificates.k8s.io" => &["CertificateSigningRequest", "ClusterTrustBundle"],
        "flowcontrol.apiserver.k8s.io" => &["FlowSchema", "PriorityLevelConfiguration"],
        "internal.apiserver.k8s.io" => &["StorageVersion"],
        "networking.k8s.io" => &["ClusterCIDR", "IPAddress", "IngressClass", "ServiceCIDR"],
        "node.k8s.io" => &["RuntimeClass"],
        "policy" => &["PodSecurityPolicy"],
        "rbac.authorization.k8s.io" => &["ClusterRole", "ClusterRoleBinding"],
        "resource.k8s.io" => &["DeviceClass", "DeviceTaintRule", "ResourceSlice"],
        "scheduling.k8s.io" => &["PriorityClass"],
        "storage.k8s.io" => &[
            "CSIDriver",
            "CSINode",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
        "storagemigration.k8s.io" => &["StorageVersionMigration"],
        _ => &[],
    };
    kinds.contains(&&*gvk.kind)
}

#[cfg(test)]
mod tests {
    use super::is_cluster_scoped;
    use crate::resource::Gvk;

    #[test]
    fn built_in_kinds_have_their_scope() {
        for (api_version, kind, expected) in [
            ("v1", "Namespace", true),
            ("v1", "ConfigMap", false),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", true),
            ("rbac.authorization.k8s.io/v1", "Role", false),
            ("storage.k8s.io/v1", "CSIStorageCapacity", false),
            ("authorization.k8s.io/v1", "LocalSubjectAccessReview", false),
            ("example.com/v1", "Namespace", false),
        ] {
            assert_eq!(
                is_cluster_scoped(&Gvk::of(api_version, kind)),
                expected,
                "{kind}"
            );
        }
    }
}
