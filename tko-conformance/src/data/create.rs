//! Creating deployments.

use super::fixture::DataFixture;
use super::sample::{
    all, bad, config, config_of, d, deployment, deployment_id, facts, head_of, named, need,
    of_template, s, site_id, t, template_id, value_of, with,
};
use crate::verdict::refused;
use serde_json::{Value, json};
use tko_core::ErrorKind::{AlreadyExists, BadArgument};
use tko_core::{Error, Generation, Key, Kind, NewDeployment, Resource};

fn annotation(head: &Resource, name: &str) -> Option<String> {
    head.annotation(name).map(std::borrow::Cow::into_owned)
}

/// A deployment is its template's package with its own merged in, followed by the Deployment
/// resource.
pub async fn a_deployment_is_merged_with_its_template(fixture: DataFixture) {
    let template = fixture
        .template("t", [config_of("x", "template's"), config("y")])
        .await;
    fixture.site("s", []).await;
    let parent = fixture.create(NewDeployment::default()).await;
    let new = of_template("t")
        .parent(parent.clone())
        .site(site_id("s"))
        .merge(named([config("z"), config_of("x", "own")]));
    let id = fixture.create(new).await;
    let record = fixture.read(&id).await;
    let package = record.package.expect("it was requested");
    let names: Vec<&str> = package.iter().map(|r| &*r.identifier().name).collect();
    assert_eq!(names, ["x", "y", "z", "deployment"]);
    assert_eq!(package.resources()[0].value(), &config_of("x", "own"));
    let head = head_of(&package);
    assert_eq!(head.get(&["spec", "templateId"]), Some(&json!("t")));
    assert_eq!(head.get(&["spec", "siteId"]), Some(&json!("s")));
    let entity = record.entity;
    assert_eq!(entity.generation, Generation(1));
    let facts = entity.deployment().expect("it is a deployment");
    assert_eq!(facts.parent.as_ref(), Some(&parent));
    assert_eq!(facts.template, Some(template_id("t")));
    assert_eq!(facts.site, Some(site_id("s")));
    assert_eq!(
        facts.origin,
        Some(template),
        "the template's version that it was made from"
    );
    assert!(!facts.prepared && !facts.approved && facts.placed.is_none());
}

/// A deployment needs no template, site or parent.
pub async fn a_deployment_needs_no_template(fixture: DataFixture) {
    let merge = named([config("a")]);
    let id = fixture.create(NewDeployment::new().merge(merge)).await;
    let package = fixture.package(&id).await;
    assert_eq!(package.len(), 2);
    let head = head_of(&package);
    assert_eq!(
        (
            head.get(&["spec", "templateId"]),
            head.get(&["spec", "siteId"])
        ),
        (None, None)
    );
    let entity = fixture.row(&id).await;
    let facts = entity.deployment().expect("it is a deployment");
    assert!(facts.parent.is_none() && facts.template.is_none() && facts.site.is_none());
}

/// Generated ids follow the order of creation. A given id is used, or refused if it exists.
pub async fn ids_are_generated_or_given(fixture: DataFixture) {
    let mut made = Vec::new();
    for _ in 0..10 {
        made.push(fixture.create(NewDeployment::default()).await);
    }
    assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
    let bring = || NewDeployment::new().id(deployment_id("mine"));
    assert_eq!(fixture.create(bring()).await, deployment_id("mine"));
    let error = refused(
        fixture.data.create_deployment(bring()).await,
        &[AlreadyExists],
        "again",
    );
    assert!(
        matches!(&error, Error::AlreadyExists(key) if *key == d("mine")),
        "{error:?}"
    );
}

/// An unknown template, site or parent is a bad argument that names it, and nothing is created.
pub async fn unknown_references_are_refused(fixture: DataFixture) {
    fixture.template("t", []).await;
    let before = fixture.revision().await;
    let unknown = [
        NewDeployment::new().template(template_id("no/t")),
        of_template("t").site(site_id("no/t")),
        of_template("t").parent(deployment_id("not")),
        // Only the package names it.
        of_template("t").merge(named([deployment(json!({"siteId": "no/t"}), json!({}))])),
    ];
    for new in unknown {
        let error = refused(
            fixture.data.create_deployment(new).await,
            &[BadArgument],
            "unknown",
        );
        let text = error.to_string();
        assert!(
            text.contains("no/t") || text.contains("not"),
            "it is named: {text}"
        );
    }
    assert!(fixture.ids(&all(Kind::Deployment)).await.is_empty());
    assert_eq!(fixture.revision().await, before);
}

