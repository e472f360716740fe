//! The service for existing clients.

use crate::serving::{CONFIG, Serving};
use std::collections::BTreeMap;
use std::time::Duration;
use tko_grpc::proto::data_client::DataClient;
use tko_grpc::proto::{self, Window};
use tko_grpc::server::{Access, ServerSettings};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

pub(crate) type Existing = DataClient<Channel>;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) async fn all<T>(stream: Result<tonic::Response<Streaming<T>>, Status>) -> Vec<T> {
    let mut stream = stream.expect("a listing").into_inner();
    let mut items = Vec::new();
    while let Some(item) = stream.message().await.expect("no error") {
        items.push(item);
    }
    items
}

pub(crate) async fn register(client: &mut Existing, id: &str, metadata: &[(&str, &str)]) {
    let answer = client
        .register_template(proto::Template {
            template_id: id.to_owned(),
            metadata: map(metadata),
            // Ignored.
            updated: Some(prost_types::Timestamp::default()),
            deployment_ids: texts(&["nonsense|"]),
            package_format: "yaml".to_owned(),
            package: CONFIG.into(),
        })
        .await
        .expect("sound")
        .into_inner();
    assert!(answer.registered && answer.not_registered_reason.is_empty());
}

async fn site(client: &mut Existing, id: &str, template: &str) {
    client
        .register_site(proto::Site {
            site_id: id.to_owned(),
            template_id: template.to_owned(),
            metadata: map(&[("cloud", "edge")]),
            ..Default::default()
        })
        .await
        .expect("a package of no bytes needs no format");
}

async fn create(client: &mut Existing, template: &str, site: &str, parent: &str) -> String {
    let answer = client
        .create_deployment(proto::CreateDeployment {
            parent_deployment_id: parent.to_owned(),
            template_id: template.to_owned(),
            site_id: site.to_owned(),
            merge_metadata: map(&[("k", "v")]),
            ..Default::default()
        })
        .await
        .expect("sound")
        .into_inner();
    assert!(answer.created);
    answer.deployment_id
}

#[tokio::test]
async fn about_returns_name_version_addresses_and_the_default_format() {
    let mut settings = ServerSettings::default();
    settings.name = "lab".to_owned();
    settings.description = "a lab".to_owned();
    let serving = Serving::with(settings, Access::default()).await;
    let about = serving
        .existing()
        .about(())
        .await
        .expect("an answer")
        .into_inner();
    assert_eq!(about.instance_name, "lab");
    assert_eq!(about.instance_description, "a lab");
    assert_eq!(about.tko_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(about.backend, "memory");
    assert_eq!(about.address_ports.len(), 2);
    assert_eq!(about.address_ports[0], serving.address.to_string());
    assert_eq!(about.default_package_format, "cbor");
}

#[tokio::test]
async fn packages_have_the_preferred_format() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    register(&mut client, "a", &[("colour", "blue")]).await;
    let json = br#"[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"answer":"42"}}]"#;
    for (preferred, format, start) in [
        ("", "cbor", &[0x81][..]),
        ("cbor", "cbor", &[0x81]),
        ("json", "json", json),
        ("yaml", "yaml", CONFIG.as_bytes()),
    ] {
        let template = client
            .get_template(proto::GetTemplate {
                template_id: "a".to_owned(),
                preferred_package_format: preferred.to_owned(),
            })
            .await
            .expect("it is there")
            .into_inner();
        assert_eq!(template.package_format, format);
        let text = String::from_utf8_lossy(&template.package);
        if format == "yaml" {
            assert!(text.contains("kind: ConfigMap") && text.contains("answer: "));
        } else {
            assert!(template.package.starts_with(start), "{text}");
        }
        assert_eq!(template.metadata, map(&[("colour", "blue")]));
        assert!(template.updated.is_some());
        assert!(template.deployment_ids.is_empty());
    }
    let status = client
        .get_template(proto::GetTemplate {
            template_id: "a".to_owned(),
            preferred_package_format: "toml".to_owned(),
        })
        .await
        .expect_err("no such format");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn responses_fill_every_field() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    register(&mut client, "t", &[("colour", "blue")]).await;
    site(&mut client, "s", "t").await;
    let parent = create(&mut client, "t", "", "").await;
    let child = create(&mut client, "t", "s", &parent).await;

    let template = all(client.list_templates(proto::ListTemplates::default()).await)
        .await
        .remove(0);
    assert_eq!(template.template_id, "t");
    assert_eq!(template.deployment_ids, [parent.clone(), child.clone()]);
    assert!(template.updated.is_some());

    let site = client
        .get_site(proto::GetSite {
            site_id: "s".to_owned(),
            preferred_package_format: "json".to_owned(),
        })
        .await
        .expect("it is there")
        .into_inner();
    assert_eq!(
        (site.site_id.as_str(), site.template_id.as_str()),
        ("s", "t")
    );
    assert_eq!(site.deployment_ids, std::slice::from_ref(&child));
    assert_eq!(site.metadata, map(&[("cloud", "edge"), ("colour", "blue")]));
    assert!(String::from_utf8_lossy(&site.package).contains("settings"));
    let listed = all(client.list_sites(proto::ListSites::default()).await)
        .await
        .remove(0);
    assert_eq!(
        (
            listed.site_id,
            listed.template_id,
            listed.metadata,
            listed.updated
        ),
        (site.site_id, site.template_id, site.metadata, site.updated)
    );
    assert_eq!(listed.deployment_ids, std::slice::from_ref(&child));

    let deployment = client
        .get_deployment(proto::GetDeployment {
            deployment_id: child.clone(),
            preferred_package_format: "json".to_owned(),
        })
        .await
        .expect("it is there")
        .into_inner();
    assert_eq!(deployment.parent_deployment_id, parent);
    assert_eq!(deployment.template_id, "t");
    assert_eq!(deployment.site_id, "s");
    assert_eq!(deployment.metadata, map(&[("colour", "blue"), ("k", "v")]));
    assert!(deployment.created.is_some() && deployment.updated.is_some());
    assert!(!deployment.prepared && !deployment.approved);
    let listed = all(client
        .list_deployments(proto::ListDeployments::default())
        .await)
    .await
    .remove(1);
    assert_eq!(listed.deployment_id, child);
    assert_eq!(listed.parent_deployment_id, parent);
    assert_eq!(listed.metadata, deployment.metadata);
    assert_eq!(listed.created, deployment.created);
}

