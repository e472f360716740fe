//! The metadata that selections use, and their sources.

use super::fixture::{DataFixture, TTL};
use super::sample::{
    annotated, by, d, deployment_id, facts, named, new_site, new_template, of_template, s, t,
    template_id, value_of, with,
};
use serde_json::json;
use tko_core::{Kind, Metadata};

fn given(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().copied().collect()
}

/// Each leaf of `spec` becomes text under kind, dot and path; null and empty maps give nothing.
pub async fn leaves_become_text(fixture: DataFixture) {
    let spec = json!({
        "text": "GDC-E",
        "yes": true,
        "int": -7,
        "big": 9_007_199_254_740_993_i64,
        "float": 1.0,
        "half": 0.5,
        "list": [1, "a"],
        "null": null,
        "empty": {},
        "deep": {"er": {"still": "x"}},
    });
    fixture.template("t", [facts("Site", spec)]).await;
    let row = fixture.row(t("t")).await;
    let expected = given(&[
        ("Site.text", "GDC-E"),
        ("Site.yes", "true"),
        ("Site.int", "-7"),
        ("Site.big", "9007199254740993"),
        ("Site.float", "1"),
        ("Site.half", "0.5"),
        ("Site.list", "[1,\"a\"]"),
        ("Site.deep.er.still", "x"),
    ]);
    assert_eq!(row.metadata, expected);
}

/// Annotations control gathering: the default is here, `Postpone` and `Never` are not. Of two
/// resources with one key, the later wins.
pub async fn annotations_control_gathering(fixture: DataFixture) {
    let of = |kind: &str, name: &str, value: &str| {
        let mut resource = facts(kind, json!({"k": value}));
        resource["metadata"]["name"] = json!(name);
        resource
    };
    let when =
        |kind: &str, value: &str| annotated(of(kind, "x", "v"), "nephio.org/metadata", value);
    let package = [
        when("Here", "Here"),
        when("Postponed", "Postpone"),
        when("Never", "Never"),
        of("Twice", "one", "first"),
        of("Twice", "two", "second"),
    ];
    fixture.template("t", package).await;
    let expected = given(&[("Here.k", "v"), ("Twice.k", "second")]);
    assert_eq!(fixture.row(t("t")).await.metadata, expected);
}

/// Given metadata override those of the package, which override those of the template.
pub async fn given_metadata_overrides_all_other(fixture: DataFixture) {
    let new = new_template("t", []).metadata(given(&[
        ("X.a", "template"),
        ("X.b", "template"),
        ("X.c", "template"),
    ]));
    fixture
        .data
        .register_template(new)
        .await
        .expect("the call is valid");
    let package = [facts(
        "X",
        json!({"b": "package", "c": "package", "e": "package"}),
    )];
    let metadata = given(&[("X.c", "given"), ("X.f", "given")]);
    let site = new_site("s", package.clone())
        .template(template_id("t"))
        .metadata(metadata.clone());
    fixture
        .data
        .register_site(site)
        .await
        .expect("the call is valid");
    let new = of_template("t")
        .id(deployment_id("d"))
        .merge(named(package))
        .metadata(metadata);
    fixture.create(new).await;
    let expected = given(&[
        ("X.a", "template"),
        ("X.b", "package"),
        ("X.c", "given"),
        ("X.e", "package"),
        ("X.f", "given"),
    ]);
    assert_eq!(fixture.row(s("s")).await.metadata, expected);
    assert_eq!(fixture.row(d("d")).await.metadata, expected);
}

/// Sites and deployments do not inherit the metadata that record where their template is from.
pub async fn the_origin_of_a_template_is_not_inherited(fixture: DataFixture) {
    let all = given(&[
        ("Catalog.name", "core"),
        ("Inventory.name", "fleet"),
        ("X.a", "template"),
    ]);
    let new = new_template("t", []).metadata(all.clone());
    fixture
        .data
        .register_template(new)
        .await
        .expect("the call is valid");
    let site = new_site("s", []).template(template_id("t"));
    fixture
        .data
        .register_site(site)
        .await
        .expect("the call is valid");
    fixture
        .create(of_template("t").id(deployment_id("d")))
        .await;
    assert_eq!(fixture.row(t("t")).await.metadata, all);
    let expected = given(&[("X.a", "template")]);
    assert_eq!(fixture.row(s("s")).await.metadata, expected);
    assert_eq!(fixture.row(d("d")).await.metadata, expected);
}

/// A new package replaces the gathered metadata and keeps those of the template and those given.
pub async fn a_new_package_replaces_gathered_metadata(fixture: DataFixture) {
    let template =
        |value: &str| new_template("t", []).metadata(given(&[("X.a", value), ("X.b", value)]));
    fixture
        .data
        .register_template(template("old"))
        .await
        .expect("the call is valid");
    let new = of_template("t")
        .metadata(given(&[("X.c", "given")]))
        .merge(named([facts(
            "X",
            json!({"b": "1", "c": "1", "gone": "1"}),
        )]));
    let id = fixture.create(new).await;
    fixture
        .data
        .register_template(template("new"))
        .await
        .expect("the call is valid");
    let edit = fixture
        .data
        .start_modification(&id, TTL)
        .await
        .expect("the key is free");
    let package = edit.record.package.expect("it is included");
    let changed = with(&package, facts("X", json!({"b": "2", "c": "2", "e": "2"})));
    fixture
        .data
        .end_modification(&edit.token, changed)
        .await
        .expect("the call is valid");
    let row = fixture.row(&id).await;
    let said = |key| value_of(&row, key);
    assert_eq!(
        said("X.a"),
        Some("old"),
        "the metadata of the template as it was"
    );
    assert_eq!(said("X.b"), Some("2"));
    assert_eq!(said("X.c"), Some("given"));
    assert_eq!(said("X.e"), Some("2"));
    assert_eq!(said("X.gone"), None);
    assert_eq!(
        fixture.ids(&by(Kind::Deployment, "X.b", "2")).await,
        [id.to_string()]
    );
    assert!(
        fixture
            .ids(&by(Kind::Deployment, "X.gone", "*"))
            .await
            .is_empty()
    );
}
