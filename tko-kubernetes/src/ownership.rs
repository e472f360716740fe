//! Whether an object in a cluster is still in the applied state.
//!
//! The API server records who owns which field (`metadata.managedFields`). When another program
//! changes or removes a field of TKO's, TKO's record loses the field. So an object is unchanged if
//! it has the hash of the desired state, and TKO's record still has each of its fields. Values are
//! not compared: defaults and other notations of quantities would make the comparison wrong.

use crate::client::MANAGER;
use serde_json::{Map, Value};

/// The annotation with the hash of the applied state.
pub(crate) const HASH: &str = "tko.nephio.org/applied";

/// Whether the object was applied with this hash.
pub(crate) fn has_hash(live: &Value, hash: &str) -> bool {
    let annotations = live.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(HASH))
        .and_then(Value::as_str)
        == Some(hash)
}

/// Whether TKO owns each field of `applied` in the object.
pub(crate) fn owns(live: &Value, applied: &Value) -> bool {
    let Some(fields) = own_fields(live).and_then(Value::as_object) else {
        return false;
    };
    let Some(applied) = applied.as_object() else {
        return false;
    };
    applied.iter().all(|(name, value)| match name.as_str() {
        // These are never recorded.
        "apiVersion" | "kind" => true,
        "metadata" => value.as_object().is_none_or(|metadata| {
            let recorded = fields.get("f:metadata").and_then(Value::as_object);
            let mut kept = metadata.iter();
            kept.all(|(name, value)| {
                matches!(name.as_str(), "name" | "namespace")
                    || recorded.is_some_and(|recorded| owns_field(recorded, name, value))
            })
        }),
        name => owns_field(fields, name, value),
    })
}

/// The fields of an object that TKO owns, as the API server records them.
pub(crate) fn own_fields(live: &Value) -> Option<&Value> {
    let records = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let ours = records.into_iter().flatten().find(|record| {
        record["manager"] == MANAGER
            && record["operation"] == "Apply"
            && record.get("subresource").is_none_or(|name| name == "")
    });
    ours?.get("fieldsV1")
}

fn owns_field(fields: &Map<String, Value>, name: &str, value: &Value) -> bool {
    match fields.get(&format!("f:{name}")).and_then(Value::as_object) {
        Some(inner) => owns_value(inner, value),
        None => is_nothing(value),
    }
}

/// `fields` has the owned parts of the value; if it is empty, the value is owned as a whole.
fn owns_value(fields: &Map<String, Value>, value: &Value) -> bool {
    if fields.is_empty() {
        return true;
    }
    match value {
        Value::Object(map) => map
            .iter()
            .all(|(name, value)| owns_field(fields, name, value)),
        Value::Array(items) => items.iter().all(|item| owns_item(fields, item)),
        _ => true,
    }
}

fn owns_item(fields: &Map<String, Value>, item: &Value) -> bool {
    fields.iter().any(|(path, inner)| {
        if let Some(text) = path.strip_prefix("v:") {
            return serde_json::from_str::<Value>(text).is_ok_and(|value| value == *item);
        }
        let Some(text) = path.strip_prefix("k:") else {
            return false;
        };
        let Ok(Value::Object(key)) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        // If the item lacks a part of the key, that part has its default, such as the protocol of a
        // port.
        let is_this = key
            .iter()
            .all(|(name, value)| item.get(name).is_none_or(|own| own == value));
        let inner = inner.as_object();
        is_this && inner.is_some_and(|inner| owns_value(inner, item))
    })
}

/// Values whose ownership is not recorded reliably.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty() || map.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{HASH, has_hash, owns};
    use serde_json::{Value, json};

    fn applied() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}, "annotations": {}},
            "spec": {
                "paused": null,
                "template": {"spec": {"containers": [{
                    "name": "main", "image": "x", "args": ["-v", "1"],
                    "ports": [{"containerPort": 80}],
                    "env": [{"name": "A", "value": "1"}],
                }]}},
            },
        })
    }

    fn live(fields: &Value) -> Value {
        json!({"metadata": {
            "annotations": {HASH: "h"},
            "managedFields": [
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {}},
                {"manager": "tko", "operation": "Apply", "subresource": "status", "fieldsV1": {}},
                {"manager": "tko", "operation": "Apply", "fieldsV1": fields},
            ],
        }})
    }

    fn recorded() -> Value {
        json!({
            "f:metadata": {"f:labels": {"f:app": {}}, "f:annotations": {}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"main\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}},
                },
            }}}},
        })
    }

    #[test]
    fn an_object_with_all_our_fields_is_unchanged() {
        let live = live(&recorded());
        assert!(owns(&live, &applied()));
        assert!(has_hash(&live, "h") && !has_hash(&live, "other"));
    }

    #[test]
    fn a_field_that_another_took_is_a_change() {
        for path in [
            "/f:metadata/f:labels/f:app",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}/f:image",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}/f:env/k:{\"name\":\"A\"}/f:value",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"main\"}",
        ] {
            let (parent, field) = path.rsplit_once('/').expect("a path");
            let mut fields = recorded();
            let parent = fields.pointer_mut(parent).and_then(Value::as_object_mut);
            // A record without any field would mean the whole.
            let parent = parent.expect("it is there");
            parent.remove(field).expect("it is there");
            parent.insert("f:other".to_owned(), json!({}));
            assert!(!owns(&live(&fields), &applied()), "{path}");
        }
    }

    #[test]
    fn an_object_without_our_record_is_a_change() {
        assert!(!owns(&json!({"metadata": {}}), &applied()));
        assert!(!owns(
            &json!({"metadata": {"managedFields": "?"}}),
            &applied()
        ));
    }

    #[test]
    fn items_of_sets_are_found_by_value() {
        let live = live(&json!({"f:metadata": {"f:finalizers": {"v:\"x\"": {}}}}));
        let with = |items: Value| json!({"metadata": {"finalizers": items}});
        assert!(owns(&live, &with(json!(["x"]))));
        assert!(!owns(&live, &with(json!(["x", "y"]))));
    }
}