#[tokio::test]
async fn windows_and_patterns_select_what_is_listed() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    for number in 0..7 {
        let id = format!("nf/{number}:v1");
        register(&mut client, &id, &[("n", &number.to_string())]).await;
    }
    let mut list = async |window, patterns: &[&str], metadata: &[(&str, &str)]| {
        let request = proto::ListTemplates {
            window,
            select: Some(proto::SelectTemplates {
                template_id_patterns: texts(patterns),
                metadata_patterns: map(metadata),
            }),
        };
        all(client.list_templates(request).await)
            .await
            .into_iter()
            .map(|template| template.template_id)
            .collect::<Vec<_>>()
    };
    let window = |offset, max_count| Some(Window { offset, max_count });
    assert_eq!(list(None, &[], &[]).await.len(), 7);
    assert_eq!(list(window(0, 0), &[], &[]).await.len(), 7);
    assert_eq!(list(window(5, -1), &[], &[]).await, ["nf/5:v1", "nf/6:v1"]);
    assert_eq!(list(window(2, 2), &[], &[]).await, ["nf/2:v1", "nf/3:v1"]);
    assert!(list(window(7, 100), &[], &[]).await.is_empty());
    assert!(list(window(u32::MAX, i32::MAX), &[], &[]).await.is_empty());
    assert_eq!(list(None, &["nf/*:v1", "**4**"], &[]).await, ["nf/4:v1"]);
    assert!(list(None, &["*"], &[]).await.is_empty());
    assert_eq!(list(None, &[], &[("n", "3")]).await, ["nf/3:v1"]);
    assert!(list(None, &[], &[("m", "*")]).await.is_empty());
}

#[tokio::test]
async fn empty_filters_match_everything() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    register(&mut client, "t", &[]).await;
    let parent = create(&mut client, "t", "", "").await;
    let child = create(&mut client, "t", "", &parent).await;
    let mut list = async |select| {
        let request = proto::ListDeployments {
            window: None,
            select: Some(select),
        };
        all(client.list_deployments(request).await)
            .await
            .into_iter()
            .map(|deployment| deployment.deployment_id)
            .collect::<Vec<_>>()
    };
    let select = proto::SelectDeployments::default;
    let of = |id: &str| proto::SelectDeployments {
        parent_deployment_id: Some(id.to_owned()),
        ..select()
    };
    assert_eq!(list(of("")).await.len(), 2);
    assert_eq!(list(of(&parent)).await, std::slice::from_ref(&child));
    for (prepared, expected) in [(None, 2), (Some(false), 2), (Some(true), 0)] {
        let select = proto::SelectDeployments {
            prepared,
            ..select()
        };
        assert_eq!(list(select).await.len(), expected);
    }
    let select = proto::SelectDeployments {
        template_id_patterns: texts(&["t"]),
        template_metadata_patterns: map(&[]),
        site_id_patterns: texts(&["**"]),
        ..select()
    };
    assert!(list(select).await.is_empty(), "no site matches no pattern");
}

