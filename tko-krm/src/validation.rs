//! Field validation: unknown fields and wrong types of an object.

use crate::body::FieldValidation;
use crate::desired::check_amounts;
use crate::failure::{KrmAnswer, KrmFailure};
use crate::object::{MAX_DEPTH, depth};
use crate::resource::{API_VERSION, ResourceType};
use crate::schema::schema;
use serde_json::Value;

/// Maximum number of faults that are listed.
const MAX_FAULTS: usize = 100;

/// The faults of an object.
#[derive(Debug, Default)]
struct Faults {
    unknown: Vec<String>,
    types: Vec<String>,
}

/// Checks the type of an object, its depth, its fields, and how much metadata it has. Returns
/// warnings about unknown fields and repeated owners, and removes these.
pub(crate) fn check(
    resource: &'static ResourceType,
    object: &mut Value,
    validation: FieldValidation,
) -> KrmAnswer<Vec<String>> {
    if !object.is_object() {
        return Err(KrmFailure::bad_request("the object is not a map"));
    }
    if depth(object) > MAX_DEPTH {
        return Err(KrmFailure::bad_request(format!(
            "the object is nested more than {MAX_DEPTH} levels deep; nest it less"
        )));
    }
    for (key, expected) in [("apiVersion", API_VERSION), ("kind", resource.name)] {
        match object.get(key).and_then(Value::as_str) {
            Some(value) if value == expected => {}
            // Missing fields are taken from the path.
            None | Some("") => object[key] = expected.into(),
            Some(value) => {
                return Err(KrmFailure::bad_request(format!(
                    "the {key} in the data ({value}) does not match the expected {key} ({expected})"
                )));
            }
        }
    }
    let mut faults = Faults::default();
    walk(object, schema(resource.entity), "", &mut faults);
    if !faults.types.is_empty() {
        return Err(KrmFailure::bad_request(format!(
            "{} in version \"v1alpha1\" cannot be handled as a {}: {}",
            resource.name,
            resource.name,
            faults.types.join(", ")
        )));
    }
    let amounts = check_amounts(object);
    if !amounts.is_empty() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(KrmFailure::invalid(resource, name, amounts));
    }
    let mut warnings: Vec<String> = remove_repeated_owners(object).into_iter().collect();
    match validation {
        FieldValidation::Strict if !faults.unknown.is_empty() => {
            let list: Vec<String> = faults
                .unknown
                .iter()
                .map(|path| format!("unknown field {path:?}"))
                .collect();
            Err(KrmFailure::bad_request(format!(
                "strict decoding error: {}",
                list.join(", ")
            )))
        }
        FieldValidation::Warn => {
            let unknown = faults.unknown.iter();
            warnings.extend(unknown.map(|path| format!("unknown field {path:?}")));
            Ok(warnings)
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(warnings),
    }
}

