//! Bad input: each is a clear error, and nothing is stored.

use crate::harness::Server;
use ciborium::Value as Cbor;
use std::fmt::Write as _;
use std::fs;
use tko_core::{DataApi, DeploymentId, Entity, Key, Revision};
use tko_grpc::proto::data_client::DataClient;
use tko_grpc::proto::{CreateDeployment, Site, Template};
use tonic::Code;
use tonic::transport::Channel;

/// A valid resource to continue with.
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: it\n";

async fn head(server: &Server) -> Revision {
    server
        .client()
        .feed_position()
        .await
        .expect("a connection")
        .revision
}

/// Checks that a package is refused for these reasons, as a template and as a deployment.
async fn refused(server: &Server, package: impl Into<Vec<u8>>, said: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.yaml");
    fs::write(&file, package.into()).expect("a file");
    let before = head(server).await;
    for command in ["template register it --url", "deployment create --url"] {
        let error = server.tko(command).arg(&file).bad(2).await;
        for part in said {
            assert!(error.contains(part), "{command}: no {part:?} in: {error}");
        }
        assert!(
            error.len() < 2_000,
            "{command}: the error is too long: {error}"
        );
    }
    assert_eq!(head(server).await, before, "something was stored");
}

#[tokio::test]
async fn malformed_yaml_is_refused_by_file_line_and_column() {
    let server = Server::data().await;
    let unclosed = format!("{CONFIG}data: [1, 2\n---\n{CONFIG}");
    refused(&server, unclosed, &["bad.yaml", "line 5, column 7"]).await;
    let in_second = format!("{CONFIG}---\n{CONFIG}data:\n  a: b: c\n");
    refused(&server, in_second, &["bad.yaml", "document 2", "line 11"]).await;
    let indented = format!("{CONFIG}   data: {{}}\n");
    refused(&server, indented, &["bad.yaml", "line 5"]).await;
    let twice = format!("{CONFIG}data:\n  a: b\n  a: c\n");
    refused(
        &server,
        twice,
        &["bad.yaml", "line 7, column 3", "\"a\"", "twice"],
    )
    .await;
    let no_map = format!("{CONFIG}---\njust text\n");
    refused(&server, no_map, &["bad.yaml", "document 2", "map"]).await;
    let nameless = "apiVersion: v1\nkind: ConfigMap\n";
    refused(
        &server,
        nameless,
        &["bad.yaml", "document 1", "metadata.name"],
    )
    .await;
    let mut binary = CONFIG.as_bytes().to_vec();
    binary.extend(b"data: {a: \"\xff\xfe\"}\n");
    refused(&server, binary, &["bad.yaml", "line 5", "UTF-8"]).await;
}

#[tokio::test]
async fn decompression_bombs_are_refused() {
    let server = Server::data().await;
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        writeln!(bomb, "a{level}: &a{level} [{below}]").expect("into memory");
    }
    refused(&server, bomb + CONFIG, &["bad.yaml", "line", "aliases"]).await;
    let flow = format!("{CONFIG}data: {}{}\n", "[".repeat(9_000), "]".repeat(9_000));
    refused(&server, flow, &["bad.yaml", "line 5", "levels"]).await;
    let mut block = format!("{CONFIG}data:\n");
    for level in 0..300 {
        writeln!(block, "{}a:", " ".repeat(level + 1)).expect("into memory");
    }
    refused(&server, block, &["bad.yaml", "levels"]).await;
    let loop_of_aliases = format!("{CONFIG}data: &a [*a]\n");
    refused(&server, loop_of_aliases, &["bad.yaml", "line 5"]).await;
    let large = format!("{CONFIG}data: {{a: {}}}\n", "x".repeat(33 << 20));
    refused(&server, large, &["bad.yaml", "33554432 bytes"]).await;
}