#[tokio::test]
async fn a_template_lists_at_most_the_configured_number_of_ids() {
    let mut settings = ServerSettings::default();
    settings.max_deployment_ids = 2;
    let serving = Serving::with(settings, Access::default()).await;
    let mut client = serving.existing();
    register(&mut client, "t", &[]).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(create(&mut client, "t", "", "").await);
    }
    let template = all(client.list_templates(proto::ListTemplates::default()).await)
        .await
        .remove(0);
    assert_eq!(template.deployment_ids, ids[..2]);
}

#[tokio::test]
async fn modifications_are_exclusive_and_end_once() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    register(&mut client, "t", &[]).await;
    let id = create(&mut client, "t", "", "").await;
    let start = |format: &str| proto::StartDeploymentModification {
        deployment_id: id.clone(),
        preferred_package_format: format.to_owned(),
    };
    let started = client
        .start_deployment_modification(start("yaml"))
        .await
        .expect("free")
        .into_inner();
    assert!(started.started);
    assert_eq!(started.package_format, "yaml");
    let busy = client.start_deployment_modification(start("")).await;
    assert_eq!(busy.expect_err("busy").code(), Code::Aborted);
    let yaml = String::from_utf8(started.package.to_vec()).expect("text");
    let end = proto::EndDeploymentModification {
        modification_token: started.modification_token,
        package_format: "yaml".to_owned(),
        package: yaml.replace("42", "43").into(),
    };
    let ended = client
        .end_deployment_modification(end.clone())
        .await
        .expect("in time")
        .into_inner();
    assert!(ended.modified);
    assert_eq!(ended.deployment_id, id);
    let again = client.end_deployment_modification(end.clone()).await;
    assert_eq!(again.expect_err("used").code(), Code::NotFound);

    let started = client
        .start_deployment_modification(start("json"))
        .await
        .expect("free")
        .into_inner();
    assert!(String::from_utf8_lossy(&started.package).contains("43"));
    let cancel = proto::CancelDeploymentModification {
        modification_token: started.modification_token,
    };
    let cancelled = client
        .cancel_deployment_modification(cancel.clone())
        .await
        .expect("live")
        .into_inner();
    assert!(cancelled.cancelled);
    let again = client.cancel_deployment_modification(cancel).await;
    assert_eq!(again.expect_err("given up").code(), Code::NotFound);

    let started = client
        .start_deployment_modification(start(""))
        .await
        .expect("free")
        .into_inner();
    serving.clock.advance(Duration::from_secs(10));
    let late = client
        .end_deployment_modification(proto::EndDeploymentModification {
            modification_token: started.modification_token,
            package_format: started.package_format,
            package: started.package,
        })
        .await
        .expect_err("10 seconds are over");
    assert_eq!(late.code(), Code::Aborted);
    assert!(String::from_utf8_lossy(late.details()).contains("TIMEOUT"));
}