/// Removes owner references that equal an earlier one, as Kubernetes does. Returns the warning about
/// them; `None` if there are none.
fn remove_repeated_owners(object: &mut Value) -> Option<String> {
    let metadata = object.get_mut("metadata")?;
    let owners = metadata.get_mut("ownerReferences")?.as_array_mut()?;
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut repeated: Vec<String> = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            let uid = owner.get("uid").and_then(Value::as_str);
            repeated.push(uid.unwrap_or_default().to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    (!repeated.is_empty()).then(|| {
        let uids = repeated.join(", ");
        format!("metadata.ownerReferences has entries twice, which are kept once: uid {uids}")
    })
}

fn walk(value: &mut Value, schema: &Value, path: &str, faults: &mut Faults) {
    if value.is_null() {
        return;
    }
    let mut wrong = |expected: &str| {
        if faults.types.len() < MAX_FAULTS {
            let place = if path.is_empty() { "the object" } else { path };
            faults.types.push(format!("{place} is not {expected}"));
        }
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {
            let Value::Object(map) = value else {
                return wrong("a map");
            };
            if let Some(Value::Object(properties)) = schema.get("properties") {
                map.retain(|key, value| {
                    let place = join(path, key);
                    let Some(schema) = properties.get(key) else {
                        if faults.unknown.len() < MAX_FAULTS {
                            faults.unknown.push(place);
                        }
                        return false;
                    };
                    walk(value, schema, &place, faults);
                    true
                });
            } else if let Some(schema) = schema.get("additionalProperties") {
                for (key, value) in map {
                    walk(value, schema, &join(path, key), faults);
                }
            }
        }
        Some("array") => {
            let Value::Array(items) = value else {
                return wrong("a list");
            };
            for (at, item) in items.iter_mut().enumerate() {
                if item.is_null() {
                    faults.types.push(format!("{path}[{at}] is null"));
                    return;
                }
                walk(item, &schema["items"], &format!("{path}[{at}]"), faults);
            }
        }
        Some("string") if !value.is_string() => wrong("text"),
        Some("boolean") if !value.is_boolean() => wrong("a boolean"),
        Some("integer") if !value.is_i64() && !value.is_u64() => wrong("an integer"),
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::body::FieldValidation;
    use crate::object::{MAX_DEPTH, SCHEDULED_FINALIZER};
    use crate::resource::ResourceType;
    use serde_json::{Value, json};
    use tko_core::Kind;

    #[test]
    fn unknown_fields_are_refused_warned_about_or_dropped() {
        let resource = ResourceType::of(Kind::Site);
        let object = json!({"metadata": {"name": "a"}, "spec": {"siteID": "a"}, "x": 1});
        let mut strict = object.clone();
        let refused = check(resource, &mut strict, FieldValidation::Strict).err();
        let message = refused.expect("unknown").to_status()["message"].to_string();
        assert!(
            message.contains("spec.siteID") && message.contains("\\\"x\\\""),
            "{message}"
        );
        let mut lenient = object;
        let warnings = check(resource, &mut lenient, FieldValidation::Warn);
        assert_eq!(warnings.ok().map(|all| all.len()), Some(2));
        assert_eq!(lenient["spec"], json!({}));
        assert_eq!(lenient["kind"], "Site");
    }

    #[test]
    fn an_owner_that_is_given_twice_is_kept_once_with_a_warning() {
        let resource = ResourceType::of(Kind::Site);
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "u-1"});
        let mut other = owner.clone();
        other["controller"] = true.into();
        let owners = [owner.clone(), other.clone(), owner.clone()];
        let mut object = json!({"metadata": {"ownerReferences": owners}});
        let warnings = check(resource, &mut object, FieldValidation::Strict);
        let warnings = warnings.expect("it is valid");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].ends_with("uid u-1"), "{warnings:?}");
        assert_eq!(object["metadata"]["ownerReferences"], json!([owner, other]));
    }

    #[test]
    fn opaque_content_is_not_looked_into_and_types_are_checked() {
        let resource = ResourceType::of(Kind::Template);
        let mut object = json!({"spec": {"package": {"resources": [{"a": {"b": 1}}]}}});
        assert!(check(resource, &mut object, FieldValidation::Strict).is_ok());
        for wrong in [
            json!({"spec": {"package": []}}),
            json!({"spec": {"templateId": 1}}),
            json!({"metadata": {"labels": {"a": 1}}}),
            json!({"metadata": {"finalizers": [null]}}),
            json!({"apiVersion": "v1"}),
        ] {
            let mut object = wrong.clone();
            let refused = check(resource, &mut object, FieldValidation::Ignore);
            assert!(refused.is_err(), "{wrong}");
        }
    }

    #[test]
    fn objects_with_too_much_metadata_are_refused_before_more_is_done_with_it() {
        let resource = ResourceType::of(Kind::Site);
        let finalizers = |count: usize| -> Vec<Value> {
            let names = (0..count).map(|at| format!("example.com/f{at}"));
            names.map(Value::String).collect()
        };
        let owners = |count: usize| -> Vec<Value> {
            let uids = (0..count).map(|at| at.to_string());
            uids.map(|uid| json!({"uid": uid})).collect()
        };
        let annotation = |bytes: usize| json!({"a": "x".repeat(bytes)});
        let mut deleting = finalizers(256);
        deleting.push(SCHEDULED_FINALIZER.into());
        for (field, value, fits) in [
            ("finalizers", json!(finalizers(256)), true),
            ("finalizers", json!(deleting), true),
            ("finalizers", json!(finalizers(257)), false),
            ("ownerReferences", json!(owners(256)), true),
            ("ownerReferences", json!(owners(257)), false),
            ("annotations", annotation((256 << 10) - 1), true),
            ("annotations", annotation(256 << 10), false),
        ] {
            let mut object = json!({"metadata": {field: value}});
            match check(resource, &mut object, FieldValidation::Ignore) {
                Ok(_) => assert!(fits, "{field}"),
                Err(failure) => {
                    let status = failure.to_status();
                    assert!(!fits && status["code"] == 422, "{field}: {status}");
                    let cause = &status["details"]["causes"][0]["field"];
                    assert_eq!(*cause, format!("metadata.{field}"));
                }
            }
        }
    }

    #[test]
    fn objects_are_refused_that_readers_could_not_read_back() {
        let resource = ResourceType::of(Kind::Template);
        for (levels, fits) in [(MAX_DEPTH - 4, true), (MAX_DEPTH - 3, false)] {
            let nested = (0..levels).fold(Value::Null, |inner, _| json!({"a": inner}));
            let mut object = json!({"spec": {"package": {"resources": [nested]}}});
            let checked = check(resource, &mut object, FieldValidation::Strict);
            assert_eq!(checked.is_ok(), fits, "{levels} levels");
        }
    }
}
