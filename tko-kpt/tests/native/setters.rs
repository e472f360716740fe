//! `apply-setters`, `create-setters` and `search-replace`.

use super::{data, resource, run, run_list, with};
use serde_json::{Value, json};
use tko_kpt::Item;

fn item(value: Value, setters: &[(&str, &str)]) -> Item {
    let mut item = Item::new(value);
    let setters = setters.iter();
    item.setters = setters
        .map(|(at, pattern)| ((*at).to_owned(), (*pattern).to_owned()))
        .collect();
    item
}

fn apply(config: Value, item: Item) -> Result<Value, String> {
    let mut list = run_list("apply-setters:v0.2.0", data(config), vec![item])?;
    Ok(list.items.remove(0).value)
}

#[test]
fn scalars_and_lists_get_the_values_of_their_setters() {
    let deployment = with(
        resource("apps/v1", "Deployment", "nginx-deployment"),
        "/spec",
        json!({"replicas": 1}),
    );
    let setters = [
        ("/metadata/name", "${image}-deployment"),
        ("/spec/replicas", "${replicas}"),
    ];
    let set = apply(
        json!({"image": "ubuntu", "replicas": "3"}),
        item(deployment, &setters),
    );
    let set = set.expect("succeeds");
    assert_eq!(set["metadata"]["name"], "ubuntu-deployment");
    assert_eq!(set["spec"]["replicas"], json!(3));

    let mine = with(
        resource("v1", "MyKind", "foo"),
        "/environments",
        json!(["dev", "stage"]),
    );
    let setters = [("/environments", "${env}")];
    let set = apply(
        json!({"env": "- prod\n- dev\n"}),
        item(mine.clone(), &setters),
    );
    assert_eq!(
        set.expect("succeeds")["environments"],
        json!(["prod", "dev"])
    );
    let set = apply(json!({"env": "[1, two]"}), item(mine.clone(), &setters));
    assert_eq!(set.expect("succeeds")["environments"], json!([1, "two"]));
    let set = apply(json!({"env": ""}), item(mine.clone(), &setters));
    assert_eq!(set.expect("succeeds")["environments"], json!([]));
    let error = apply(json!({"env": "prod"}), item(mine, &setters)).expect_err("no list");
    assert!(error.contains("setter env is for a list"), "{error}");
}

#[test]
fn setters_without_a_value_keep_what_the_field_has() {
    let value = with(resource("v1", "X", "x"), "/image", json!("nginx:1.7.1"));
    let setters = [("/image", "${image}:${tag}")];
    let set = apply(json!({"image": "ubuntu"}), item(value.clone(), &setters));
    assert_eq!(set.expect("succeeds")["image"], "ubuntu:1.7.1");
    let set = apply(json!({"other": "ubuntu"}), item(value.clone(), &setters));
    assert_eq!(set.expect("succeeds"), value);
    let other = with(value, "/image", json!("no-tag"));
    let error = apply(json!({"image": "ubuntu"}), item(other, &setters)).expect_err("no value");
    assert!(
        error.contains("values for setters tag must be provided"),
        "{error}"
    );
}

#[test]
fn very_many_setters_in_one_comment_get_their_values() {
    let value = with(resource("v1", "X", "x"), "/text", json!("old"));
    let names = 0..80_000;
    let parts: Vec<String> = names.clone().map(|name| format!("${{a{name}}}")).collect();
    let pattern = parts.concat();
    let config: Value = names.map(|name| (format!("a{name}"), json!("v"))).collect();
    let set = apply(config, item(value.clone(), &[("/text", &pattern)]));
    assert_eq!(set.expect("succeeds")["text"], "v".repeat(80_000));
    let pattern = "${a}".repeat(1 << 19);
    let error = apply(json!({"a": ""}), item(value, &[("/text", &pattern)]));
    let error = error.expect_err("too long");
    assert!(
        error.contains("its comment kpt-set is longer than 1 MiB"),
        "{error}"
    );
}

