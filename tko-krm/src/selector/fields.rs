//! Field selectors: the name, and the facts by which TKO can select.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::names::{self, Named};
use crate::stored::NAME;
use std::str::FromStr;
use tko_core::{
    DeploymentId, Facts, Key, Kind, Pattern, PluginType, Record, Select, SiteId, TemplateId,
    kubernetes_name,
};

/// Maximum number of requirements of a selector.
const MAX_REQUIREMENTS: usize = 64;

const METADATA_NAME: &str = "metadata.name";
const METADATA_NAMESPACE: &str = "metadata.namespace";

/// The fields by which objects of a kind can be selected, besides their name.
fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Template => &["spec.templateId"],
        Kind::Site => &["spec.siteId", "spec.templateId"],
        Kind::Deployment => &[
            "spec.deploymentId",
            "spec.parentDeploymentId",
            "spec.templateId",
            "spec.siteId",
            "status.prepared",
            "status.approved",
        ],
        Kind::Plugin => &["spec.type", "spec.pluginId", "spec.executor"],
    }
}

/// A field selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FieldSelector(Vec<FieldRequirement>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FieldRequirement {
    field: &'static str,
    value: String,
    equal: bool,
    /// For a name with `*`: the pattern for ids.
    like: Option<Pattern>,
}

impl FieldSelector {
    pub(super) fn parse(kind: Kind, text: &str) -> KrmAnswer<Self> {
        let mut all = Vec::new();
        for term in split(text) {
            if term.trim().is_empty() {
                continue;
            }
            let (name, value, equal) = if let Some((name, value)) = term.split_once("!=") {
                (name, value, false)
            } else if let Some((name, value)) = term.split_once("==") {
                (name, value, true)
            } else if let Some((name, value)) = term.split_once('=') {
                (name, value, true)
            } else {
                return Err(KrmFailure::bad_request(format!(
                    "invalid field selector {text:?}: {term:?} has no operator"
                )));
            };
            let name = name.trim();
            let field = [METADATA_NAME, METADATA_NAMESPACE]
                .iter()
                .chain(fields(kind))
                .find(|field| **field == name)
                .ok_or_else(|| {
                    KrmFailure::bad_request(format!(
                        "field label not supported: {name:?}; expected {METADATA_NAME}, {}",
                        fields(kind).join(", ")
                    ))
                })?;
            let value = unescaped(value);
            let like = like(kind, field, &value)?;
            all.push(FieldRequirement {
                field,
                value,
                equal,
                like,
            });
            if all.len() > MAX_REQUIREMENTS {
                return Err(KrmFailure::bad_request(format!(
                    "a field selector has at most {MAX_REQUIREMENTS} requirements"
                )));
            }
        }
        Ok(Self(all))
    }

    pub(super) fn require_name(&mut self, name: &str) {
        self.0.push(FieldRequirement {
            field: METADATA_NAME,
            value: name.to_owned(),
            equal: true,
            like: None,
        });
    }

    /// Whether it selects by a field that can change.
    pub(super) fn can_change(&self) -> bool {
        let fixed = [
            METADATA_NAME,
            METADATA_NAMESPACE,
            "spec.type",
            "spec.pluginId",
        ];
        self.0.iter().any(|one| !fixed.contains(&one.field))
    }

    pub(super) fn matches(&self, record: &Record) -> bool {
        self.0.iter().all(|one| {
            let matches = match &one.like {
                Some(pattern) => pattern.matches(record.entity.key.id()),
                None => value(record, one.field) == one.value,
            };
            matches == one.equal
        })
    }

    /// Adds the requirements that TKO can answer by an index; `None` if nothing can match.
    pub(super) fn narrow(&self, kind: Kind, mut select: Select) -> Option<Select> {
        for one in self.0.iter().filter(|one| one.equal) {
            let value = one.value.as_str();
            select = match one.field {
                METADATA_NAME => match (&one.like, names::named(kind, value)) {
                    (Some(pattern), _) => select.id(pattern.clone()),
                    (None, Ok(Named::Alias)) => select.metadata(NAME, Pattern::literal(value)),
                    (None, Ok(Named::Key(Key::Plugin(id)))) => select
                        .plugin_type(id.plugin_type())
                        .id(Pattern::literal(id.name())),
                    (None, Ok(Named::Key(key))) => select.id(Pattern::literal(key.id())),
                    (None, Err(_)) => return None,
                },
                "spec.templateId" if kind != Kind::Template && !value.is_empty() => {
                    select.template_id(Pattern::literal(value))
                }
                "spec.siteId" if kind == Kind::Deployment && !value.is_empty() => {
                    select.site_id(Pattern::literal(value))
                }
                "spec.templateId" | "spec.siteId" | "spec.deploymentId" if !value.is_empty() => {
                    select.id(Pattern::literal(value))
                }
                "spec.parentDeploymentId" if !value.is_empty() => {
                    select.parent(DeploymentId::new(value).ok()?)
                }
                "status.prepared" => select.prepared(bool::from_str(value).ok()?),
                "status.approved" => select.approved(bool::from_str(value).ok()?),
                "spec.type" => select.plugin_type(PluginType::from_str(value).ok()?),
                "spec.executor" => select.executor(value.to_owned()),
                _ => select,
            };
        }
        Some(select)
    }
}

