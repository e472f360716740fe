//! File names of schemas, as tools write them.

use tko_core::Gvk;

/// Returns true if the parts of a kind are valid in Kubernetes, and therefore safe in file names
/// and URLs.
pub(super) fn is_nameable(gvk: &Gvk) -> bool {
    let is_plain = |text: &str| {
        !text.contains("..")
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
    };
    is_plain(&gvk.group) && is_plain(&gvk.version) && is_plain(&gvk.kind)
}

/// A file name under which the schema of a kind may be stored.
pub(super) struct CandidateName {
    pub(super) text: String,
    /// Whether kinds of several groups have this name, because it has only the first part of the
    /// group.
    pub(super) is_shared: bool,
}

/// Returns the file names under which a kind's schema may be stored, best first, in lower case.
pub(super) fn candidates(gvk: &Gvk) -> Vec<CandidateName> {
    let (group, version, kind) = parts(gvk);
    let first = group.split('.').next().unwrap_or_default();
    let unique = |text| CandidateName {
        text,
        is_shared: false,
    };
    if group.is_empty() {
        return vec![unique(format!("{kind}-{version}.json"))];
    }
    let mut names = vec![
        unique(format!("{group}/{kind}_{version}.json")),
        CandidateName {
            text: format!("{kind}-{first}-{version}.json"),
            is_shared: true,
        },
    ];
    if first != group {
        names.push(unique(format!("{kind}-{group}-{version}.json")));
    }
    names
}

/// Returns group, version and kind in lower case.
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
    fn kinds_that_could_escape_the_path_are_refused() {
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
    fn file_names_of_common_tools_are_found() {
        let names = |api_version: &str, kind: &str| -> Vec<String> {
            let names = candidates(&Gvk::of(api_version, kind)).into_iter();
            names
                .map(|name| {
                    let mark = if name.is_shared { " (shared)" } else { "" };
                    name.text + mark
                })
                .collect()
        };
        assert_eq!(names("v1", "Service"), ["service-v1.json"]);
        assert_eq!(
            names("apps/v1", "Deployment"),
            [
                "apps/deployment_v1.json",
                "deployment-apps-v1.json (shared)",
            ]
        );
        assert_eq!(
            names("cert-manager.io/v1", "Issuer"),
            [
                "cert-manager.io/issuer_v1.json",
                "issuer-cert-manager-v1.json (shared)",
                "issuer-cert-manager.io-v1.json",
            ]
        );
    }
}