#[tokio::test]
async fn contradictions_are_refused() {
    let server = Server::data().await;
    let twice = format!("{CONFIG}---\n{CONFIG}");
    refused(&server, twice, &["bad.yaml", "ConfigMap it", "twice"]).await;
    for annotation in ["prepare", "metadata", "merge", "approve"] {
        let kind = match annotation {
            "approve" => {
                "apiVersion: deployment.nephio.org/v1alpha1\nkind: Deployment\nmetadata:\n  name: deployment\n"
            }
            _ => CONFIG,
        };
        let text = format!("{kind}  annotations: {{nephio.org/{annotation}: Perhaps}}\n");
        let key = format!("nephio.org/{annotation}");
        refused(&server, text, &[&key, "Perhaps"]).await;
    }
    let wrong =
        "apiVersion: v1\nkind: Service\nmetadata: {name: it}\nspec: {ports: [{port: high}]}\n";
    refused(
        &server,
        wrong,
        &["Service it", "spec.ports[0].port", "integer"],
    )
    .await;

    let folder = tempfile::tempdir().expect("a folder");
    for file in ["a.yaml", "b.yaml"] {
        fs::write(folder.path().join(file), CONFIG).expect("a file");
    }
    let error = server
        .tko("template register it -u")
        .arg(folder.path())
        .bad(2)
        .await;
    assert!(
        error.contains("a.yaml") && error.contains("b.yaml"),
        "{error}"
    );
    assert_eq!(head(&server).await, Revision::default());
}

#[tokio::test]
async fn unknown_names_and_forbidden_characters_are_refused() {
    let server = Server::data().await;
    for (command, said) in [
        ("template register a|b", "'|'"),
        ("template register a#b", "'#'"),
        ("site register ä", "'ä'"),
        ("deployment get a/b", "'/'"),
        ("plugin register prepare a|b x", "'|'"),
        (
            "site register it no/such:template",
            "template no/such:template does not exist",
        ),
        (
            "deployment create no/such:template",
            "template no/such:template does not exist",
        ),
        (
            "deployment create --stdin --site no/such/site",
            "site no/such/site does not exist",
        ),
        (
            "deployment create --stdin --parent 0123",
            "parent id: deployment 0123 does not exist; name another parent",
        ),
        ("deployment create", "needs a template"),
        ("deployment list -m nephio.org/waits-for/site=*", "internal"),
    ] {
        // What does not exist is "not found" to scripts.
        let code = if said.contains("does not exist") {
            3
        } else {
            2
        };
        let error = server.tko(command).bad(code).await;
        assert!(error.contains(said), "{command}: {error}");
    }
    let empty = server.tko("template register").arg("").bad(2).await;
    assert!(empty.contains("empty"), "{empty}");
    let spaced = server.tko("site register").arg("a b").bad(2).await;
    assert!(spaced.contains("' '"), "{spaced}");
    assert_eq!(head(&server).await, Revision::default());
}

#[tokio::test]
async fn a_site_must_be_complete() {
    let server = Server::data().await;
    let partial = "apiVersion: v1\nkind: Service\nmetadata: {name: it}\nspec: {ports: [{}]}\n";
    let template = server.tko("template register partial --stdin");
    template.stdin(partial).good().await;
    let before = head(&server).await;
    for command in [
        "site register it --stdin",
        "site register it partial --stdin",
    ] {
        let own = if command.contains("partial") {
            ""
        } else {
            partial
        };
        let error = server.tko(command).stdin(own).bad(2).await;
        assert!(
            error.contains("Service it: spec.ports[0].port: is required"),
            "{error}"
        );
    }
    server
        .tko("deployment create partial --prepared")
        .bad(2)
        .await;
    assert_eq!(head(&server).await, before);
}