/// The pattern for ids that a name with `*` stands for; only templates and sites support it.
fn like(kind: Kind, field: &str, value: &str) -> KrmAnswer<Option<Pattern>> {
    let takes = field == METADATA_NAME && matches!(kind, Kind::Template | Kind::Site);
    if !takes || !value.contains('*') {
        return Ok(None);
    }
    let pieces = value
        .split('*')
        .map(|piece| kubernetes_name::decode(piece).map(|piece| piece.replace('\\', "\\\\")))
        .collect::<tko_core::Result<Vec<_>>>();
    let pattern = pieces
        .map_err(|error| error.to_string())
        .and_then(|pieces| Pattern::id(&pieces.join("*")).map_err(|error| error.to_string()));
    match pattern {
        Ok(pattern) => Ok(Some(pattern)),
        Err(error) => Err(KrmFailure::bad_request(format!("{field}: {error}"))),
    }
}

/// The value of a field; empty if it has none.
fn value(record: &Record, field: &str) -> String {
    let entity = &*record.entity;
    let deployment = entity.deployment();
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    match (field, &entity.key, &entity.facts) {
        (METADATA_NAME, key, _) => names::name_of(key, &entity.given),
        ("spec.templateId", Key::Template(id), _) => id.as_str().to_owned(),
        ("spec.templateId", ..) => text(entity.template().map(TemplateId::as_str)),
        ("spec.siteId", Key::Site(id), _) => id.as_str().to_owned(),
        ("spec.siteId", ..) => text(deployment.and_then(|d| d.site.as_ref()).map(SiteId::as_str)),
        ("spec.deploymentId", key, _) => key.id().to_owned(),
        ("spec.parentDeploymentId", ..) => text(
            deployment
                .and_then(|d| d.parent.as_ref())
                .map(DeploymentId::as_str),
        ),
        ("status.prepared", ..) => deployment.is_some_and(|d| d.prepared).to_string(),
        ("status.approved", ..) => deployment.is_some_and(|d| d.approved).to_string(),
        ("spec.type", Key::Plugin(id), _) => id.plugin_type().as_str().to_owned(),
        ("spec.pluginId", Key::Plugin(id), _) => id.name().to_owned(),
        ("spec.executor", _, Facts::Plugin(plugin)) => plugin.executor.clone(),
        _ => String::new(),
    }
}

/// Splits at commas that no backslash precedes.
fn split(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            ',' if !escaped => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            '\\' => {
                escaped = !escaped;
                continue;
            }
            _ => {}
        }
        escaped = false;
    }
    terms.push(&text[start..]);
    terms
}

/// Removes the backslashes that escape a comma, an equals sign or a backslash.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, rest.peek()) {
            ('\\', Some(',' | '=' | '\\')) => plain.extend(rest.next()),
            _ => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{FieldSelector, split, unescaped};
    use tko_core::{Entity, Facts, Key, Kind, Record, Select};

    fn site(id: &str) -> Record {
        let key = Key::new(Kind::Site, id).expect("an id");
        Record::new(Entity::new(key, Facts::empty(Kind::Site)))
    }

    #[test]
    fn names_are_compared_and_may_have_wildcards() {
        let record = site("india/south-100");
        for (selector, expected) in [
            ("metadata.name=india-002fsouth-002d100", true),
            ("metadata.name!=india-002fsouth-002d100", false),
            ("metadata.name=other", false),
            ("metadata.name=india-002f*", true),
            ("metadata.name=*", false),
            ("metadata.name=**", true),
            ("spec.siteId=india/south-100,metadata.namespace=", true),
            ("spec.templateId=", true),
        ] {
            let parsed = FieldSelector::parse(Kind::Site, selector).expect("well formed");
            assert_eq!(parsed.matches(&record), expected, "{selector}");
            let narrowed = parsed.narrow(Kind::Site, Select::all(Kind::Site));
            let found = narrowed.is_some_and(|select| select.matches(&record.entity));
            assert!(found || !expected, "{selector}: narrowing must not lose it");
        }
    }

    #[test]
    fn other_fields_are_refused() {
        assert!(FieldSelector::parse(Kind::Site, "status.prepared=true").is_err());
        assert!(FieldSelector::parse(Kind::Site, "metadata.name").is_err());
    }

    #[test]
    fn escaped_characters_are_part_of_the_value() {
        assert_eq!(split(r"a=b\,c,d"), [r"a=b\,c", "d"]);
        assert_eq!(unescaped(r"b\,c\\d\e"), r"b,c\d\e");
    }
}
