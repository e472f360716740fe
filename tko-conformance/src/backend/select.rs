//! Selections in listings and counts: patterns, relations, joins.

use super::fixture::BackendFixture;
use super::sample::{
    PutBuilder, all, changes, deployment, deployment_id, id_pattern, plugin, site, site_id,
    template, value_pattern,
};
use tko_core::{
    Change, Facts, Gvk, Kind, Pattern, Plugin, PluginType, Put, Select, Want,
    select::MetadataPatterns,
};

/// Checks that a selection has exactly these ids: in one page, in small pages, and in a count.
async fn selects(fixture: &BackendFixture, select: &Select, expected: &[&str]) {
    for limit in [0, 1, 3] {
        let found = fixture.walk(select, limit).await;
        let found: Vec<&str> = found.iter().map(|r| r.entity.key.id()).collect();
        assert_eq!(found, expected, "in pages of {limit}, by {select:?}");
    }
    let count = fixture
        .backend
        .count(select, 1_000, Want::ROW)
        .await
        .expect("the count succeeds");
    assert_eq!(count.found, expected.len() as u64, "counted by {select:?}");
}

fn by(patterns: &[(&str, &str)]) -> MetadataPatterns {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), value_pattern(value));
    patterns.iter().map(pair).collect()
}

fn ids(patterns: &[&str]) -> Vec<Pattern> {
    patterns.iter().map(|text| id_pattern(text)).collect()
}

fn deployments() -> Select {
    all(Kind::Deployment)
}

/// Id patterns: `*` stays within a segment, `**` crosses segments, a literal is one id. All
/// patterns must match.
pub async fn id_patterns_filter(fixture: BackendFixture) {
    let sites = [
        "in/ka/1", "in/ka/2", "in/kb:1", "in", "IN/ka/1", "i", "in/ka",
    ];
    fixture.put(sites.map(site)).await;
    for (patterns, expected) in [
        (["in/ka/*"].as_slice(), ["in/ka/1", "in/ka/2"].as_slice()),
        (&["in/**"], &["in/ka", "in/ka/1", "in/ka/2", "in/kb:1"]),
        (&["in/*"], &["in/ka"]),
        (&["**1"], &["IN/ka/1", "in/ka/1", "in/kb:1"]),
        (&["i*"], &["i", "in"]),
        (&["in"], &["in"]),
        (&["*"], &["i", "in"]),
        (&["in/**", "**/1"], &["in/ka/1"]),
        (&["in/ka/1", "in/ka/2"], &[]),
        (&["nowhere"], &[]),
    ] {
        let select = all(Kind::Site).ids(ids(patterns));
        selects(&fixture, &select, expected).await;
    }
    let literal = all(Kind::Site).id(Pattern::literal("in/ka"));
    selects(&fixture, &literal, &["in/ka"]).await;
}

/// Metadata patterns: each key must exist and match; `*` matches any text.
pub async fn metadata_patterns_filter(fixture: BackendFixture) {
    fixture
        .put([
            site("a")
                .with_label("cloud", "gdc/e")
                .with_label("region", "in"),
            site("b").with_label("cloud", "gdc"),
            site("c").with_label("region", "in"),
            site("d").with_label("cloud", "").with_label("region", "us"),
        ])
        .await;
    for (patterns, expected) in [
        ([("cloud", "gdc")].as_slice(), ["b"].as_slice()),
        (&[("cloud", "gdc*")], &["a", "b"]),
        (&[("cloud", "*")], &["a", "b", "d"]),
        (&[("cloud", "")], &["d"]),
        (&[("cloud", "*"), ("region", "*")], &["a", "d"]),
        (&[("cloud", "*"), ("region", "in")], &["a"]),
        (&[("Cloud", "*")], &[]),
        (&[("region", "i*n")], &["a", "c"]),
    ] {
        let select = all(Kind::Site).metadata_patterns(by(patterns));
        selects(&fixture, &select, expected).await;
    }
}