#[test]
fn few_setters_without_a_value_keep_what_a_short_field_has() {
    let set = |number: usize, text: &str| {
        let names: Vec<String> = (0..number).map(|name| format!("${{a{name}}}")).collect();
        let old = vec![text; number].join("-");
        let value = with(resource("v1", "X", "x"), "/text", json!(old));
        let pattern = names.join("-");
        apply(json!({"a0": "new"}), item(value, &[("/text", &pattern)]))
    };
    let expected = format!("new{}", "-v".repeat(63));
    assert_eq!(set(64, "v").expect("succeeds")["text"], expected);
    // More would take long.
    for (number, text) in [(65, "v".to_owned()), (64, "v".repeat(1 << 12))] {
        let error = set(number, &text).expect_err("they have no value");
        assert!(error.contains("must be provided"), "{error}");
    }
    // Of a name that is there twice, the first counts.
    let value = with(resource("v1", "X", "x"), "/text", json!("1-2-3"));
    let setters = [("/text", "${a}-${b}-${b}")];
    let set = apply(json!({"a": "new"}), item(value, &setters));
    assert_eq!(set.expect("succeeds")["text"], "new-2-2");
}

#[test]
fn created_setters_parameterize_the_longest_values_first() {
    let deployment = with(
        resource("v1", "Deployment", "ubuntu-deployment"),
        "/spec",
        json!({"replicas": 3, "image": "nginx-abc:1", "environments": ["stage", "dev"]}),
    );
    let config = json!({
        "image": "ubuntu", "replicas": "3", "short": "nginx", "long": "nginx-abc",
        "env": "- dev\n- stage\n",
    });
    let list = run_list(
        "create-setters:v0.1.0",
        data(config),
        vec![Item::new(deployment)],
    );
    let list = list.expect("succeeds");
    let setters: Vec<(&str, &str)> = list.items[0]
        .setters
        .iter()
        .map(|(at, pattern)| (at.as_str(), pattern.as_str()))
        .collect();
    assert_eq!(
        setters,
        [
            ("/metadata/name", "${image}-deployment"),
            ("/spec/environments", "${env}"),
            ("/spec/image", "${long}:1"),
            ("/spec/replicas", "${replicas}"),
        ]
    );
}

fn search(config: Value, value: Value) -> Result<Value, String> {
    let mut found = run("search-replace:v0.2.0", data(config), vec![value])?;
    Ok(found.remove(0))
}

#[test]
fn values_are_put_by_path_value_and_expression() {
    let value = with(
        resource("v1", "X", "something-foo"),
        "/spec",
        json!({"ports": [{"port": 80}], "other": 80}),
    );
    let value = with(value, "/metadata/namespace", json!("something-bar"));
    let set = search(
        json!({"by-value-regex": "something-(.*)", "put-value": "my-project-id-${1}"}),
        value.clone(),
    );
    let set = set.expect("succeeds");
    assert_eq!(set["metadata"]["name"], "my-project-id-foo");
    assert_eq!(set["metadata"]["namespace"], "my-project-id-bar");
    let set = search(
        json!({"by-path": "spec.**.port", "by-value": "80", "put-value": "8080"}),
        value.clone(),
    );
    assert_eq!(
        set.expect("succeeds")["spec"],
        json!({"ports": [{"port": 8080}], "other": 80})
    );
    let set = search(
        json!({"by-path": "spec.ports[*].port", "put-value": "8080"}),
        value.clone(),
    );
    assert_eq!(
        set.expect("succeeds")["spec"]["ports"][0]["port"],
        json!(8080)
    );
    // A place that is missing is created.
    let set = search(json!({"by-path": "spec.a.b", "put-value": "3"}), value);
    assert_eq!(set.expect("succeeds")["spec"]["a"]["b"], json!(3));
}

