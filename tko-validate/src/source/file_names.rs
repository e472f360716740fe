//! How tools name the files of schemas.

use tko_core::Gvk;

/// Whether the parts of a kind are such as Kubernetes allows, so that they can be put into names
/// of files and addresses.
pub(super) fn is_nameable(gvk: &Gvk) -> bool {
    let is_plain = |text: &str| {
        !text.contains("..")
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    is_plain(&gvk.group) && is_plain(&gvk.version) && is_plain(&gvk.kind)
}

/// The names under which a kind's schema may be found in a folder, best first, in lower case.
pub(super) fn candidates(gvk: &Gvk) -> Vec<String> {
    let (group, version, kind) = parts(gvk);
    let first = group.split('.').next().unwrap_or_default();
    if group.is_empty() {
        return vec![format!("{kind}-{version}.json")];
    }
    vec![
        format!("{group}/{kind}_{version}.json"),
        format!("{kind}-{first}-{version}.json"),
        format!("{kind}-{group}-{version}.json"),
    ]
}

/// Group, version and kind, in lower case.
pub(super) fn parts(gvk: &Gvk) -> (String, String, String) {
    (
        gvk.group.to_lowercase(),
        gvk.version.to_lowercase(),
        gvk.kind.to_lowercase(),
    )
}

#[cfg(test)]
mod tests {
    use super::{candidates, is_nameable};
    use tko_core::Gvk;

    #[test]
    fn kinds_that_could_lead_elsewhere_are_not_nameable() {
        assert!(is_nameable(&Gvk::of("cert-manager.io/v1", "Issuer")));
        for (api_version, kind) in [
            ("..%2f/v1", "A"),
            ("a/v1", "../../etc"),
            ("a/v1", "x?y"),
            ("a..b/v1", "A"),
        ] {
            assert!(
                !is_nameable(&Gvk::of(api_version, kind)),
                "{api_version} {kind}"
            );
        }
    }

    #[test]
    fn files_are_looked_for_under_the_names_that_tools_give() {
        assert_eq!(candidates(&Gvk::of("v1", "Service")), ["service-v1.json"]);
        assert_eq!(
            candidates(&Gvk::of("cert-manager.io/v1", "Issuer")),
            [
                "cert-manager.io/issuer_v1.json",
                "issuer-cert-manager-v1.json",
                "issuer-cert-manager.io-v1.json",
            ]
        );
    }
}