/// Template id patterns filter sites and deployments; those without a template match none.
pub async fn template_ids_filter(fixture: BackendFixture) {
    fixture.put([template("nf/a"), template("nf/b")]).await;
    fixture.put([site("s1").template("nf/a"), site("s2")]).await;
    let of = [
        deployment("d1").template("nf/a"),
        deployment("d2").template("nf/b"),
    ];
    fixture.put(of.into_iter().chain([deployment("d3")])).await;
    for (kind, patterns, expected) in [
        (
            Kind::Deployment,
            ["nf/*"].as_slice(),
            ["d1", "d2"].as_slice(),
        ),
        (Kind::Deployment, &["nf/a"], &["d1"]),
        (Kind::Deployment, &["nf/*", "**b"], &["d2"]),
        (Kind::Deployment, &["**"], &["d1", "d2"]),
        (Kind::Site, &["**"], &["s1"]),
        (Kind::Site, &["nf/b"], &[]),
    ] {
        let select = all(kind).template_ids(ids(patterns));
        selects(&fixture, &select, expected).await;
    }
}

/// Site id patterns filter deployments; those without a site match none. A moved deployment matches
/// its new site only.
pub async fn site_ids_filter(fixture: BackendFixture) {
    let at = |id: &str, place: &str| deployment(id).site(place);
    fixture
        .put([
            at("a", "x/1"),
            at("b", "x/2"),
            at("c", "y"),
            deployment("d"),
        ])
        .await;
    let by_site = |patterns: &[&str]| deployments().site_ids(ids(patterns));
    selects(&fixture, &by_site(&["x/*"]), &["a", "b"]).await;
    selects(&fixture, &by_site(&["x/1"]), &["a"]).await;
    selects(&fixture, &by_site(&["**"]), &["a", "b", "c"]).await;
    fixture.put([at("a", "y"), deployment("b")]).await;
    selects(&fixture, &by_site(&["x/*"]), &[]).await;
    selects(&fixture, &by_site(&["y"]), &["a", "c"]).await;
}

/// A parent id filters by exactly that parent.
pub async fn a_parent_filters(fixture: BackendFixture) {
    let child = |id: &str, parent: &str| deployment(id).parent(parent);
    fixture
        .put([
            child("a", "p"),
            child("b", "pp"),
            child("c", "p"),
            deployment("p"),
        ])
        .await;
    let children = |of: &str| deployments().parent(deployment_id(of));
    selects(&fixture, &children("p"), &["a", "c"]).await;
    fixture.put([deployment("a")]).await;
    selects(&fixture, &children("p"), &["c"]).await;
    selects(&fixture, &children("none"), &[]).await;
}

/// Joins filter by the current metadata of the template and of the site.
pub async fn template_and_site_metadata_filter(fixture: BackendFixture) {
    let kind = |id: &str, value: &str| template(id).with_label("kind", value);
    fixture.put([kind("t1", "upf"), kind("t2", "smf")]).await;
    fixture
        .put([
            site("s1").with_label("region", "in"),
            site("s2").with_label("region", "us"),
        ])
        .await;
    fixture
        .put([
            deployment("a").template("t1").site("s1"),
            deployment("b").template("t1").site("s2"),
            deployment("c").template("t2").site("s1"),
            deployment("e").template("gone").site("gone"),
            deployment("f"),
        ])
        .await;
    let of = |template: &[(&str, &str)], site: &[(&str, &str)]| {
        deployments()
            .template_metadata_patterns(by(template))
            .site_metadata_patterns(by(site))
    };
    selects(&fixture, &of(&[("kind", "upf")], &[]), &["a", "b"]).await;
    selects(&fixture, &of(&[], &[("region", "in")]), &["a", "c"]).await;
    selects(&fixture, &of(&[("kind", "*")], &[("region", "us")]), &["b"]).await;
    selects(&fixture, &of(&[("other", "*")], &[]), &[]).await;
    fixture.put([kind("t2", "upf"), site("s1")]).await;
    selects(&fixture, &of(&[("kind", "upf")], &[]), &["a", "b", "c"]).await;
    selects(&fixture, &of(&[], &[("region", "*")]), &["b"]).await;
}

/// `prepared` and `approved` filter by either value.
pub async fn prepared_and_approved_filter(fixture: BackendFixture) {
    let approved = deployment("c").prepared().approved();
    fixture
        .put([deployment("a"), deployment("b").prepared(), approved])
        .await;
    for (prepared, approved, expected) in [
        (Some(true), None, ["b", "c"].as_slice()),
        (Some(false), None, &["a"]),
        (None, Some(false), &["a", "b"]),
        (Some(true), Some(false), &["b"]),
        (Some(true), Some(true), &["c"]),
        (Some(false), Some(true), &[]),
    ] {
        let select = deployments().prepared(prepared).approved(approved);
        selects(&fixture, &select, expected).await;
    }
}