#[test]
fn comments_are_put_as_setters() {
    let value = with(
        resource("v1", "X", "my-project-id-foo"),
        "/metadata/namespace",
        json!("my-project-id-bar"),
    );
    let config = data(json!({
        "by-value-regex": "my-project-id-(.*)",
        "put-comment": "kpt-set: ${project-id}-${1}",
    }));
    let list = run_list("search-replace:v0.1", config, vec![Item::new(value)]).expect("succeeds");
    let setters = &list.items[0].setters;
    assert_eq!(setters["/metadata/name"], "${project-id}-foo");
    assert_eq!(setters["/metadata/namespace"], "${project-id}-bar");
}

#[test]
fn searches_that_make_no_sense_are_refused() {
    for config in [
        json!({"put-value": "x"}),
        json!({"by-value": "a", "by-value-regex": "b"}),
        json!({"by-value-regex": "("}),
        json!({"by-name": "a"}),
        json!({"by-value-regex": "(x{1000}){1000}"}),
        json!({"by-value-regex": "x", "put-value": "${7}"}),
    ] {
        let shown = config.to_string();
        let value = with(resource("v1", "X", "x"), "/a", json!("x"));
        assert!(search(config, value).is_err(), "{shown}");
    }
}

#[test]
fn values_of_setters_are_not_searched_for_setters() {
    let value = with(resource("v1", "X", "x"), "/image", json!("nginx:1"));
    let setters = [("/image", "${a}:${b}")];
    let set = apply(
        json!({"a": "${b}", "b": "${a}"}),
        item(value.clone(), &setters),
    );
    assert_eq!(set.expect("succeeds")["image"], "${b}:${a}");
    // What the value of one names has no effect on the length.
    let a = "${b}".repeat(1_000);
    let config = json!({"a": a, "b": "x".repeat(1 << 20)});
    let set = apply(config, item(value, &[("/image", "${a}")]));
    assert_eq!(set.expect("succeeds")["image"], a);
}

#[test]
fn texts_that_become_very_long_are_refused() {
    let long = "x".repeat(1 << 19);
    let value = |image: &str| with(resource("v1", "X", "x"), "/image", json!(image));
    let setters = [("/image", "${a}${a}${a}")];
    let error = apply(json!({"a": long}), item(value("y"), &setters)).expect_err("refused");
    assert!(error.contains("becomes longer than 1 MiB"), "{error}");
    // A setter with a long name for a short value.
    let name = "n".repeat(100);
    let items = vec![Item::new(value(&long))];
    let error = run_list("create-setters:v0.1.0", data(json!({name: "x"})), items);
    let error = error.expect_err("refused");
    assert!(error.contains("becomes longer than 1 MiB"), "{error}");
    let config = json!({"by-value-regex": "(.*)", "put-value": "${1}".repeat(1_000)});
    let error = search(config, value(&long)).expect_err("refused");
    assert!(error.contains("becomes longer than 1 MiB"), "{error}");
}

#[test]
fn all_texts_together_are_limited() {
    // 100 fields with a text of 1 MiB each.
    let fields: Vec<Value> = vec![json!("x"); 100];
    let value = with(resource("v1", "X", "x"), "/list", json!(fields));
    let long = "y".repeat((1 << 20) - 1);
    let pointers: Vec<String> = (0..100).map(|number| format!("/list/{number}")).collect();
    let setters: Vec<(&str, &str)> = pointers.iter().map(|at| (at.as_str(), "${a}")).collect();
    let words = "writes more than 33554432 bytes";
    let error = apply(json!({"a": long}), item(value.clone(), &setters)).expect_err("refused");
    assert!(error.contains(words), "{error}");
    let config = json!({"by-path": "list[*]", "put-value": long});
    let error = search(config, value).expect_err("refused");
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_group_that_matches_like_a_group_is_not_replaced_again() {
    let value = with(resource("v1", "X", "x"), "/a", json!("${2}-b"));
    let config = json!({"by-value-regex": "(.*)-(b)", "put-value": "${1}:${2}"});
    let set = search(config, value).expect("succeeds");
    assert_eq!(set["a"], "${2}:b");
}
