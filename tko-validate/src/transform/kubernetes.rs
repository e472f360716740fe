//! Facts that the published Kubernetes definitions omit.

use super::Keywords;
use crate::source::is_own_group;
use serde_json::{Value, json};
use std::sync::LazyLock;
use tko_core::Gvk;

/// Allowed values of well-known properties, by definition: the `OpenAPI` v2 documents behind the
/// definitions have no enumerations.
static ENUMERATIONS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schemas/enumerations.json"))
        .expect("the enumerations that are built in are JSON")
});

/// Name of the definition of every resource's `metadata`.
pub(crate) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// Ranges, formats and unique keys that API servers check in code, by definition and property.
static CONSTRAINTS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../schemas/constraints.json"))
        .expect("the constraints that are built in are JSON")
});

/// Adds facts that are not published to a Kubernetes definition. Definitions accept null, as API
/// servers do wherever a definition is referred to.
pub(crate) fn amend_definition(name: &str, definition: &mut Value) {
    match name {
        QUANTITY => {
            *definition = json!({"type": ["string", "number", "null"], "format": "tko:quantity"});
        }
        INT_OR_STRING => *definition = json!({"type": ["integer", "string", "null"]}),
        _ => {
            if name == OBJECT_META {
                amend_object_meta(definition);
            }
            if let Value::Object(keywords) = definition {
                add_enumerations(name, keywords);
                add_constraints(name, keywords);
            }
        }
    }
    super::accept_null(definition);
}

/// Annotation values are strings, but TKO's own may be unquoted in YAML (`true`, `1`).
fn amend_object_meta(definition: &mut Value) {
    if let Some(annotations) = definition.pointer_mut("/properties/annotations") {
        *annotations = json!({
            "type": ["object", "null"],
            "propertyNames": {"format": "tko:qualified-name"},
            "patternProperties": {r"^nephio\.org/": {"type": ["string", "boolean", "number", "null"]}},
            "additionalProperties": {"type": ["string", "null"]},
        });
    }
}

/// Adds enumerations to properties; a list gets the enumeration for its items. The empty string is
/// always allowed, because API servers treat it as "not set".
fn add_enumerations(name: &str, keywords: &mut Keywords) {
    let Some(Value::Object(by_property)) = ENUMERATIONS.get(name) else {
        return;
    };
    for (property, values) in by_property {
        let Some(schema) = keywords
            .get_mut("properties")
            .and_then(|properties| properties.get_mut(property))
        else {
            continue;
        };
        let target = match schema.get("items") {
            Some(_) => schema.get_mut("items"),
            None => Some(schema),
        };
        if let (Some(Value::Object(target)), Value::Array(values)) = (target, values) {
            let mut values = values.clone();
            values.extend([json!(""), Value::Null]);
            target.insert("enum".to_owned(), Value::Array(values));
        }
    }
}

/// Adds constraints to the properties that the definition has.
fn add_constraints(name: &str, keywords: &mut Keywords) {
    let (Some(Value::Object(by_property)), Some(Value::Object(properties))) =
        (CONSTRAINTS.get(name), keywords.get_mut("properties"))
    else {
        return;
    };
    for (property, constraint) in by_property {
        if let Some(schema) = properties.get_mut(property) {
            overlay(schema, constraint);
        }
    }
}

/// Merges maps deeply; other values replace.
fn overlay(schema: &mut Value, constraint: &Value) {
    match (schema, constraint) {
        (Value::Object(schema), Value::Object(constraint)) => {
            for (keyword, value) in constraint {
                overlay(schema.entry(keyword.clone()).or_insert(Value::Null), value);
            }
        }
        (schema, constraint) => *schema = constraint.clone(),
    }
}

/// Returns the format of the names of a kind.
fn name_format(gvk: &Gvk) -> Option<&'static str> {
    if is_own_group(&gvk.group) || gvk.group.ends_with(".nephio.org") {
        return None;
    }
    Some(match (&*gvk.group, &*gvk.kind) {
        ("", "Service") => "tko:dns-1035",
        ("", "Namespace") => "tko:dns-label",
        ("batch", "CronJob") => "tko:cron-job-name",
        ("rbac.authorization.k8s.io" | "apiregistration.k8s.io", _)
        | ("certificates.k8s.io", "ClusterTrustBundle") => "tko:path-segment",
        _ => "tko:dns-subdomain",
    })
}