/// A merged package must be partially valid, and completely valid if it is to be prepared.
pub async fn an_invalid_merged_package_is_refused(fixture: DataFixture) {
    fixture.template("t", [need("n", None)]).await;
    let merging = |resources: Vec<Value>, prepared| {
        of_template("t").merge(named(resources)).prepared(prepared)
    };
    let before = fixture.revision().await;
    for wrong in [merging(vec![bad("b")], false), merging(vec![], true)] {
        let error = refused(
            fixture.data.create_deployment(wrong).await,
            &[BadArgument],
            "invalid",
        );
        let Error::BadArgument { violations, .. } = &error else {
            unreachable!("its kind was checked");
        };
        assert_eq!(violations.len(), 1, "{error:?}");
    }
    assert_eq!(fixture.revision().await, before);
    fixture.create(merging(vec![], false)).await;
    fixture
        .create(merging(vec![need("n", Some("v"))], true))
        .await;
}

/// `prepared` and `approved` set the annotations; `approved` requires `prepared`.
pub async fn prepared_and_approved_are_annotations(fixture: DataFixture) {
    let new = |prepared, approved| NewDeployment::new().prepared(prepared).approved(approved);
    for (prepared, approved) in [(false, false), (true, false), (true, true)] {
        let record = fixture
            .read(&fixture.create(new(prepared, approved)).await)
            .await;
        let facts = record
            .entity
            .deployment()
            .expect("it is a deployment")
            .clone();
        assert_eq!((facts.prepared, facts.approved), (prepared, approved));
        let package = record.package.expect("it was requested");
        let says = |name| annotation(head_of(&package), name).as_deref() == Some("true");
        assert_eq!(says("nephio.org/prepared"), prepared);
        assert_eq!(says("nephio.org/approved"), approved);
    }
    let result = fixture.data.create_deployment(new(false, true)).await;
    refused(result, &[BadArgument], "approved without prepared");
}

/// The template or the merged package sets the Deployment resource where the request sets nothing.
pub async fn the_template_sets_the_deployment_resource(fixture: DataFixture) {
    fixture.site("s1", []).await;
    fixture.site("s2", []).await;
    let annotations = json!({"nephio.org/approve": "Manual", "nephio.org/prepared": "true"});
    let head = deployment(json!({"siteId": "s1", "extra": [1]}), annotations);
    fixture
        .template("t", [config("a"), head, config("b")])
        .await;
    let plain = fixture.read(&fixture.create(of_template("t")).await).await;
    let facts = plain
        .entity
        .deployment()
        .expect("it is a deployment")
        .clone();
    assert_eq!(facts.site, Some(site_id("s1")));
    assert!(facts.prepared);
    let package = plain.package.expect("it was requested");
    let head = head_of(&package);
    assert_eq!(
        annotation(head, "nephio.org/approve").as_deref(),
        Some("Manual")
    );
    assert_eq!(head.get(&["spec", "extra"]), Some(&json!([1])));
    assert_eq!(head.get(&["spec", "templateId"]), Some(&json!("t")));
    let names: Vec<&str> = package.iter().map(|r| &*r.identifier().name).collect();
    assert_eq!(names, ["a", "deployment", "b"], "in its place");
    let moved = of_template("t").site(site_id("s2"));
    let moved = fixture.row(&fixture.create(moved).await).await;
    assert_eq!(
        moved.deployment().and_then(|d| d.site.clone()),
        Some(site_id("s2"))
    );
    let own = deployment(json!({"siteId": "s2"}), json!({}));
    let merged = of_template("t").merge(named([own]));
    let merged = fixture.row(&fixture.create(merged).await).await;
    let facts = merged.deployment().expect("it is a deployment");
    assert_eq!(facts.site, Some(site_id("s2")));
    assert!(
        !facts.prepared,
        "the merged resource replaces the template's"
    );
}

/// A deployment that is created as prepared is approved if its package says `approve: Auto`. With
/// another policy it waits for a person.
pub async fn a_prepared_deployment_is_approved_if_its_policy_is_auto(fixture: DataFixture) {
    fixture.site("s", []).await;
    for (policy, prepared, approved) in [
        ("Auto", true, true),
        ("Auto", false, false),
        ("Default", true, false),
        ("Manual", true, false),
    ] {
        let head = deployment(json!({}), json!({"nephio.org/approve": policy}));
        fixture.template("t", [head.clone()]).await;
        let from_template = of_template("t");
        let from_package = NewDeployment::new().merge(named([head]));
        for new in [from_template, from_package] {
            let new = new.site(site_id("s")).prepared(prepared);
            let record = fixture.read(&fixture.create(new).await).await;
            let facts = record.entity.deployment().expect("it is a deployment");
            assert_eq!(
                (facts.prepared, facts.approved),
                (prepared, approved),
                "{policy}"
            );
            assert_eq!(record.entity.wanted_on().is_some(), approved);
            let condition = record.entity.condition("Approved");
            assert_eq!(
                condition.map(|c| (c.status, &*c.reason)),
                approved.then_some((Some(true), "Automatic")),
                "{policy}"
            );
            let package = record.package.expect("it was requested");
            let said = annotation(head_of(&package), "nephio.org/approved");
            assert_eq!(said.as_deref() == Some("true"), approved, "{policy}");
        }
    }
}

