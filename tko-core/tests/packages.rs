//! Resources, references, merging, annotations and metadata, as the model has them.

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert_eq, proptest};
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::encoding::{Dialect, Format, Limits, MAX_DEPTH};
use tko_core::limits::{MAX_METADATA_KEY, MAX_METADATA_KEYS};
use tko_core::merge::{elsewhere, merge};
use tko_core::{Error, Identifier, Metadata, Package, PackageIndex, Resource, annotation, codec};

fn resource(value: Value) -> Arc<Resource> {
    Arc::new(Resource::new(value).expect("identified"))
}

fn package<const N: usize>(values: [Value; N]) -> Package {
    Package::from_values(values).expect("a package")
}

fn thing(name: &str, namespace: Option<&str>, spec: Value) -> Value {
    let mut value = json!({"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": name}});
    value["spec"] = spec;
    if let Some(namespace) = namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    value
}

fn annotated(mut value: Value, name: &str, text: &str) -> Value {
    value["metadata"]["annotations"][name] = json!(text);
    value
}

fn message(error: &Error) -> String {
    error.to_string()
}

#[test]
fn packages_are_equal_if_they_have_the_same_resources_in_the_same_order() {
    let values = || ["a", "b"].map(|name| thing(name, None, json!({"n": 1})));
    let (one, other) = (package(values()), package(values()));
    let [first, second] = values();
    let different = [
        package([second.clone(), first.clone()]),
        package([first.clone()]),
        package([first, thing("b", None, json!({"n": 2}))]),
        one.with(resource(thing("c", None, json!({})))),
    ];
    // Before and after their hashes are known.
    for _ in 0..2 {
        assert_eq!(one, other);
        assert_eq!(one, one.with(one.resources()[1].clone()));
        for different in &different {
            assert_ne!(&one, different);
            different.hash();
        }
        one.hash();
        other.hash();
    }
}

#[test]
fn what_does_not_identify_itself_is_refused_by_place() {
    for (bad, what) in [
        (json!([]), "not a map"),
        (
            json!({"kind": "A", "metadata": {"name": "a"}}),
            "apiVersion",
        ),
        (
            json!({"apiVersion": "v1", "metadata": {"name": "a"}}),
            "kind",
        ),
        (json!({"apiVersion": "v1", "kind": "A"}), "metadata.name"),
        (
            json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": 5}}),
            "metadata.name",
        ),
        (
            json!({"apiVersion": "a/b/c", "kind": "A", "metadata": {"name": "a"}}),
            "a/b/c",
        ),
        (
            json!({"apiVersion": "a/", "kind": "A", "metadata": {"name": "a"}}),
            "a/",
        ),
    ] {
        let fine = thing("fine", None, json!({}));
        let error = Package::from_values([fine, bad.clone()]).expect_err("refused");
        let told = message(&error);
        assert!(
            told.contains("resource 2") && told.contains(what),
            "{bad}: {told}"
        );
    }
}

#[test]
fn one_identifier_twice_is_refused_and_named() {
    let twice = [
        thing("a", Some("n"), json!({})),
        thing("a", Some("n"), json!(1)),
    ];
    let told = message(&Package::from_values(twice).expect_err("twice"));
    assert!(told.contains("Thing n/a"), "{told}");
    // Another namespace is another resource.
    assert_eq!(
        package([
            thing("a", Some("n"), json!({})),
            thing("a", None, json!({}))
        ])
        .len(),
        2
    );
}

#[test]
fn a_reference_without_namespace_means_the_only_one() {
    let id = |namespace: Option<&str>| {
        let reference =
            json!({"apiVersion": "x/v1", "kind": "Thing", "name": "a", "namespace": namespace});
        Identifier::from_reference("merge", &reference).expect("a reference")
    };
    let both = package([thing("a", Some("n"), json!(1)), thing("a", None, json!(2))]);
    let found = |p: &Package, namespace| {
        let index = PackageIndex::new(p);
        let found = index.resolve(&id(namespace)).expect("not ambiguous");
        assert_eq!(p.resolve(&id(namespace)).expect("not ambiguous"), found);
        found.map(|r| r.value()["spec"].clone())
    };
    assert_eq!(found(&both, None), Some(json!(2)));
    assert_eq!(found(&both, Some("n")), Some(json!(1)));
    assert_eq!(found(&both, Some("other")), None);
    let one = package([thing("a", Some("n"), json!(1))]);
    assert_eq!(found(&one, None), Some(json!(1)));
    let several = package([
        thing("a", Some("n"), json!(1)),
        thing("a", Some("m"), json!(1)),
    ]);
    let told = message(&several.resolve(&id(None)).expect_err("ambiguous"));
    assert!(told.contains("ambiguous reference"), "{told}");
    let index = PackageIndex::new(&several);
    assert_eq!(
        message(&index.resolve(&id(None)).expect_err("ambiguous")),
        told
    );
    assert!(index.resolve(&id(Some("n"))).expect("one").is_some());
}

