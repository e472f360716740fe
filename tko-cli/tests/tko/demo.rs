//! `tko demo` succeeds with fleets of any size, fails if something is wrong, and leaves other
//! folders alone.

use crate::harness::{Server, Service, tko};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tko_core::{DataApi, Kind, List, Pattern, Select};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    (folder, out)
}

/// The number of manifests of all sites.
fn manifests(out: &Path) -> usize {
    let mut files = 0;
    let mut left = vec![out.join("sites")];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                files += usize::from(path.extension().is_some_and(|e| e == "yaml"));
            }
        }
    }
    files
}

async fn demo(sites: usize, deployments: usize, files: usize) {
    let (_folder, out) = folder();
    let run = tko(&format!("demo --sites {sites} --out")).arg(&out);
    let done = run.good().await;
    // The table has no lines between its rows.
    let row = |name: &str| {
        let line = done
            .text()
            .lines()
            .find(|line| line.trim().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name}: {done}"));
        line.split_whitespace()
            .next_back()
            .expect("a number")
            .to_owned()
    };
    assert_eq!(row("sites "), sites.to_string());
    assert_eq!(row("deployments"), deployments.to_string());
    assert_eq!(row("manifests"), files.to_string());
    assert_eq!(manifests(&out), files);
    assert_eq!(done.text().matches("──").count() % 2, 0);
    assert!(
        done.text()
            .contains("spec.selector: is required and missing"),
        "{done}"
    );
    for line in [
        "functions of a Kptfile: 3 replicas in namespace",
        "a function in WebAssembly: zone set to zone-east",
        "a Helm chart with expressions: ",
    ] {
        assert!(done.text().contains(line), "no {line}: {done}");
    }
}

#[tokio::test]
async fn the_smallest_fleet_comes_out_right() {
    demo(12, 22, 132).await;
}

#[tokio::test]
async fn a_middling_fleet_comes_out_right() {
    demo(60, 82, 56 * 11 + 16 * 8 + 4 * 3).await;
}

#[tokio::test]
async fn the_default_fleet_comes_out_right() {
    demo(200, 250, 2_520).await;
}

#[tokio::test]
async fn a_folder_that_is_not_its_own_is_left_alone() {
    let (_folder, out) = folder();
    fs::create_dir_all(out.join("sites")).expect("a folder");
    fs::write(out.join("sites/mine.yaml"), "mine").expect("a file");
    let refused = tko("demo --sites 12 --out").arg(&out).bad(1).await;
    assert!(
        refused.contains("--out") && refused.contains("out exists"),
        "{refused}"
    );
    assert_eq!(
        fs::read_to_string(out.join("sites/mine.yaml")).expect("the file exists"),
        "mine"
    );
    let file = out.join("sites/mine.yaml");
    tko("demo --sites 12 --out").arg(&file).bad(1).await;
    assert_eq!(fs::read_to_string(&file).expect("the file exists"), "mine");
}

#[tokio::test]
async fn its_own_folder_is_used_again() {
    let (_folder, out) = folder();
    let run = || tko("demo -q --sites 12 --out").arg(&out);
    run().good().await;
    let stale = out.join("sites/stale/deployment");
    fs::create_dir_all(&stale).expect("a folder");
    fs::write(stale.join("old.yaml"), "old").expect("a file");
    let again = run().good().await;
    assert!(again.stderr.is_empty(), "{again}");
    assert_eq!(manifests(&out), 132);
}

#[tokio::test]
async fn suggested_commands_work() {
    let (_folder, out) = folder();
    let arguments = format!(
        "demo --serve --sites 40 --grpc-port 0 --grpc-ip-stack ipv4 --out {}",
        out.display()
    );
    let service = Service::start(&arguments);
    let serving = service.line("Serving gRPC on ").await;
    let port = serving
        .split_whitespace()
        .find_map(|word| word.strip_prefix("127.0.0.1:"))
        .map(|port| port.trim_end_matches(';').parse().expect("a port"));
    let server = Server {
        port: port.expect("an address"),
        service,
    };
    let text = server.service.stdout();
    let next: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  tko "))
        // A shell would remove the quotes.
        .map(|command| command.replace('\'', ""))
        .collect();
    let [waiting, approve, sites] = &next[..] else {
        panic!("not three commands: {text}");
    };
    let listed = server.tko(waiting).good().await;
    assert_eq!(listed.text().lines().count(), 5, "{listed}");
    let approved = server.tko(approve).good().await;
    assert_eq!(approved.stderr, "approved 4 deployments\n");
    let listed = server.tko(waiting).good().await;
    assert!(listed.text().trim().is_empty(), "{listed}");
    let listed = server.tko(sites).good().await;
    assert_eq!(listed.text().lines().count(), 1 + 7 + 3, "{listed}");
    // What is approved gets placed.
    let select = Select::all(Kind::Deployment).template_id(Pattern::literal("nf/amf:v1.0.0"));
    let list = List::new(select).limit(10);
    for record in server.client().list(&list).await.expect("a page").items {
        let scheduled = |entity: &tko_core::Entity| {
            let condition = entity.condition(tko_core::entity::SCHEDULED);
            condition.is_some_and(|c| c.status == Some(true))
        };
        server
            .until(&record.entity.key, "on its site", scheduled)
            .await;
    }
    let mut service = server.service;
    service.signal(Signal::INT);
    assert!(service.ended().await.success());
}

#[tokio::test]
async fn an_interrupted_demo_fails() {
    let (_folder, out) = folder();
    let arguments = format!("demo -v --sites 5000 --out {}", out.display());
    let mut service = Service::start(&arguments);
    service.event("worker started").await;
    service.signal(Signal::INT);
    assert_eq!(service.ended().await.code(), Some(1));
}
