//! Reading: single entities, pages, counts, history, and the server itself.

use super::fixture::{ALL, DataFixture, PEOPLE};
use super::sample::{
    all, by, config, d, deployment_id, facts, head_of, named, new_plugin, new_site, of_template,
    running_on, s, site_id, t, template_id, with,
};
use crate::verdict::refused;
use serde_json::json;
use tko_core::{
    Caller, DataApi, Error, ErrorKind, Key, Kind, NewDeployment, Pattern, PluginType, Revision,
    Select, Subject, Want,
};

/// The server has a name.
pub async fn the_server_has_a_name(fixture: DataFixture) {
    let about = fixture.data.about().await.expect("the call succeeds");
    assert!(!about.backend.is_empty());
}

/// A missing entity is not found, and the error names it.
pub async fn a_missing_entity_is_not_found(fixture: DataFixture) {
    fixture.template("other", []).await;
    for key in [
        t("none"),
        s("none"),
        d("none"),
        Key::from(&new_plugin("none").id),
    ] {
        let error = refused(
            fixture.data.get(&key, ALL).await,
            &[ErrorKind::NotFound],
            "it",
        );
        let named = matches!(&error, Error::NotFound(Subject::Entity(named)) if *named == key);
        assert!(named, "{key} is named: {error:?}");
    }
}

/// Entities under deletion are hidden unless they are requested.
pub async fn entities_under_deletion_are_hidden(fixture: DataFixture) {
    fixture.site("s", []).await;
    let id = fixture.create(running_on("s")).await;
    fixture.place("s", &[&id]).await;
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    let people = fixture.data.get(&Key::from(&id), PEOPLE).await;
    refused(people, &[ErrorKind::NotFound], "for users");
    assert!(fixture.ids(&all(Kind::Deployment)).await.is_empty());
    assert_eq!(
        fixture
            .data
            .count(&all(Kind::Deployment), 9, Want::ROW)
            .await
            .expect("the count succeeds")
            .found,
        0
    );
    assert!(fixture.read(&id).await.entity.deleting, "for workers");
    let select = all(Kind::Deployment).deleting(true);
    assert_eq!(fixture.ids(&select).await, [id.to_string()]);
}

/// Parts of an entity are included on request only.
pub async fn requested_parts_are_included(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let plain = fixture
        .data
        .get(&Key::from(&id), Want::ROW)
        .await
        .expect("it exists");
    assert!(plain.package.is_none() && plain.work.is_empty());
    let full = fixture.read(&id).await;
    assert_eq!(full.revision, Some(Revision(1)));
    assert_eq!(full.work.len(), 1, "it must be prepared");
    assert!(full.package.is_some());
}

/// Pages of any size give the whole listing, in byte order and with whole packages.
pub async fn pages_give_the_whole_listing(fixture: DataFixture) {
    for n in 0..12 {
        let new = NewDeployment::new()
            .id(deployment_id(&format!("d{n:02}")))
            .merge(named([config(&format!("c{n}"))]));
        fixture.create(new).await;
    }
    let whole = fixture.walk(&all(Kind::Deployment), 0).await;
    assert_eq!(whole.len(), 12);
    assert!(
        whole
            .windows(2)
            .all(|pair| pair[0].entity.key < pair[1].entity.key)
    );
    for limit in [1, 5, 11, 12, 13] {
        let pages = fixture.walk(&all(Kind::Deployment), limit).await;
        assert_eq!(pages.len(), 12, "in pages of {limit}");
        for (page, whole) in pages.iter().zip(&whole) {
            assert_eq!(page.entity.key, whole.entity.key);
            let package = page.package.as_ref().expect("it was requested");
            head_of(package);
            assert_eq!(package.len(), 2);
            assert_eq!((page.revision, &page.work), (whole.revision, &whole.work));
        }
    }
}

