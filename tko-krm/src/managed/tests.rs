use super::{Applied, FieldSet, Manager, apply, parse, recorded, same, trimmed, updated};
use crate::schema::schema;
use proptest::prelude::*;
use serde_json::{Value, json};
use tko_core::Kind;

/// An object with its managers.
#[derive(Clone, Debug, Default)]
struct Live {
    object: Option<Value>,
    managers: Vec<Manager>,
}

impl Live {
    fn apply(&mut self, name: &str, force: bool, config: &Value) -> Result<(), Vec<String>> {
        let applied = apply(
            self.object.as_ref(),
            &trimmed(config),
            schema(Kind::Plugin),
            &self.managers,
            (name, force),
            &FieldSet::default(),
            "now",
        );
        match applied {
            Ok(Applied { object, managers }) => {
                self.object = Some(object);
                self.managers = managers;
                Ok(())
            }
            Err(conflicts) => Err(conflicts
                .into_iter()
                .map(|conflict| format!("{} {}", conflict.manager, conflict.field))
                .collect()),
        }
    }

    fn update(&mut self, name: &str, new: &Value) {
        let old = self.object.clone().unwrap_or_else(super::empty);
        let new = trimmed(new);
        let managers = std::mem::take(&mut self.managers);
        self.managers = updated(&old, &new, schema(Kind::Plugin), managers, name, "now");
        self.object = Some(new);
    }

    fn fields_of(&self, name: &str) -> String {
        let manager = self.managers.iter().find(|manager| manager.name == name);
        manager.map_or_else(String::new, |manager| manager.fields.to_value().to_string())
    }
}

fn plugin(labels: &Value, spec: &Value) -> Value {
    json!({"metadata": {"name": "x", "uid": "u", "labels": labels}, "spec": spec})
}

#[test]
fn fields_that_the_manager_leaves_out_are_removed() {
    let mut live = Live::default();
    live.apply(
        "a",
        false,
        &plugin(
            &json!({"x": "1", "y": "2"}),
            &json!({"executor": "command"}),
        ),
    )
    .expect("nothing is there");
    assert_eq!(
        live.fields_of("a"),
        r#"{"f:metadata":{"f:labels":{"f:x":{},"f:y":{}}},"f:spec":{"f:executor":{}}}"#
    );
    live.apply(
        "a",
        false,
        &plugin(&json!({"x": "1"}), &json!({"executor": "command"})),
    )
    .expect("its own field");
    let object = live.object.clone().expect("applied");
    assert_eq!(object["metadata"]["labels"], json!({"x": "1"}));
    let before = live.clone();
    live.apply(
        "a",
        false,
        &plugin(&json!({"x": "1"}), &json!({"executor": "command"})),
    )
    .expect("the same again");
    assert_eq!(live.object, before.object);
    assert!(same(&live.managers, &before.managers), "no change");
}

#[test]
fn fields_of_others_are_conflicts_unless_forced() {
    let mut live = Live::default();
    let config = |executor: &str| plugin(&json!({}), &json!({"executor": executor}));
    live.apply("a", false, &config("command")).expect("new");
    live.apply("b", false, &config("command"))
        .expect("the same value is shared");
    let conflicts = live
        .apply("b", false, &config("other"))
        .expect_err("a has it");
    assert_eq!(conflicts, ["conflict with \"a\" .spec.executor"]);
    live.apply("b", true, &config("other")).expect("forced");
    assert_eq!(live.fields_of("a"), r#"{"f:metadata":{"f:labels":{}}}"#);
    let conflicts = live
        .apply("a", false, &config("command"))
        .expect_err("b has it");
    assert_eq!(conflicts.len(), 1);
}

#[test]
fn updates_take_over_what_they_change() {
    let mut live = Live::default();
    live.update(
        "edit",
        &plugin(&json!({"x": "1"}), &json!({"executor": "command"})),
    );
    live.apply("a", false, &plugin(&json!({"y": "1"}), &json!({})))
        .expect("another label");
    live.update(
        "edit",
        &plugin(
            &json!({"x": "1", "y": "2"}),
            &json!({"executor": "command"}),
        ),
    );
    assert!(live.fields_of("edit").contains("f:y"));
    let conflicts = live
        .apply("a", false, &plugin(&json!({"y": "1"}), &json!({})))
        .expect_err("edit changed it");
    assert_eq!(
        conflicts,
        ["conflict with \"edit\" using tko.nephio.org/v1alpha1 .metadata.labels.y"]
    );
}

#[test]
fn objects_of_others_belong_to_a_manager_before_the_first_apply() {
    let mut live = Live {
        object: Some(trimmed(&plugin(
            &json!({"x": "1"}),
            &json!({"executor": "command"}),
        ))),
        managers: Vec::new(),
    };
    let conflicts = live
        .apply("a", false, &plugin(&json!({"x": "2"}), &json!({})))
        .expect_err("it was there before");
    assert!(conflicts[0].contains("before-first-apply"), "{conflicts:?}");
}

#[test]
fn lists_merge_by_their_types() {
    let mut live = Live::default();
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid});
    let config = |finalizers: Value, owners: Value| {
        json!({"metadata": {"finalizers": finalizers, "ownerReferences": owners},
               "spec": {"arguments": ["a"]}})
    };
    live.apply("a", false, &config(json!(["f/a"]), json!([owner("1")])))
        .expect("new");
    live.apply("b", false, &config(json!(["f/b"]), json!([owner("2")])))
        .expect("beside");
    let object = live.object.clone().expect("applied");
    assert_eq!(object["metadata"]["finalizers"], json!(["f/a", "f/b"]));
    assert_eq!(
        object["metadata"]["ownerReferences"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    live.apply("a", false, &json!({"spec": {"arguments": ["a"]}}))
        .expect("its own fields");
    let object = live.object.expect("applied");
    assert_eq!(object["metadata"]["finalizers"], json!(["f/b"]));
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "2");
}