/// A concerned site selects deployments that are assigned to it or still placed on it, with those
/// under deletion on request.
pub async fn a_concerned_site_filters(fixture: BackendFixture) {
    fixture
        .put([
            deployment("a").site("s"),
            deployment("b").site("other").placed("s"),
            deployment("c").site("other"),
            deployment("e").placed("s").being_deleted(),
            deployment("f").site("s").placed("s"),
        ])
        .await;
    let concerning = |deleting| deployments().concerning(site_id("s")).deleting(deleting);
    selects(&fixture, &concerning(false), &["a", "b", "f"]).await;
    selects(&fixture, &concerning(true), &["a", "b", "e", "f"]).await;
    fixture
        .put([deployment("b").site("other"), deployment("f").site("s")])
        .await;
    selects(&fixture, &concerning(true), &["a", "e", "f"]).await;
}

/// Plugins are filtered by type and name pattern, and by exact executor and trigger.
pub async fn plugin_fields_filter(fixture: BackendFixture) {
    let with = |put: Put, executor: &str, triggers: &[Gvk]| {
        put.facts(Facts::Plugin(std::sync::Arc::new(
            Plugin::default()
                .executor(executor.to_owned())
                .triggers(triggers.to_vec()),
        )))
    };
    let (core, other) = (Gvk::new("", "v1", "Pod"), Gvk::new("g", "v1", "Pod"));
    fixture
        .put([
            with(
                plugin(PluginType::Prepare, "a"),
                "command",
                &[core.clone(), other.clone()],
            ),
            with(
                plugin(PluginType::Schedule, "a"),
                "command",
                std::slice::from_ref(&other),
            ),
            with(plugin(PluginType::Validate, "b/c"), "Command", &[]),
        ])
        .await;
    let plugins = || all(Kind::Plugin);
    let of_type = |plugin_type| plugins().plugin_type(plugin_type);
    selects(
        &fixture,
        &plugins(),
        &["prepare|a", "schedule|a", "validate|b/c"],
    )
    .await;
    selects(&fixture, &of_type(PluginType::Schedule), &["schedule|a"]).await;
    let named = |pattern| plugins().ids(ids(&[pattern]));
    selects(&fixture, &named("a"), &["prepare|a", "schedule|a"]).await;
    selects(&fixture, &named("*"), &["prepare|a", "schedule|a"]).await;
    selects(&fixture, &named("b/*"), &["validate|b/c"]).await;
    let run_by = |executor: &str| plugins().executor(executor.to_owned());
    selects(&fixture, &run_by("command"), &["prepare|a", "schedule|a"]).await;
    selects(&fixture, &run_by("comm*"), &[]).await;
    let triggered = |trigger: &Gvk| plugins().trigger(trigger.clone());
    selects(&fixture, &triggered(&other), &["prepare|a", "schedule|a"]).await;
    selects(&fixture, &triggered(&core), &["prepare|a"]).await;
    selects(&fixture, &triggered(&Gvk::new("", "v2", "Pod")), &[]).await;
}

/// All filters of a selection must match.
pub async fn all_filters_must_match(fixture: BackendFixture) {
    fixture
        .put([
            template("t").with_label("k", "v"),
            site("s").with_label("k", "v"),
        ])
        .await;
    let full = |id: &str| {
        deployment(id)
            .template("t")
            .site("s")
            .parent("p")
            .with_label("k", "v")
    };
    fixture
        .put([
            full("a").prepared(),
            full("b"),
            full("c").prepared().site("other"),
            full("e").prepared().parent("q"),
            deployment("f")
                .template("t")
                .site("s")
                .parent("p")
                .prepared(),
            full("aa").prepared(),
            full("a1").prepared().approved(),
            full("a2").prepared().template("u"),
            full("z").prepared(),
        ])
        .await;
    let select = deployments()
        .ids(ids(&["a*"]))
        .metadata_patterns(by(&[("k", "v")]))
        .parent(deployment_id("p"))
        .template_ids(ids(&["t"]))
        .template_metadata_patterns(by(&[("k", "*")]))
        .site_ids(ids(&["s"]))
        .site_metadata_patterns(by(&[("k", "v")]))
        .prepared(true)
        .approved(false)
        .concerning(site_id("s"));
    selects(&fixture, &select, &["a", "aa"]).await;
    fixture
        .commit(changes([Change::Delete(super::sample::d("a"))]))
        .await;
    selects(&fixture, &select, &["aa"]).await;
}

