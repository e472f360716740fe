//! What scripts that were written for the original rely on. The other findings of that comparison
//! are in the files of their subjects.

use crate::harness::{Server, filled};
use std::collections::BTreeMap;

/// C3: a key under which TKO remembers what a deployment waits for.
const INTERNAL: &str = "nephio.org/waits-for/site/edge";

/// C3: metadata of TKO's own are neither shown nor selected.
#[tokio::test]
async fn c3_internal_metadata_are_not_shown_and_cannot_be_selected() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    for command in ["list", "list --state deleting", "list --parent none"] {
        let list = server
            .tko(&format!("deployment {command} -ojson"))
            .good()
            .await;
        assert!(!list.text().contains("waits-for"), "{list}");
    }
    let shown = server
        .tko(&format!("deployment show {} -ojson", ids[2]))
        .good()
        .await;
    assert_eq!(shown.json()["metadata"]["stage"], "lab", "{shown}");
    for select in ["deployment list -m", "deployment purge --dry-run -m"] {
        let refused = server.tko(select).arg(format!("{INTERNAL}=*")).bad(2).await;
        assert!(refused.contains("internal to TKO"), "{refused}");
    }
}

/// C8: an empty deployment is made by nobody on purpose.
#[tokio::test]
async fn c8_a_deployment_needs_a_template_or_a_package() {
    let server = Server::data().await;
    let refused = server.tko("deployment create -s japan/1").bad(2).await;
    assert!(refused.contains("needs a template"), "{refused}");
    let list = server.tko("deployment list -ojson").good().await;
    assert!(list.column("deploymentId").is_empty(), "{list}");
}

/// C10: approving twice is not a failure, and says so.
#[tokio::test]
async fn c10_what_is_approved_already_is_named() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let approve = format!("deployment approve {}", ids[1]);
    let again = server.tko(&approve).good().await;
    assert_eq!(again.stderr, format!("already approved: {}\n", ids[1]));
}

/// C11: an error gives its reason once, and sends nobody to a log that they cannot read.
#[tokio::test]
async fn c11_an_error_gives_its_reason_once() {
    let server = Server::data().await;
    for (command, code) in [
        ("deployment create no/such:v1", 3),
        ("template get no/such:v1", 3),
        ("site register japan/9 no/such:v1", 3),
    ] {
        let refused = server.tko(command).bad(code).await;
        assert!(!refused.contains("log"), "{command}: {refused}");
        assert_eq!(refused.matches("no/such:v1").count(), 1, "{refused}");
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}

/// C12: lists leave out what is empty, and print times without quotes.
#[tokio::test]
async fn c12_lists_have_no_empty_keys_and_plain_times() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let list = server.tko("deployment list -oyaml").good().await;
    for line in list.text().lines() {
        let line = line.trim_start_matches(['-', ' ']);
        let (key, value) = line.split_once(':').expect("a key and a value");
        assert!(
            !["\"\"", "''", "null", "{}", "[]"].contains(&value.trim()),
            "{line}"
        );
        if ["created", "updated"].contains(&key) {
            assert!(value.trim().starts_with("20"), "{line}");
        }
    }
    let json = server.tko("deployment list -ojson").good().await.json();
    let rows = json.as_array().expect("a list");
    let parents: BTreeMap<&str, bool> = rows
        .iter()
        .map(|row| {
            let id = row["deploymentId"].as_str().expect("an id");
            (id, row.get("parentDeploymentId").is_some())
        })
        .collect();
    assert!(parents[ids[3].as_str()] && !parents[ids[0].as_str()]);
}

/// C13: a version is one number of a sequence that only changes take from, so a process that
/// makes a few changes is not far behind its start.
#[tokio::test]
async fn c13_versions_do_not_jump_while_a_process_runs() {
    let server = Server::data().await;
    filled(&server).await;
    let mut versions = Vec::new();
    for kind in ["template", "site", "deployment"] {
        let list = server.tko(&format!("{kind} list -ojson")).good().await;
        for row in list.json().as_array().expect("a list") {
            let id = row[&format!("{kind}Id")].as_str().expect("an id");
            let show = server.tko(&format!("{kind} show {id} -ojson")).good().await;
            versions.push(show.json()["version"].as_u64().expect("a version"));
        }
    }
    let (least, most) = (versions.iter().min(), versions.iter().max());
    let apart = most.zip(least).map(|(most, least)| most - least);
    assert!(apart.is_some_and(|apart| apart < 100), "{versions:?}");
}