/// Sends bytes that the command line would not send.
#[tokio::test]
async fn the_server_checks_input_of_other_clients() {
    let server = Server::data().await;
    let address = format!("http://127.0.0.1:{}", server.port);
    let mut client = DataClient::connect(address).await.expect("a connection");
    let map = |entries: &[(&str, Cbor)]| {
        let entries = entries
            .iter()
            .map(|(k, v)| (Cbor::Text((*k).into()), v.clone()));
        Cbor::Map(entries.collect())
    };
    let text = |text: &str| Cbor::Text(text.into());
    let resource = map(&[
        ("apiVersion", text("v1")),
        ("kind", text("ConfigMap")),
        ("metadata", map(&[("name", text("it"))])),
    ]);
    let mut cbor = Vec::new();
    ciborium::into_writer(&Cbor::Array(vec![resource]), &mut cbor).expect("into memory");
    for length in [1, 2, cbor.len() / 2, cbor.len() - 1] {
        let what = format!("{length} of {} bytes", cbor.len());
        sent(&mut client, "cbor", cbor[..length].to_vec(), &what).await;
    }
    let mut more = cbor.clone();
    more.push(0);
    let whole = cbor.clone();
    for (format, bytes, what) in [
        ("cbor", more, "more than one item"),
        ("cbor", vec![0x9f; 50_000], "deep"),
        (
            "cbor",
            vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            "endless",
        ),
        ("json", b"[{]".to_vec(), "no JSON"),
        ("yaml", b"a: \xff\n".to_vec(), "no UTF-8"),
        ("yaml", CONFIG.repeat(2).into_bytes(), "keys twice"),
        ("toml", b"a = 1".to_vec(), "no such format"),
        ("yaml", vec![b'#'; 33 << 20], "too large"),
        ("", whole, "no format"),
    ] {
        sent(&mut client, format, bytes, what).await;
    }
    assert_eq!(head(&server).await, Revision::default());
    // The server still works.
    server.tko("template list").good().await;
}

/// Checks that a package is a bad argument as a template, a site and a deployment.
async fn sent(client: &mut DataClient<Channel>, format: &str, package: Vec<u8>, what: &str) {
    let template = Template {
        template_id: "it".into(),
        package_format: format.into(),
        package: package.clone().into(),
        ..Template::default()
    };
    let site = Site {
        site_id: "it".into(),
        package_format: format.into(),
        package: package.clone().into(),
        ..Site::default()
    };
    let deployment = CreateDeployment {
        merge_package_format: format.into(),
        merge_package: package.into(),
        ..CreateDeployment::default()
    };
    let answers = [
        client.register_template(template).await.err(),
        client.register_site(site).await.err(),
        client.create_deployment(deployment).await.err(),
    ];
    for answer in answers {
        let status = answer.unwrap_or_else(|| panic!("{what}: it was accepted"));
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert!(!status.message().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_recursive_topology_is_reported_in_a_condition() {
    let server = Server::start("up").await;
    server.tko("site register here").good().await;
    for (template, other) in [("ring/a", "ring/b"), ("ring/b", "ring/a")] {
        let package = format!(
            "\
apiVersion: topology.nephio.org/v1alpha1
kind: Template
metadata: {{name: other}}
spec: {{templateId: {other}}}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Site
metadata: {{name: here}}
spec: {{siteId: here}}
---
apiVersion: topology.nephio.org/v1alpha1
kind: Placement
metadata: {{name: ring}}
spec: {{templates: [{{template: other, sites: [here]}}]}}
"
        );
        let register = server.tko(&format!("template register {template} --stdin"));
        register.stdin(package).good().await;
    }
    let outer = server.tko("deployment create ring/a").good().await;
    let outer: Key = outer.line().parse::<DeploymentId>().expect("an id").into();
    let prepared = |entity: &Entity| entity.deployment().is_some_and(|d| d.prepared);
    server.until(&outer, "prepared", prepared).await;
    let inner = server
        .tko("deployment list --template-id ring/b -ojson")
        .good()
        .await;
    let [inner] = &inner.column("deploymentId")[..] else {
        panic!("not one child: {inner}");
    };
    let refused = |entity: &Entity| {
        let condition = entity.condition(tko_core::entity::PREPARED);
        condition.is_some_and(|c| c.status == Some(false) && c.message.contains("ring/a"))
    };
    let key: Key = inner.parse::<DeploymentId>().expect("an id").into();
    server.until(&key, "refused", refused).await;
    let all = server.tko("deployment list -ojson").good().await;
    assert_eq!(all.column("deploymentId").len(), 2, "{all}");
}
