//! Preparers are killed at random points; no deployment is duplicated or lost.

use crate::harness::core5g::{created, is_whole, registered, total};
use crate::harness::{Dice, Feed, Server, Service, own_plugin};
use std::fs;
use std::time::Duration;

/// Edges besides the three control sites: 60 sites and 76 deployments in total.
const EDGES: usize = 48;

fn preparer(server: &Server, flags: &str) -> Service {
    Service::start(&format!(
        "preparer start {} --lease 1s {flags}",
        server.flags()
    ))
}

/// Kills preparers at random while they prepare the nation. After `most_deaths` deaths the
/// survivors finish.
async fn survive(preparers: usize, most_deaths: u64, edges: usize, flags: &str, server: &Server) {
    let mut dice = Dice::new();
    let (client, whole) = (server.client(), total(edges));
    let national = created(server).await;
    let feed = Feed::of(&client);
    let mut running: Vec<_> = (0..preparers).map(|_| preparer(server, flags)).collect();
    let mut deaths = 0;
    while deaths < most_deaths {
        // The point is a number of changes, not a time: a busy machine gets as many deaths as an
        // idle one.
        let point = feed.now().changes + 1 + dice.below(whole as u64 / 3);
        let is_done = |done: usize| done >= whole - 1;
        let counts = feed
            .until("further", |counts| {
                counts.changes >= point || is_done(counts.prepared)
            })
            .await;
        if is_done(counts.prepared) {
            break;
        }
        // Also kill at points that do not directly follow a change.
        tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
        let victim = usize::try_from(dice.below(preparers as u64)).expect("few");
        running.remove(victim).kill().await;
        running.push(preparer(server, flags));
        deaths += 1;
    }
    assert!(deaths >= 3, "only {deaths} deaths");
    feed.until("prepared", |counts| counts.prepared == whole - 1)
        .await;
    is_whole(&client, &national, edges).await;
    eprintln!("{deaths} deaths, {:?}", feed.now());
    // The survivors stop successfully and change nothing.
    for preparer in running {
        // A process that has just started does not handle signals yet.
        preparer.event("worker started").await;
        preparer.stop().await;
    }
    is_whole(&client, &national, edges).await;
}

#[tokio::test]
async fn one_preparer_is_killed_again_and_again() {
    let server = Server::data().await;
    registered(&server, EDGES).await;
    survive(1, 12, EDGES, "--preparer-workers 4", &server).await;
}

#[tokio::test]
async fn three_preparers_share_the_work_and_die_in_turn() {
    let server = Server::data().await;
    registered(&server, EDGES).await;
    survive(3, 12, EDGES, "--preparer-workers 4", &server).await;
}

#[tokio::test]
async fn hanging_plugins_are_killed_while_preparers_die() {
    const EDGES: usize = 4;
    let server = Server::data().await;
    registered(&server, EDGES).await;
    let folder = tempfile::tempdir().expect("a folder");
    let trigger = "--trigger k8s.cni.cncf.io,v1,NetworkAttachmentDefinition";
    let register = server.tko(&format!("plugin register prepare networks {trigger}"));
    let register = register.arg(own_plugin("hang_once.py")).arg(folder.path());
    register.good().await;
    // Few workers: work that a dead preparer held counts as an attempt, and each attempt waits
    // longer.
    let flags = "--preparer-workers 3 --preparer-timeout 2s";
    survive(2, 5, EDGES, flags, &server).await;
    // One file for each UPF: each plugin call hung once.
    let hung = fs::read_dir(folder.path())
        .expect("the file exists")
        .count();
    assert_eq!(hung, EDGES + 8);
}