/// `spec.prepared` and `spec.approved` of older packages are ignored.
pub async fn old_fields_are_ignored(fixture: DataFixture) {
    let old = deployment(json!({"prepared": true, "approved": true}), json!({}));
    let merge = named([old]);
    let id = fixture.create(NewDeployment::new().merge(merge)).await;
    let row = fixture.row(&id).await;
    let facts = row.deployment().expect("it is a deployment");
    assert!(!facts.prepared && !facts.approved);
}

/// A second creation under one idempotency key returns the first id and creates nothing. The key is
/// free again after that deployment is deleted.
pub async fn a_second_creation_returns_the_first_id(fixture: DataFixture) {
    let new = || NewDeployment::new().idempotency_key("key");
    let first = fixture.create(new()).await;
    let before = fixture.revision().await;
    assert_eq!(fixture.create(new()).await, first);
    let brought = new().id(deployment_id("other"));
    assert_eq!(fixture.create(brought).await, first);
    assert_eq!(fixture.revision().await, before);
    fixture
        .data
        .delete(&Key::from(&first))
        .await
        .expect("it exists");
    let second = fixture.create(new()).await;
    assert_ne!(second, first);
}

/// Each of many creations succeeds or fails alone, and answers keep the order of the requests.
pub async fn each_of_many_creations_succeeds_or_fails_alone(fixture: DataFixture) {
    fixture.template("t", [config("a")]).await;
    let count = 1_203;
    let new = (0..count).map(|n| match n % 400 {
        7 => of_template("none"),
        8 => of_template("t").merge(named([bad("b")])),
        9 => of_template("t").idempotency_key("same"),
        _ => of_template("t").merge(named([config(&format!("c{n}"))])),
    });
    let answers = fixture.data.create_deployments(new.collect()).await;
    assert_eq!(answers.len(), count);
    let mut made = Vec::new();
    let mut same = Vec::new();
    for (n, answer) in answers.into_iter().enumerate() {
        match (n % 400, answer) {
            (7 | 8, Err(error)) => assert_eq!(error.kind(), BadArgument),
            (9, Ok(id)) => same.push(id),
            (7..=9, other) => panic!("number {n}: {other:?}"),
            (_, Ok(id)) => made.push((n, id)),
            (_, Err(error)) => panic!("number {n}: {error:?}"),
        }
    }
    same.dedup();
    assert_eq!(same.len(), 1, "one key, one deployment");
    let sample = [0, 1, 250, 600, made.len() - 1].map(|at| made[at].clone());
    for (n, id) in sample {
        let package = fixture.package(&id).await;
        assert_eq!(
            *package.resources()[1].identifier().name,
            *format!("c{n}"),
            "in order"
        );
    }
    let there = fixture.ids(&all(Kind::Deployment)).await;
    assert_eq!(there.len(), made.len() + 1);
}

/// Deployments of one template are independent: a change of one never shows in another.
pub async fn deployments_are_independent(fixture: DataFixture) {
    fixture.template("t", [config("a")]).await;
    let (one, other) = (
        fixture.create(of_template("t")).await,
        fixture.create(of_template("t")).await,
    );
    let package = with(&fixture.package(&one).await, config_of("a", "changed"));
    let version = fixture.row(&one).await.version;
    fixture
        .data
        .update(&one, version, package)
        .await
        .expect("the call is valid");
    assert_eq!(
        fixture.package(&other).await.resources()[0].value(),
        &config("a")
    );
    assert_eq!(
        fixture.package(t("t")).await.resources()[0].value(),
        &config("a")
    );
}

/// While a template is registered again, each concurrent creation uses exactly one of its versions.
pub async fn concurrent_creations_use_one_template_version(fixture: DataFixture) {
    let of = |n: usize| {
        let word = format!("v{n}");
        vec![
            config_of("a", &word),
            config_of("b", &word),
            facts("T", json!({"v": word})),
        ]
    };
    fixture.template("t", of(0)).await;
    let other = fixture.beside();
    let registering = tokio::spawn(async move {
        for n in 1..30 {
            other.template("t", of(n)).await;
            tokio::task::yield_now().await;
        }
    });
    let mut creating = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let own = fixture.beside();
        creating.spawn(async move {
            let mut made = Vec::new();
            for _ in 0..10 {
                made.push(own.create(of_template("t")).await);
                tokio::task::yield_now().await;
            }
            made
        });
    }
    registering.await.expect("the template is registered");
    while let Some(made) = creating.join_next().await {
        for id in made.expect("the task creates") {
            let record = fixture.read(&id).await;
            let package = record.package.expect("it was requested");
            let word = value_of(&record.entity, "T.v").expect("it was gathered");
            for resource in &package.resources()[..2] {
                assert_eq!(
                    resource.get(&["data", "says"]),
                    Some(&json!(word)),
                    "of one version"
                );
            }
        }
    }
    assert!(fixture.find(s("none")).await.is_none());
}
