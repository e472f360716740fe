//! The kind that a JSON Schema states itself.

use serde_json::Value;
use tko_core::Gvk;

/// Returns true if a JSON Schema states that it is not of the group and version of this kind.
///
/// Schemas of Kubernetes state their `apiVersion`, in one of two ways or both. Those that tools
/// make of a `CustomResourceDefinition` do not.
pub(super) fn is_of_another_group(schema: &Value, gvk: &Gvk) -> bool {
    let api_version = gvk.api_version();
    let is_own_version = |stated: &Value| *stated == *api_version;
    let is_own_kind = |kind: &Value| {
        let is = |key: &str, part: &str| kind.get(key).is_some_and(|value| *value == *part);
        is("group", &gvk.group) && is("version", &gvk.version)
    };
    let at = |pointer: &str| schema.pointer(pointer);
    at("/properties/apiVersion/const").is_some_and(|stated| !is_own_version(stated))
        || excludes(at("/properties/apiVersion/enum"), is_own_version)
        || excludes(at("/x-kubernetes-group-version-kind"), is_own_kind)
}

/// Returns true if there is a list that is not empty, and no item of it is the wanted one.
fn excludes(stated: Option<&Value>, is_wanted: impl Fn(&Value) -> bool) -> bool {
    let list = stated.and_then(Value::as_array);
    list.is_some_and(|list| !list.is_empty() && !list.iter().any(is_wanted))
}

#[cfg(test)]
mod tests {
    use super::is_of_another_group;
    use serde_json::json;
    use tko_core::Gvk;

    #[test]
    fn a_schema_that_states_its_group_is_of_no_other() {
        let (apps, other) = (
            Gvk::of("apps/v1", "Deployment"),
            Gvk::of("apps.example.com/v1", "Deployment"),
        );
        for schema in [
            json!({"properties": {"apiVersion": {"type": "string", "enum": ["apps/v1", null]}}}),
            json!({"properties": {"apiVersion": {"const": "apps/v1"}}}),
            json!({"x-kubernetes-group-version-kind": [
                {"group": "extensions", "version": "v1beta1", "kind": "Deployment"},
                {"group": "apps", "version": "v1", "kind": "Deployment"},
            ]}),
        ] {
            assert!(!is_of_another_group(&schema, &apps), "{schema}");
            assert!(is_of_another_group(&schema, &other), "{schema}");
        }
    }

    #[test]
    fn a_schema_that_states_no_group_is_of_any() {
        let other = Gvk::of("apps.example.com/v1", "Deployment");
        for schema in [
            json!({}),
            json!(true),
            json!({"properties": {"apiVersion": {"type": "string"}}}),
            json!({"properties": {"apiVersion": {"enum": []}}}),
            json!({"x-kubernetes-group-version-kind": []}),
        ] {
            assert!(!is_of_another_group(&schema, &other), "{schema}");
        }
    }
}
