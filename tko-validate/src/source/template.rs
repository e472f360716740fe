//! URL templates.

use super::file_names::parts;
use crate::version::KubernetesVersion;
use tko_core::{Error, Gvk, Result};

/// A kubeconform template: text with variables such as `{{.ResourceKind}}`.
#[derive(Clone, Debug)]
pub(super) struct TemplateText(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Copy, Debug)]
enum Variable {
    NormalizedKubernetesVersion,
    StrictSuffix,
    ResourceKind,
    ResourceAPIVersion,
    Group,
    KindSuffix,
}

impl Variable {
    const ALL: [(&'static str, Self); 6] = [
        (
            "NormalizedKubernetesVersion",
            Self::NormalizedKubernetesVersion,
        ),
        ("StrictSuffix", Self::StrictSuffix),
        ("ResourceKind", Self::ResourceKind),
        ("ResourceAPIVersion", Self::ResourceAPIVersion),
        ("Group", Self::Group),
        ("KindSuffix", Self::KindSuffix),
    ];
}

impl TemplateText {
    /// Parses a template.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: an unknown variable, or an unclosed brace.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = |what: &str| {
            let known: Vec<String> = Variable::ALL
                .iter()
                .map(|(name, _)| format!("{{{{.{name}}}}}"))
                .collect();
            let known = known.join(" ");
            Error::bad(
                "schema location",
                format!("{text}: {what}; the variables are {known}"),
            )
        };
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            pieces.push(Piece::Text(before.to_owned()));
            let Some((name, after)) = after.split_once("}}") else {
                return Err(bad("a {{ without }}"));
            };
            let name = name.trim().trim_start_matches('.');
            let known = Variable::ALL.iter().find(|(known, _)| *known == name);
            let Some((_, variable)) = known else {
                return Err(bad(&format!("unknown variable {name}")));
            };
            pieces.push(Piece::Variable(*variable));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Returns the URL at which the schema of a kind would be.
    pub(super) fn expand(&self, gvk: &Gvk, kubernetes: KubernetesVersion) -> String {
        let (group, version, kind) = parts(gvk);
        let first = group.split('.').next().unwrap_or_default();
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(fixed) => fixed.clone(),
                Piece::Variable(Variable::NormalizedKubernetesVersion) => format!("v{kubernetes}"),
                Piece::Variable(Variable::StrictSuffix) => "-strict".to_owned(),
                Piece::Variable(Variable::ResourceKind) => kind.clone(),
                Piece::Variable(Variable::ResourceAPIVersion) => version.clone(),
                Piece::Variable(Variable::Group) => group.clone(),
                Piece::Variable(Variable::KindSuffix) if group.is_empty() => format!("-{version}"),
                Piece::Variable(Variable::KindSuffix) => format!("-{first}-{version}"),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::TemplateText;
    use tko_core::Gvk;

    fn expanded(template: &str, gvk: &Gvk) -> String {
        TemplateText::parse(template)
            .expect("a template")
            .expand(gvk, "1.31".parse().expect("a version"))
    }

    #[test]
    fn templates_expand_as_in_kubeconform() {
        let default = "https://h/{{ .NormalizedKubernetesVersion }}-standalone{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json";
        assert_eq!(
            expanded(default, &Gvk::of("networking.k8s.io/v1", "NetworkPolicy")),
            "https://h/v1.31.0-standalone-strict/networkpolicy-networking-v1.json"
        );
        assert_eq!(
            expanded(default, &Gvk::of("v1", "Service")),
            "https://h/v1.31.0-standalone-strict/service-v1.json"
        );
        assert_eq!(
            expanded(
                "https://h/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json",
                &Gvk::of("cert-manager.io/v1", "Issuer")
            ),
            "https://h/cert-manager.io/issuer_v1.json"
        );
    }

    #[test]
    fn errors_in_url_templates_list_the_variables() {
        for bad in ["x/{{.Kind}}", "x/{{.Group"] {
            let error = TemplateText::parse(bad).expect_err("bad").to_string();
            assert!(error.contains("{{.ResourceKind}}"), "{error}");
        }
    }
}