#[test]
fn merging_replaces_overrides_renames_and_appends() {
    let target = package([
        thing(
            "first",
            None,
            json!({"keep": 1, "list": [1, 2], "deep": {"a": 1, "b": 1}}),
        ),
        thing("second", None, json!({})),
    ]);
    let over = json!({"list": [3], "deep": {"b": null, "c": 2}});
    let incoming = package([
        annotated(thing("other", None, over), "nephio.org/merge", "Override"),
        thing("third", None, json!({})),
    ]);
    let mut renamed = incoming.resources()[0].value().clone();
    renamed["metadata"]["annotations"]["nephio.org/rename"] = json!("first");
    let incoming =
        Package::new(vec![resource(renamed), incoming.resources()[1].clone()]).expect("two");
    let merged = merge(&target, &incoming).expect("merges");
    let names: Vec<_> = merged
        .iter()
        .map(|r| r.identifier().name.to_string())
        .collect();
    assert_eq!(names, ["first", "second", "third"]);
    let first = merged.resources()[0].value();
    assert_eq!(
        first["spec"],
        json!({"keep": 1, "list": [3], "deep": {"a": 1, "b": null, "c": 2}})
    );
    // Both annotations stay.
    assert_eq!(
        first["metadata"]["annotations"]["nephio.org/rename"],
        "first"
    );
    assert_eq!(
        first["metadata"]["annotations"]["nephio.org/merge"],
        "Override"
    );
    // What is not touched is shared, and the target is as it was.
    assert!(Arc::ptr_eq(&merged.resources()[1], &target.resources()[1]));
    assert_eq!(target.resources()[0].value()["spec"]["list"], json!([1, 2]));
    // Replacing is the default.
    let replaced =
        merge(&target, &package([thing("first", None, json!({"new": 1}))])).expect("merges");
    assert_eq!(replaced.resources()[0].value()["spec"], json!({"new": 1}));
}

#[test]
fn merging_finds_its_place_by_the_rule_of_references() {
    let namespaced = package([thing("a", Some("n"), json!({"x": 1}))]);
    let over = annotated(
        thing("a", None, json!({"y": 2})),
        "nephio.org/merge",
        "Override",
    );
    let merged = merge(&namespaced, &package([over])).expect("merges");
    assert_eq!(merged.len(), 1);
    assert_eq!(
        merged.resources()[0].value()["spec"],
        json!({"x": 1, "y": 2})
    );
    assert_eq!(
        merged.resources()[0].identifier().namespace.as_deref(),
        Some("n")
    );
    // It replaces the only one, and then the place has no namespace.
    let incoming = package([thing("a", None, json!(1)), thing("a", Some("n"), json!(2))]);
    let merged = merge(&namespaced, &incoming).expect("merges");
    assert_eq!(merged, incoming);
    let several = package([
        thing("a", Some("n"), json!({})),
        thing("a", Some("m"), json!({})),
    ]);
    let error = merge(&several, &package([thing("a", None, json!({}))])).expect_err("ambiguous");
    assert!(message(&error).contains("ambiguous"), "{error}");
}

#[test]
fn copies_for_elsewhere_turn_postpone_into_here_and_here_into_never() {
    for (name, pairs) in [
        (
            annotation::PREPARE,
            [("Postpone", "Here"), ("Here", "Never"), ("Never", "Never")],
        ),
        (
            annotation::METADATA,
            [("Postpone", "Here"), ("Here", "Never"), ("Never", "Never")],
        ),
    ] {
        for (before, after) in pairs {
            let copy = elsewhere(&resource(annotated(
                thing("a", None, json!({})),
                name,
                before,
            )));
            assert_eq!(copy.annotation(name).as_deref(), Some(after));
        }
    }
    let plain = resource(thing("a", None, json!({})));
    assert!(
        Arc::ptr_eq(&elsewhere(&plain), &plain),
        "an absent annotation stays absent"
    );
}

#[test]
fn unknown_values_of_known_annotations_are_named_with_the_known_ones() {
    let mut bad = annotated(thing("a", None, json!({})), "nephio.org/prepare", "here");
    bad["metadata"]["annotations"]["nephio.org/prepared"] = json!("yes");
    bad["metadata"]["annotations"]["nephio.org/approved"] = json!(true);
    bad["metadata"]["annotations"]["nephio.org/approve"] = json!("");
    bad["metadata"]["annotations"]["nephio.org/anything"] = json!("goes");
    let found = annotation::check(&package([bad]));
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("Thing a") && told[0].contains("Here, Postpone, Never"),
        "{told:?}"
    );
    assert!(
        told[1].contains("\"yes\"") && told[1].contains("false, true"),
        "{told:?}"
    );
}