#[test]
fn of_equal_items_of_a_list_the_first_counts() {
    let owner = |uid: &str, name: &str| json!({"name": name, "uid": uid});
    let config = |owners: Value| json!({"metadata": {"ownerReferences": owners}});
    let present = json!([owner("1", "a"), owner("1", "b"), owner("2", "c")]);
    let mut live = Live {
        object: Some(config(present)),
        managers: Vec::new(),
    };
    let applied = json!([owner("3", "d"), owner("3", "e"), owner("1", "f")]);
    live.apply("a", true, &config(applied)).expect("forced");
    let object = live.object.expect("applied");
    let owners = object["metadata"]["ownerReferences"].as_array();
    let names = owners.into_iter().flatten().map(|owner| &owner["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["f", "b", "c", "e"]);
}

/// This takes minutes if each field is compared with every other one.
#[test]
fn objects_with_very_many_fields_are_compared_and_merged() {
    const COUNT: usize = 60_000;
    let object = |from: usize| {
        let names: Vec<String> = (from..from + COUNT).map(|at| format!("f{at}")).collect();
        let annotations = names.iter().map(|name| (name.clone(), json!("")));
        let annotations: serde_json::Map<_, _> = annotations.collect();
        let owners: Vec<Value> = names.iter().map(|uid| json!({"uid": uid})).collect();
        json!({"metadata": {
            "annotations": annotations, "finalizers": names, "ownerReferences": owners,
        }})
    };
    let mut live = Live::default();
    live.update("a", &object(0));
    live.update("b", &object(COUNT / 2));
    live.apply("c", true, &object(COUNT)).expect("forced");
    let object = live.object.expect("applied");
    for list in ["finalizers", "ownerReferences"] {
        let items = object["metadata"][list].as_array();
        assert_eq!(items.map(Vec::len), Some(COUNT + COUNT / 2), "{list}");
    }
    let annotations = object["metadata"]["annotations"].as_object();
    assert_eq!(
        annotations.map(serde_json::Map::len),
        Some(COUNT + COUNT / 2)
    );
}

/// This takes minutes if the combined fields are copied for each manager.
#[test]
fn very_many_managers_are_put_together() {
    let entry = |at: usize| {
        let (name, time, field) = (format!("m{at}"), format!("{at:06}"), format!("f:l{at}"));
        json!({
            "manager": name,
            "operation": "Update",
            "time": time,
            "fieldsV1": {"f:metadata": {"f:labels": {field: {}}}},
        })
    };
    let entries: Vec<Value> = (0..50_000).map(entry).collect();
    let mut live = Live {
        object: None,
        managers: parse(&entries),
    };
    live.update("last", &plugin(&json!({"x": "1"}), &json!({})));
    assert_eq!(live.managers.len(), 10);
    let ancient = &live.managers[0];
    assert_eq!(ancient.name, "ancient-changes");
    assert_eq!(ancient.fields.paths().len(), 49_992);
}

#[test]
fn older_managers_are_put_together() {
    let mut live = Live::default();
    for at in 0..15 {
        let labels: Value = (0..=at)
            .map(|n| (format!("l{n}"), json!("x")))
            .collect::<serde_json::Map<_, _>>()
            .into();
        live.update(&format!("m{at}"), &plugin(&labels, &json!({})));
    }
    assert_eq!(live.managers.len(), 10);
    assert!(live.fields_of("ancient-changes").contains("f:l0"));
}

#[test]
fn recorded_configurations_are_sets_of_fields() {
    let text = r#"{"metadata":{"labels":{"x":"1"}},"spec":{"executor":"e"}}"#;
    let paths = recorded(text, schema(Kind::Plugin)).paths();
    assert_eq!(paths, [".metadata.labels.x", ".spec.executor"]);
}

#[test]
fn malformed_entries_are_dropped() {
    let entries = [
        json!({"manager": "a", "operation": "Other"}),
        json!({"manager": "a", "operation": "Apply", "fieldsV1": {"x:": {}}}),
        json!({"manager": "a", "operation": "Apply", "fieldsV1": {"f:a": 1}}),
        json!({"manager": "ok", "operation": "Apply", "fieldsV1": {"f:a": {".": {}, "k:{\"b\":1}": {}}}}),
    ];
    let managers = parse(&entries);
    assert_eq!(managers.len(), 1);
    assert_eq!(managers[0].fields.to_value(), entries[3]["fieldsV1"]);
}

proptest! {
    #[test]
    fn sets_come_back_and_obey_the_laws(one in set(), other in set()) {
        prop_assert_eq!(FieldSet::parse(&one.to_value()), Some(one.clone()));
        let both = one.intersection(&other);
        prop_assert_eq!(one.difference(&other).union(&both), one.clone());
        prop_assert!(both.difference(&other).is_empty());
        prop_assert_eq!(one.union(&other).difference(&other), one.difference(&other));
    }
}

fn set() -> impl Strategy<Value = FieldSet> {
    let step = prop::sample::select(vec!["f:a", "f:b", "k:{\"x\":1}", "v:\"s\"", "i:0"]);
    let path = prop::collection::vec(step, 1..4);
    prop::collection::vec(path, 0..6).prop_map(|paths| {
        paths.into_iter().fold(FieldSet::default(), |set, path| {
            let mut value = json!({});
            for step in path.into_iter().rev() {
                value = json!({step: value});
            }
            set.union(&FieldSet::parse(&value).expect("well formed"))
        })
    })
}
