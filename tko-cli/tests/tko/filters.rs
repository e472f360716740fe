//! Filters and windows as flags.

use crate::harness::{Server, filled, sorted};
use serde_json::json;

#[tokio::test]
async fn templates_and_sites_are_filtered() {
    let server = Server::data().await;
    filled(&server).await;
    for (command, ids) in [
        ("template list --id nf/*:*", vec!["nf/smf:v1", "nf/upf:v1"]),
        ("template list --id nf/*", vec![]),
        ("template list --id nf/** --id **/upf:*", vec!["nf/upf:v1"]),
        ("template list --id nf/** --id site/**", vec![]),
        (
            "template list --metadata type=nf",
            vec!["nf/smf:v1", "nf/upf:v1"],
        ),
        (
            "template list --metadata type=n*,vendor=acme",
            vec!["nf/upf:v1"],
        ),
        (
            "template list --metadata type=nf --metadata vendor=other",
            vec![],
        ),
    ] {
        let list = server.tko(command).arg("-ojson").good().await;
        assert_eq!(list.column("templateId"), ids, "{command}");
    }
    for (command, ids) in [
        (
            "site list --metadata region=north",
            vec!["india/north/1", "japan/1"],
        ),
        (
            "site list --metadata region=north --id india/**",
            vec!["india/north/1"],
        ),
        (
            "site list --template-id site/*:v1",
            vec!["india/north/1", "india/south/1", "japan/1"],
        ),
        ("site list --template-id nf/**", vec![]),
    ] {
        let list = server.tko(command).arg("-ojson").good().await;
        assert_eq!(list.column("siteId"), ids, "{command}");
    }
}

#[tokio::test]
async fn deployments_are_filtered() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let of = |numbers: &[usize]| sorted(numbers.iter().map(|n| ids[*n].clone()).collect());
    for (filter, found) in [
        ("", of(&[0, 1, 2, 3])),
        ("--template-id nf/upf:*", of(&[0, 1])),
        ("--template-metadata vendor=ac*", of(&[0, 1])),
        ("--site-id india/south/*", of(&[1])),
        ("--site-metadata region=north", of(&[0])),
        ("--metadata stage=lab", of(&[2])),
        ("--prepared", of(&[0, 1])),
        ("--prepared=true", of(&[0, 1])),
        ("--prepared=false", of(&[2, 3])),
        ("--approved", of(&[1])),
        ("--prepared --approved=false", of(&[0])),
        (&format!("--parent {}", ids[2]), of(&[3])),
        (&format!("--parent={}", ids[0]), of(&[])),
    ] {
        let command = format!("deployment list -o json {filter}");
        let list = server.tko(&command).good().await;
        assert_eq!(list.column("deploymentId"), found, "{command}");
    }
    let list = server
        .tko("template list -ojson --id nf/upf:v1")
        .good()
        .await
        .json();
    assert_eq!(list[0]["deploymentIds"], json!(of(&[0, 1])));
    let list = server
        .tko("site list -ojson --id india/north/1")
        .good()
        .await
        .json();
    assert_eq!(list[0]["deploymentIds"], json!(of(&[0])));
    assert_eq!(list[0]["templateId"], "site/edge:v1");
}

#[tokio::test]
async fn a_window_shows_a_part_of_a_list() {
    let server = Server::data().await;
    for number in 0..7 {
        let register = format!("site register s/{number}");
        server.tko(&register).good().await;
    }
    for (window, shown) in [
        ("", 0..7),
        ("--offset 2", 2..7),
        ("--max-count 3", 0..3),
        ("--offset 5 --max-count 3", 5..7),
        ("--offset 7", 7..7),
        ("--offset 70 --max-count 1", 7..7),
        ("--max-count -1", 0..7),
    ] {
        let list = server
            .tko(&format!("site list -ojson {window}"))
            .good()
            .await;
        let ids: Vec<String> = shown.map(|number| format!("s/{number}")).collect();
        assert_eq!(list.column("siteId"), ids, "{window}");
    }
}