/// Several filters combine: a parent with site metadata, two keys of one join, three id patterns.
pub async fn several_filters_combine(fixture: BackendFixture) {
    let place = |id: &str, region: &str, tier: &str| {
        site(id)
            .with_label("region", region)
            .with_label("tier", tier)
    };
    let package = |id: &str, kind: &str, vendor: &str| {
        template(id)
            .with_label("kind", kind)
            .with_label("vendor", vendor)
    };
    fixture
        .put([
            place("s1", "in", "edge"),
            place("s2", "in", "core"),
            place("s3", "us", "edge"),
            package("t1", "upf", "x"),
            package("t2", "upf", "y"),
            package("t3", "smf", "x"),
        ])
        .await;
    let child = |id: &str, parent: &str, template: &str, site: &str| {
        deployment(id).parent(parent).template(template).site(site)
    };
    fixture
        .put([
            child("a1x", "p", "t1", "s1"),
            child("a2x", "p", "t2", "s2"),
            child("a3x", "p", "t3", "s3"),
            child("b1x", "q", "t1", "s1"),
            child("b2y", "q", "t2", "s3"),
        ])
        .await;
    let of_site = |patterns: &[(&str, &str)]| deployments().site_metadata_patterns(by(patterns));
    let of_template =
        |patterns: &[(&str, &str)]| deployments().template_metadata_patterns(by(patterns));
    let under = |parent: &str, select: Select| select.parent(deployment_id(parent));
    let named = |patterns: &[&str], select: Select| select.ids(ids(patterns));
    let in_edge = [("region", "in"), ("tier", "edge")];
    let upf_x = [("kind", "upf"), ("vendor", "x")];
    for (select, expected) in [
        (
            under("p", of_site(&[("region", "in")])),
            ["a1x", "a2x"].as_slice(),
        ),
        (under("q", of_site(&[("region", "us")])), &["b2y"]),
        (under("p", of_template(&[("kind", "upf")])), &["a1x", "a2x"]),
        (of_site(&in_edge), &["a1x", "b1x"]),
        (of_template(&upf_x), &["a1x", "b1x"]),
        (of_template(&[("kind", "smf"), ("vendor", "y")]), &[]),
        (named(&["a*", "*x", "*2*"], deployments()), &["a2x"]),
        (named(&["*x", "*1*", "b*"], deployments()), &["b1x"]),
        (named(&["a*", "*x", "*9*"], deployments()), &[]),
        (named(&["b*"], under("q", of_site(&in_edge))), &["b1x"]),
    ] {
        selects(&fixture, &select, expected).await;
    }
}

/// Site metadata filters use the assigned site and ignore where a deployment is placed.
pub async fn site_metadata_filters_ignore_placement(fixture: BackendFixture) {
    let place = |id: &str, region: &str| site(id).with_label("region", region);
    fixture.put([place("s1", "in"), place("s2", "us")]).await;
    fixture
        .put([
            deployment("a").site("s1").placed("s2"),
            deployment("b").placed("s1"),
            deployment("c").placed("s2"),
            deployment("e").site("gone").placed("s1"),
        ])
        .await;
    let of = |region: &str| deployments().site_metadata_patterns(by(&[("region", region)]));
    selects(&fixture, &of("in"), &["a"]).await;
    selects(&fixture, &of("us"), &[]).await;
    selects(&fixture, &of("*"), &["a"]).await;
}

/// A template or site under deletion still joins: its metadata count until it is gone.
pub async fn entities_under_deletion_still_join(fixture: BackendFixture) {
    let source = || template("t").with_label("kind", "upf");
    let place = || site("s").with_label("region", "in");
    fixture.put([source(), place()]).await;
    fixture.put([deployment("d").template("t").site("s")]).await;
    let of_template = deployments().template_metadata_patterns(by(&[("kind", "upf")]));
    let of_site = deployments().site_metadata_patterns(by(&[("region", "in")]));
    fixture
        .put([source().being_deleted(), place().being_deleted()])
        .await;
    selects(&fixture, &of_template, &["d"]).await;
    selects(&fixture, &of_site, &["d"]).await;
    fixture
        .commit(changes([
            Change::Delete(super::sample::t("t")),
            Change::Delete(super::sample::s("s")),
        ]))
        .await;
    selects(&fixture, &of_template, &[]).await;
    selects(&fixture, &of_site, &[]).await;
}
