//! Preparers are killed at random points, and nothing is doubled, and nothing is lost.

use crate::harness::core5g::{created, is_whole, registered, total};
use crate::harness::{Dice, Feed, Server, Service, own_plugin};
use std::fs;
use std::time::Duration;

/// Edges, beside the three control sites: 60 sites and 76 deployments in the end.
const EDGES: usize = 48;

fn preparer(server: &Server, flags: &str) -> Service {
    Service::start(&format!(
        "preparer start {} --lease 1s {flags}",
        server.flags()
    ))
}

/// Kills one of so many preparers again and again while they take a nation apart; after so many
/// deaths it leaves them in peace.
async fn survive(preparers: usize, most_deaths: u64, edges: usize, flags: &str, server: &Server) {
    let mut dice = Dice::new();
    let (client, whole) = (server.client(), total(edges));
    let national = created(server).await;
    let feed = Feed::of(&client);
    let mut running: Vec<_> = (0..preparers).map(|_| preparer(server, flags)).collect();
    let mut deaths = 0;
    while deaths < most_deaths {
        // A point of the work rather than of time: a busy machine is killed as often as an idle one.
        let point = feed.now().changes + 1 + dice.below(whole as u64 / 3);
        let is_done = |done: usize| done >= whole - 1;
        let told = feed
            .until("further", |told| {
                told.changes >= point || is_done(told.prepared)
            })
            .await;
        if is_done(told.prepared) {
            break;
        }
        // And not always right after a change.
        tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
        let victim = usize::try_from(dice.below(preparers as u64)).expect("few");
        running.remove(victim).kill().await;
        running.push(preparer(server, flags));
        deaths += 1;
    }
    assert!(deaths >= 3, "it was killed {deaths} times only");
    feed.until("prepared", |told| told.prepared == whole - 1)
        .await;
    is_whole(&client, &national, edges).await;
    eprintln!("{deaths} deaths, {:?}", feed.now());
    // The survivors end well and leave it as it is.
    for preparer in running {
        // One that has hardly begun does not hear yet that it is to end.
        preparer.event("preparing").await;
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
async fn plugins_hang_and_are_cut_off_while_preparers_die() {
    const EDGES: usize = 4;
    let server = Server::data().await;
    registered(&server, EDGES).await;
    let folder = tempfile::tempdir().expect("a folder");
    let trigger = "--trigger k8s.cni.cncf.io,v1,NetworkAttachmentDefinition";
    let register = server.tko(&format!("plugin register prepare networks {trigger}"));
    let register = register.arg(own_plugin("hang_once.py")).arg(folder.path());
    register.good().await;
    // Few at once: what a dying preparer held counts as tried, and is tried later each time.
    let flags = "--preparer-workers 3 --preparer-timeout 2s";
    survive(2, 5, EDGES, flags, &server).await;
    // One for each user plane: each of them hung, once.
    let hung = fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(hung, EDGES + 8);
}