#[test]
fn a_map_or_a_list_is_no_new_name() {
    for value in [json!({"a": "b"}), json!(["a"]), json!({})] {
        let mut renamed = thing("a", None, json!({}));
        renamed["metadata"]["annotations"]["nephio.org/rename"] = value;
        let incoming = package([renamed]);
        let words = "Thing a: metadata.annotations['nephio.org/rename']: must be a name";
        let found = annotation::check(&incoming);
        assert!(found[0].to_string().contains(words), "{found:?}");
        let error = merge(&package([]), &incoming).expect_err("no name");
        assert!(message(&error).contains(words), "{error}");
    }
    let mut renamed = thing("a", None, json!({}));
    renamed["metadata"]["annotations"]["nephio.org/rename"] = json!(1.5);
    let merged = merge(&package([]), &package([renamed])).expect("a number has a text");
    assert_eq!(&*merged.resources()[0].identifier().name, "1.5");
}

#[test]
fn metadata_are_gathered_from_leaves_as_text() {
    let meta = |name: &str, spec: Value| json!({"apiVersion": "metadata.nephio.org/v1alpha1", "kind": "Site", "metadata": {"name": name}, "spec": spec});
    let gathered = Metadata::gather(&package([
        meta(
            "one",
            json!({"cloud": "GDC-E", "n": 5, "f": 1.0, "g": 1.5, "t": true, "none": null, "empty": {}, "list": [1, "a"], "deep": {"er": "x"}}),
        ),
        meta("two", json!({"cloud": "later"})),
        annotated(
            meta("three", json!({"cloud": "postponed"})),
            "nephio.org/metadata",
            "Postpone",
        ),
        annotated(
            meta("four", json!({"cloud": "never"})),
            "nephio.org/metadata",
            "Never",
        ),
        thing("five", None, json!({"not": "metadata"})),
    ]));
    let gathered = gathered.expect("within the limits");
    let pairs: Vec<(&str, &str)> = gathered.iter().collect();
    assert_eq!(
        pairs,
        [
            ("Site.cloud", "later"),
            ("Site.deep.er", "x"),
            ("Site.f", "1"),
            ("Site.g", "1.5"),
            ("Site.list", "[1,\"a\"]"),
            ("Site.n", "5"),
            ("Site.t", "true"),
        ]
    );
}

#[test]
fn gathering_stops_at_the_limits_on_keys() {
    let gathered = |spec: Value| {
        let resource = json!({
            "apiVersion": "metadata.nephio.org/v1alpha1",
            "kind": "Site",
            "metadata": {"name": "a"},
            "spec": spec,
        });
        Metadata::gather(&package([resource]))
    };
    let leaves = |count: usize| -> Value { (0..count).map(|n| (format!("k{n}"), 1)).collect() };
    let below = |key: usize, value: Value| Value::from_iter([("k".repeat(key), value)]);

    let many = gathered(leaves(MAX_METADATA_KEYS)).expect("within the limits");
    assert_eq!(many.len(), MAX_METADATA_KEYS);
    let error = gathered(leaves(MAX_METADATA_KEYS + 1)).expect_err("too many");
    assert!(message(&error).contains("more than 1000 keys"), "{error}");

    // The key of each leaf would contain the long key.
    let error = gathered(below(100_000, leaves(500))).expect_err("too long");
    assert!(message(&error).contains("metadata key"), "{error}");
    let none = gathered(below(100_000, json!({"null": null, "empty": {}})));
    assert!(none.expect("nothing to gather").is_empty());
    // The rest of the path and two dots.
    let longest = MAX_METADATA_KEY - "Site.".len() - ".k0".len();
    assert!(gathered(below(longest, leaves(1))).is_ok());
    assert!(gathered(below(longest + 1, leaves(1))).is_err());
}

#[test]
fn no_reserved_keys_are_gathered() {
    let gathered = |kind: &str| {
        let resource = json!({
            "apiVersion": "metadata.nephio.org/v1alpha1",
            "kind": kind,
            "metadata": {"name": "a"},
            "spec": {"x": "v"},
        });
        Metadata::gather(&package([resource]))
    };
    let error = gathered("nephio.org/waits-for/site/a").expect_err("reserved");
    assert!(message(&error).contains("are reserved"), "{error}");
    assert!(gathered("nephio.orga").is_ok());
}