#[tokio::test]
async fn a_purge_deletes_what_matches_even_if_that_is_nothing() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    for id in ["a", "b"] {
        register(&mut client, id, &[]).await;
    }
    let select = proto::SelectTemplates {
        template_id_patterns: texts(&["a"]),
        ..Default::default()
    };
    for _ in 0..2 {
        let answer = client
            .purge_templates(select.clone())
            .await
            .expect("an answer")
            .into_inner();
        assert!(answer.deleted);
    }
    let absent = client
        .delete_template(proto::TemplateId {
            template_id: "a".to_owned(),
        })
        .await;
    assert_eq!(absent.expect_err("gone").code(), Code::NotFound);

    let held = create(&mut client, "b", "", "").await;
    let free = create(&mut client, "b", "", "").await;
    client
        .start_deployment_modification(proto::StartDeploymentModification {
            deployment_id: held.clone(),
            preferred_package_format: String::new(),
        })
        .await
        .expect("free");
    let answer = client
        .purge_deployments(proto::SelectDeployments::default())
        .await
        .expect("an answer")
        .into_inner();
    assert!(!answer.deleted);
    assert!(answer.not_deleted_reason.starts_with("1 deleted"));
    assert!(answer.not_deleted_reason.contains(&held));
    assert!(!answer.not_deleted_reason.contains(&free));
    // A purge also deletes existing sites.
    site(&mut client, "s", "").await;
    let answer = client.purge_sites(proto::SelectSites::default()).await;
    assert!(answer.expect("an answer").into_inner().deleted);
    assert!(
        all(client.list_sites(proto::ListSites::default()).await)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn plugins_are_identified_by_type_and_name() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    let gvk = |group: &str, version: &str, kind: &str| proto::Gvk {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
    };
    let plugin = |kind: &str, name: &str| proto::Plugin {
        r#type: kind.to_owned(),
        name: name.to_owned(),
        executor: "command".to_owned(),
        arguments: texts(&["python3", "x.py"]),
        properties: map(&[("_k", "v")]),
        triggers: vec![gvk("", "v1", "ConfigMap"), gvk("a.b", "v2", "C")],
    };
    for (kind, name) in [("validate", "b"), ("prepare", "z"), ("schedule", "a")] {
        client
            .register_plugin(plugin(kind, name))
            .await
            .expect("sound");
    }
    let refused = client.register_plugin(plugin("other", "a")).await;
    assert_eq!(refused.expect_err("a type").code(), Code::InvalidArgument);
    let id = proto::PluginId {
        r#type: "schedule".to_owned(),
        name: "a".to_owned(),
    };
    let got = client.get_plugin(id.clone()).await.expect("it is there");
    assert_eq!(got.into_inner(), plugin("schedule", "a"));
    let mut list = async |select| {
        let request = proto::ListPlugins {
            window: None,
            select: Some(select),
        };
        all(client.list_plugins(request).await)
            .await
            .into_iter()
            .map(|plugin| plugin.name)
            .collect::<Vec<_>>()
    };
    let select = proto::SelectPlugins::default;
    assert_eq!(list(select()).await, ["z", "a", "b"]);
    let empty = proto::SelectPlugins {
        r#type: Some(String::new()),
        executor: Some(String::new()),
        trigger: Some(proto::Gvk::default()),
        name_patterns: Vec::new(),
    };
    assert_eq!(list(empty).await.len(), 3);
    let typed = proto::SelectPlugins {
        r#type: Some("prepare".to_owned()),
        ..select()
    };
    assert_eq!(list(typed).await, ["z"]);
    let other = proto::SelectPlugins {
        executor: Some("comm".to_owned()),
        ..select()
    };
    assert!(list(other).await.is_empty());
    let triggered = |trigger| proto::SelectPlugins {
        trigger: Some(trigger),
        ..select()
    };
    assert_eq!(list(triggered(gvk("", "v1", "ConfigMap"))).await.len(), 3);
    assert!(list(triggered(gvk("", "v1", "Config"))).await.is_empty());
    let named = proto::SelectPlugins {
        name_patterns: texts(&["a"]),
        ..select()
    };
    assert_eq!(list(named.clone()).await, ["a"]);
    let purged = client.purge_plugins(named).await.expect("an answer");
    assert!(purged.into_inner().deleted);
    let gone = client.delete_plugin(id).await;
    assert_eq!(gone.expect_err("purged").code(), Code::NotFound);
}

#[tokio::test]
async fn unknown_references_are_bad_arguments_and_absence_is_not_found() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    let refused = client
        .create_deployment(proto::CreateDeployment {
            template_id: "none".to_owned(),
            ..Default::default()
        })
        .await
        .expect_err("no such template");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("none"), "{refused}");
    let absent = client
        .get_deployment(proto::GetDeployment {
            deployment_id: "none".to_owned(),
            preferred_package_format: String::new(),
        })
        .await;
    assert_eq!(absent.expect_err("not there").code(), Code::NotFound);
    let refused = client
        .create_deployment(proto::CreateDeployment {
            approved: true,
            ..Default::default()
        })
        .await;
    assert_eq!(
        refused.expect_err("not prepared").code(),
        Code::InvalidArgument
    );
}

/// O2: an empty filter, as an unset variable makes it, never means everything in a purge.
#[tokio::test]
async fn o2_an_empty_filter_purges_nothing() {
    let serving = Serving::start().await;
    let mut client = serving.existing();
    register(&mut client, "t", &[]).await;
    let kept = create(&mut client, "t", "", "").await;
    let select = proto::SelectDeployments {
        parent_deployment_id: Some(String::new()),
        ..Default::default()
    };
    let refused = client.purge_deployments(select).await;
    assert_eq!(refused.expect_err("refused").code(), Code::InvalidArgument);
    for plugins in [
        proto::SelectPlugins {
            r#type: Some(String::new()),
            ..Default::default()
        },
        proto::SelectPlugins {
            executor: Some(String::new()),
            ..Default::default()
        },
    ] {
        let refused = client.purge_plugins(plugins).await;
        assert_eq!(refused.expect_err("refused").code(), Code::InvalidArgument);
    }
    // A pattern that is empty matches nothing.
    let select = proto::SelectDeployments {
        template_id_patterns: texts(&[""]),
        ..Default::default()
    };
    let answer = client.purge_deployments(select).await.expect("an answer");
    assert!(answer.into_inner().deleted);
    let request = proto::ListDeployments::default();
    let left = all(client.list_deployments(request).await).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].deployment_id, kept);
}
