//! Data service, preparer and scheduler as separate processes.

use crate::harness::core5g::{all, created, registered, total};
use crate::harness::{Dice, Feed, Server, Service};
use std::fs;
use std::path::Path;
use std::process::Command;
use tko_core::entity::SCHEDULED;
use tko_core::{Entity, Kind};

const EDGES: usize = 4;

/// The expected files: deployments by template, times the files of each.
const FILES: usize = 11 * (EDGES + 8) + 8 * (4 + 4) + 9 * 4 + 3 * 4;

fn is_scheduled(entity: &Entity) -> bool {
    let condition = entity.condition(SCHEDULED);
    condition.is_some_and(|c| c.status == Some(true))
}

/// Prepares, approves and schedules a small nation; calls `disturb` now and then.
async fn nation(server: &Server, mut disturb: impl AsyncFnMut()) {
    registered(server, EDGES).await;
    let flags = server.flags();
    let preparer = Service::start(&format!("preparer start {flags}"));
    let client = server.client();
    let feed = Feed::of(&client);
    created(server).await;
    let whole = total(EDGES);
    feed.until("prepared", |counts| counts.prepared == whole - 1)
        .await;
    let approved = server.tko("deployment approve --all").good().await;
    assert_eq!(approved.stderr, "approved 4 deployments\n");
    for entity in all(&client, Kind::Deployment).await {
        let row = entity.deployment().expect("a deployment");
        if row.site.is_some() && row.prepared {
            disturb().await;
            server.until(&entity.key, "on its site", is_scheduled).await;
        }
    }
    preparer.stop().await;
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml")
}

fn manifests(root: &Path) -> usize {
    let mut files = 0;
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() {
                if name != ".git" {
                    left.push(path);
                }
            } else {
                assert!(!name.contains("tmp"), "{} was left behind", path.display());
                files += usize::from(is_yaml(&path));
            }
        }
    }
    files
}

#[tokio::test]
async fn three_processes_write_a_nation_to_a_git_repository() {
    let server = Server::data().await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("sites");
    let flags = server.flags();
    let scheduler = Service::start(&format!(
        "scheduler start {flags} --manifests-git {}",
        root.display()
    ));
    nation(&server, async || ()).await;
    scheduler.stop().await;
    assert_eq!(manifests(&root), FILES);
    let git = |arguments: &[&str]| {
        let run = Command::new("git")
            .current_dir(&root)
            .args(arguments)
            .output();
        let output = run.expect("git is there");
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(git(&["status", "--porcelain"]), "");
    let tracked = git(&["ls-files"]);
    let tracked = tracked.lines().filter(|name| is_yaml(Path::new(name)));
    assert_eq!(tracked.count(), FILES);
}

#[tokio::test]
async fn a_scheduler_is_killed_again_and_again() {
    let server = Server::data().await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("sites");
    let start = || {
        let flags = server.flags();
        let root = root.display();
        Service::start(&format!(
            "scheduler start {flags} --lease 1s --manifests {root}"
        ))
    };
    let mut dice = Dice::new();
    let mut scheduler = Some(start());
    let mut deaths = 0;
    nation(&server, async || {
        if dice.below(3) == 0 && deaths < 8 {
            let dying = scheduler.replace(start()).expect("one is there");
            dying.kill().await;
            deaths += 1;
        }
    })
    .await;
    let last = scheduler.expect("one is there");
    last.event("worker started").await;
    last.stop().await;
    assert_eq!(manifests(&root), FILES);
}