#[test]
fn a_package_of_very_many_resources_merges_in_reasonable_work() {
    // Twenty thousand onto twenty thousand: each with each would be 400 million comparisons.
    let many = |spec: Value| {
        Package::from_values((0..20_000).map(|i| thing(&format!("r{i}"), None, spec.clone())))
            .expect("many")
    };
    let merged = merge(&many(json!(1)), &many(json!(2))).expect("merges");
    assert_eq!(merged.len(), 20_000);
    assert!(merged.iter().all(|r| r.value()["spec"] == json!(2)));
}

#[test]
fn an_index_resolves_very_many_references_in_reasonable_work() {
    let many = (0..20_000).map(|i| thing(&format!("r{i}"), Some("n"), json!(i)));
    let many = Package::from_values(many).expect("many");
    let index = PackageIndex::new(&many);
    for resource in &many {
        let mut reference = resource.identifier().clone();
        reference.namespace = None;
        let found = index.resolve(&reference).expect("not ambiguous");
        assert!(found.is_some_and(|found| Arc::ptr_eq(found, resource)));
    }
}

/// Maps within each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| json!({"a": inner}))
}

#[test]
fn a_change_cannot_nest_a_resource_deeper_than_readers_accept() {
    // The resource's own map is a level, too.
    let deepest = resource(thing("a", None, nested(99)));
    let deeper = deepest.edited(|content| {
        content.insert("spec".to_owned(), nested(100));
    });
    let told = message(&deeper.expect_err("too deep"));
    assert!(told.contains("Thing a is nested more than 100"), "{told}");
    let told =
        message(&Package::from_values([thing("a", None, nested(100))]).expect_err("too deep"));
    assert!(told.contains("resource 1 Thing a is nested"), "{told}");
}

#[test]
fn a_stored_resource_may_be_nested_more_deeply_than_a_new_one() {
    let stored = Resource::stored(thing("a", None, nested(110))).expect("identified");
    assert_eq!(
        stored.annotated("b", "c").annotation("b").as_deref(),
        Some("c")
    );
    let package = Package::new(vec![Arc::new(stored)]).expect("a package");
    let limits = Limits::new().depth(MAX_DEPTH);
    let read = codec::decode::<Package>(&codec::encode(&package), &limits);
    assert_eq!(read.ok(), Some(package));
}

proptest! {
    #[test]
    fn whatever_becomes_a_package_is_read_back_in_every_format(lists in vec(any::<bool>(), 90..110)) {
        let content = lists.iter().fold(Value::Null, |inner, is_list| {
            if *is_list { json!([inner]) } else { json!({"a": inner}) }
        });
        let made = Package::from_values([thing("a", None, content)]);
        prop_assert_eq!(made.is_ok(), lists.len() < 100);
        if let Ok(package) = made {
            let limits = Limits::default();
            for format in Format::ALL {
                let encoded = package.encode(format);
                let read = Package::decode(&encoded, format, Dialect::Programs, &limits);
                prop_assert_eq!(read.ok(), Some(package.clone()));
            }
            let read = codec::decode::<Package>(&codec::encode(&package), &limits);
            prop_assert_eq!(read.ok(), Some(package));
        }
    }
}

#[test]
fn very_many_namespaces_with_the_same_name_merge_in_reasonable_work() {
    // Each with each would be 2.5 billion comparisons.
    let many = |spec: Value| {
        let namespaces = (0..50_000).map(|i| format!("n{i}"));
        let things = namespaces.map(|namespace| thing("a", Some(&namespace), spec.clone()));
        Package::from_values(things).expect("many")
    };
    let merged = merge(&many(json!(1)), &many(json!(2))).expect("merges");
    assert_eq!(merged.len(), 50_000);
    assert!(merged.iter().all(|r| r.value()["spec"] == json!(2)));
}

#[test]
fn very_many_resources_are_merged_over_the_same_one_in_reasonable_work() {
    // A copy of the growing resource for each would copy 450 million values.
    let over = (0..30_000).map(|i| {
        let spec = Value::from_iter([(format!("k{i}"), i)]);
        let over = thing(&format!("r{i}"), None, spec);
        let over = annotated(over, "nephio.org/rename", "a");
        annotated(over, "nephio.org/merge", "Override")
    });
    let over = Package::from_values(over).expect("many");
    let target = package([thing("a", None, json!({"k": 1}))]);
    let merged = merge(&target, &over).expect("merges");
    assert_eq!(merged.len(), 1);
    let spec = merged.resources()[0].value()["spec"].as_object();
    assert_eq!(spec.map(serde_json::Map::len), Some(30_001));
    assert_eq!(target.resources()[0].value()["spec"], json!({"k": 1}));
}