/// Returns the rules that make a schema one of this kind: apiVersion and kind are fixed, and
/// metadata has a name.
///
/// A partial resource may have any name: it may be a placeholder such as `_`, which
/// `nephio.org/rename` or a preparer replaces.
pub(crate) fn identity(gvk: &Gvk, complete: bool) -> Keywords {
    let mut schema = json!({
        "type": "object",
        "properties": {
            "apiVersion": {"const": gvk.api_version()},
            "kind": {"const": *gvk.kind},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    });
    if complete {
        if let Some(format) = name_format(gvk) {
            schema["properties"]["metadata"]["properties"]["name"]["format"] = json!(format);
        }
        schema["required"] = json!(["apiVersion", "kind", "metadata"]);
        schema["properties"]["metadata"]["required"] = json!(["name"]);
    }
    match schema {
        Value::Object(keywords) => keywords,
        _ => Keywords::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{CONSTRAINTS, ENUMERATIONS, OBJECT_META, QUANTITY, amend_definition, identity};
    use crate::definitions::Definitions;
    use crate::version::KubernetesVersion;
    use serde_json::json;
    use tko_core::Gvk;

    #[test]
    fn quantities_are_numbers_or_strings_in_the_quantity_format() {
        let mut definition = json!({"type": "string"});
        amend_definition(QUANTITY, &mut definition);
        let validator = crate::compiled::options()
            .build(&definition)
            .expect("a schema");
        for good in [
            json!("500m"),
            json!("1.5Gi"),
            json!("-1e3"),
            json!(2),
            json!(0.5),
            json!(null),
        ] {
            assert!(validator.is_valid(&good), "{good}");
        }
        for bad in [
            json!("lots"),
            json!(""),
            json!("1 Gi"),
            json!(true),
            json!([]),
        ] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
    }

    #[test]
    fn only_tko_annotations_may_be_unquoted() {
        let mut definition = json!({"type": "object", "properties": {"annotations": {}}});
        amend_definition(OBJECT_META, &mut definition);
        let validator = jsonschema::validator_for(&definition).expect("a schema");
        assert!(
            validator.is_valid(&json!({"annotations": {"nephio.org/prepared": true, "a": "b"}}))
        );
        assert!(!validator.is_valid(&json!({"annotations": {"a": true}})));
        assert!(!validator.is_valid(&json!({"annotations": {"nephio.org/prepared": {}}})));
    }

    #[test]
    fn the_identity_of_a_partial_resource_may_be_missing_but_not_wrong() {
        let gvk = Gvk::of("apps/v1", "Deployment");
        for complete in [true, false] {
            let schema = identity(&gvk, complete).into_iter().collect();
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            assert_eq!(validator.is_valid(&json!({})), !complete);
            assert!(!validator.is_valid(
                &json!({"apiVersion": "v1", "kind": "Deployment", "metadata": {"name": "a"}})
            ));
            assert!(validator.is_valid(
                &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}})
            ));
        }
    }

    /// A misspelled name would silently check nothing.
    #[test]
    fn every_enumeration_and_constraint_belongs_to_an_existing_property() {
        let versions: Vec<_> = KubernetesVersion::built_in()
            .into_iter()
            .map(|version| Definitions::built_in(version).expect("built in"))
            .collect();
        let [enumerations, constraints] =
            [&ENUMERATIONS, &CONSTRAINTS].map(|facts| facts.as_object().expect("a map"));
        for (name, properties) in enumerations.iter().chain(constraints) {
            for property in properties.as_object().expect("a map").keys() {
                assert!(
                    versions
                        .iter()
                        .any(
                            |definitions| definitions.get(name).is_some_and(|definition| {
                                definition["properties"].get(property).is_some()
                            })
                        ),
                    "{name}.{property}"
                );
            }
        }
    }
}
