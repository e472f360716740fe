//! Schedulers that are separate processes, killed (SIGKILL) at any point while they bring the
//! clusters of 50 sites to what 500 deployments want.

mod fleet;

use crate::harness::Dice;
use fleet::{Fleet, Wanted};
use std::time::{Duration, Instant};

/// How often what is wanted changes.
const ROUNDS: usize = 3;

/// Kills in each round, and while everything is removed.
const KILLS: usize = 8;

/// The longest life of a process that is killed, in milliseconds.
const LIFE: u64 = 5_000;

/// A number of the environment, or another.
fn setting(name: &str, otherwise: usize) -> usize {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Kills one of two schedulers again and again, then lets two others finish.
async fn die_and_finish(fleet: &Fleet, dice: &mut Dice, wanted: &Wanted) -> usize {
    let mut running = vec![fleet.scheduler(), fleet.scheduler()];
    let mut early = 0;
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(dice.below(LIFE))).await;
        let victim = usize::try_from(dice.below(2)).expect("few");
        running.remove(victim).kill().await;
        running.push(fleet.scheduler());
        early += usize::from(fleet.missing(wanted).await.is_some());
    }
    // What a dead process had waits longer and longer; not for this test.
    fleet.retry().await;
    fleet.settled(wanted).await;
    for one in running {
        one.kill().await;
    }
    early
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn schedulers_that_are_killed_at_random_end_exact() {
    let sites = setting("TKO_TEST_SITES", 50);
    // One of them is absent in each round.
    let deployments = setting("TKO_TEST_DEPLOYMENTS", 11);
    let mut dice = Dice::new();
    let fleet = Fleet::start(sites).await;
    let foreign = fleet.foreign().await;
    let start = Instant::now();
    let mut early = 0;
    let mut moving = None;
    let mut wanted = Wanted::default();
    for number in 0..ROUNDS {
        wanted = fleet.round(number, deployments);
        // No scheduler runs meanwhile, so that what moves leaves and arrives in one call.
        fleet.write(&wanted).await;
        early += die_and_finish(&fleet, &mut dice, &wanted).await;
        let (found, moved) = fleet.present().await;
        assert_eq!(found, wanted.lines(), "round {number}");
        assert_eq!(moved.len(), sites);
        let first = moving.get_or_insert_with(|| moved.clone());
        assert_eq!(*first, moved, "what moves is not made anew");
        eprintln!(
            "round {number}: {} objects, {:?}",
            found.len(),
            start.elapsed()
        );
    }
    assert!(early > 0, "every scheduler was done before it was killed");
    fleet.costs_one_read_for_each_kind().await;

    // Everything goes, and the schedulers die meanwhile.
    let none = Wanted::default();
    fleet.write(&none).await;
    early += die_and_finish(&fleet, &mut dice, &none).await;
    assert_eq!(fleet.present().await, Default::default());
    assert_eq!(foreign, fleet.foreign().await, "nothing else is touched");
    eprintln!(
        "{sites} sites, {} deployments, {ROUNDS} rounds and the removal, {early} of {} kills before the work was done: \
         {:?}",
        wanted.len(),
        KILLS * (ROUNDS + 1),
        start.elapsed()
    );
}