/// Every filter works: patterns, relations, joins, facts. An absent value matches none.
pub async fn every_filter_works(fixture: DataFixture) {
    fixture
        .template("nf/a", [facts("T", json!({"k": "a"}))])
        .await;
    fixture.template("nf/b", []).await;
    let site = new_site("in/1", [facts("S", json!({"k": "in"}))]).template(template_id("nf/a"));
    fixture
        .data
        .register_site(site)
        .await
        .expect("the call is valid");
    fixture.site("us/1", []).await;
    fixture
        .data
        .register_plugin(new_plugin("x/y"))
        .await
        .expect("the call is valid");
    let create =
        async |id: &str, new: NewDeployment| fixture.create(new.id(deployment_id(id))).await;
    let parent = create("p", NewDeployment::default()).await;
    let full = of_template("nf/a")
        .parent(parent.clone())
        .site(site_id("in/1"))
        .prepared(true)
        .metadata([("m", "v/w")]);
    create("a", full).await;
    create("b", of_template("nf/b").site(site_id("us/1"))).await;
    let id = |text: &str| vec![Pattern::id(text).expect("the pattern is valid")];
    let of = |kind| all(kind);
    let deployments = || of(Kind::Deployment);
    let value = |key: &str, text: &str| by(Kind::Deployment, key, text).metadata;
    let cases: Vec<(Select, &[&str])> = vec![
        (of(Kind::Template).ids(id("nf/*")), &["nf/a", "nf/b"]),
        (of(Kind::Template).ids(id("*")), &[]),
        (
            of(Kind::Site).ids(id("**1")).template_ids(id("**")),
            &["in/1"],
        ),
        (by(Kind::Site, "S.k", "i*"), &["in/1"]),
        (by(Kind::Deployment, "m", "v*"), &["a"]),
        (by(Kind::Deployment, "n", "*"), &[]),
        (deployments().parent(parent), &["a"]),
        (deployments().template_ids(id("nf/*")), &["a", "b"]),
        (deployments().template_ids(id("**")), &["a", "b"]),
        (
            deployments().template_metadata_patterns(value("T.k", "a")),
            &["a"],
        ),
        (deployments().site_ids(id("us/*")), &["b"]),
        (
            deployments().site_metadata_patterns(value("S.k", "*")),
            &["a"],
        ),
        (deployments().prepared(true), &["a"]),
        (deployments().prepared(false), &["b", "p"]),
        (deployments().approved(true), &[]),
        (deployments().concerning(site_id("in/1")), &["a"]),
        (
            of(Kind::Plugin).plugin_type(PluginType::Prepare),
            &["prepare|x/y"],
        ),
        (of(Kind::Plugin).plugin_type(PluginType::Validate), &[]),
        (
            of(Kind::Plugin).executor("command".to_owned()),
            &["prepare|x/y"],
        ),
        (of(Kind::Plugin).executor("comm".to_owned()), &[]),
        (
            of(Kind::Plugin).trigger(new_plugin("x").triggers.pop()),
            &["prepare|x/y"],
        ),
        (of(Kind::Plugin).ids(id("x/*")), &["prepare|x/y"]),
    ];
    for (select, expected) in cases {
        assert_eq!(fixture.ids(&select).await, expected, "{select:?}");
        let count = fixture.data.count(&select, 100, Want::ROW).await;
        let count = count.expect("the count succeeds");
        assert_eq!(
            (count.found, count.more),
            (expected.len() as u64, false),
            "{select:?}"
        );
    }
}

/// A count is exact up to its bound, and shows whether there are more.
pub async fn a_count_is_exact_up_to_its_bound(fixture: DataFixture) {
    for n in 0..5 {
        fixture.site(&format!("s{n}"), []).await;
    }
    for (bound, found, more) in [(4, 4, true), (5, 5, false), (6, 5, false)] {
        let count = fixture
            .data
            .count(&all(Kind::Site), bound, Want::ROW)
            .await
            .expect("the count succeeds");
        assert_eq!(
            (count.found, count.more),
            (found, more),
            "with the bound {bound}"
        );
    }
}

/// A history is newest first, with whole packages before and after, in parts.
pub async fn a_history_has_whole_packages(fixture: DataFixture) {
    let id = fixture.create(NewDeployment::default()).await;
    let first = fixture.package(&id).await;
    let version = fixture.row(&id).await.version;
    let second = with(&first, config("b"));
    fixture
        .data
        .update(&id, version, second.clone())
        .await
        .expect("the call is valid");
    fixture
        .data
        .delete(&Key::from(&id))
        .await
        .expect("it exists");
    let history = fixture
        .data
        .history(&Key::from(&id), None, 10)
        .await
        .expect("it is read");
    let told: Vec<_> = history
        .iter()
        .map(|change| {
            let package = |r: &Option<tko_core::Record>| r.as_ref().and_then(|r| r.package.clone());
            (
                change.revision.0,
                package(&change.before),
                package(&change.after),
            )
        })
        .collect();
    let expected = [
        (3, Some(second.clone()), None),
        (2, Some(first.clone()), Some(second)),
        (1, None, Some(first)),
    ];
    assert_eq!(told, expected);
    assert!(
        history.iter().all(|change| change.cause.is_some()),
        "each error has a reason"
    );
    let piece = fixture
        .data
        .history(&Key::from(&id), Some(Revision(3)), 1)
        .await;
    let piece = piece.expect("it is read");
    assert_eq!(piece.len(), 1);
    assert_eq!(piece[0].revision, Revision(2));
}

/// The cause of a change names the verb, and the caller for whom the API acted.
pub async fn a_change_names_its_caller_and_its_verb(fixture: DataFixture) {
    let alice = Caller::new("Alice Smith").and_then(|alice| alice.interface("test"));
    let data = fixture.data.clone();
    let data = data.with_caller(alice.expect("a name and an interface"));
    let new = NewDeployment::new().prepared(true);
    let id = data.create_deployment(new).await.expect("it is sound");
    let worker = fixture.data.clone();
    let worker = worker.worker_with_caller(Caller::new("worker-7").expect("a name"));
    let select = Select::all(Kind::Deployment);
    worker.approve(&select).await.expect("it is prepared");
    data.delete(&Key::from(&id)).await.expect("it exists");
    let history = data.history(&Key::from(&id), None, 10).await;
    let mut causes = history.expect("it is read").into_iter();
    for (verb, name, interface) in [
        ("deleted", "Alice Smith", "test"),
        ("approved", "worker-7", "process"),
        ("created", "Alice Smith", "test"),
    ] {
        let cause = causes.next().and_then(|change| change.cause);
        let cause = cause.expect("each change has a cause");
        assert_eq!(cause.verb(), verb, "{cause}");
        if fixture.names_callers() {
            assert_eq!(cause.caller().as_deref(), Some(name), "{cause}");
            assert_eq!(cause.interface().as_deref(), Some(interface), "{cause}");
        }
    }
}
