//! The index entries that counts read, and counts during changes.

use super::RunningCount;
use crate::list::tests::deployments;
use crate::sample::{commit, deployment, key, puts, site, state, template, template_id};
use crate::state::MemoryState;
use crate::walk::MAX_VISITED;
use tko_core::{ChangeSet, Count, Kind, Pattern, Select};

/// The count, and the number of index entries read.
pub(crate) fn count(state: &MemoryState, select: &Select, bound: u64) -> (Count, usize) {
    let mut tally = RunningCount::new(select, bound);
    loop {
        if let Some(count) = tally.step(state) {
            return (count, tally.visited);
        }
    }
}

fn all(kind: Kind) -> Select {
    Select::all(kind)
}

fn id(pattern: &str) -> Vec<Pattern> {
    vec![Pattern::id(pattern).expect("a pattern")]
}

#[test]
fn one_facet_is_counted_without_reading_rows() {
    let mut state = deployments();
    let mut select = all(Kind::Deployment);
    assert_eq!(count(&state, &select, 10_000), (found(2_001), 0));
    select.template_ids = id("t/3");
    assert_eq!(count(&state, &select, 10_000), (found(200), 0));
    // Deployments that are being deleted are hidden, so rows must be read.
    let mut doomed = deployment("doomed", |d| d.template = Some(template_id("t/3")));
    doomed.deleting = true;
    commit(&mut state, puts([doomed]));
    assert_eq!(count(&state, &select, 10_000), (found(200), 202));
    select.deleting = true;
    assert_eq!(count(&state, &select, 10_000), (found(201), 0));
}

fn found(found: u64) -> tko_core::Count {
    tko_core::Count::new(found, false)
}

#[test]
fn a_count_stops_at_its_bound() {
    let state = deployments();
    let mut select = all(Kind::Deployment);
    select.prepared = Some(true);
    select.template_ids = id("t/*");
    let (count, visited) = count(&state, &select, 50);
    assert_eq!((count.found, count.more), (50, true));
    assert!(visited < 120, "{visited}");
}

/// Sites, every second with an odd name; more than one step can read.
fn many() -> (MemoryState, Select) {
    let state = state((0..2 * MAX_VISITED + 100).map(|n| {
        let parity = ["even", "odd"][n % 2];
        site(&format!("s{n:06}/{parity}"), &[])
    }));
    let mut odd = all(Kind::Site);
    odd.ids = id("**odd");
    (state, odd)
}

fn delete(state: &mut MemoryState, id: &str) {
    let set = ChangeSet::new().delete(key(Kind::Site, id));
    commit(state, set);
}

#[test]
fn a_long_count_is_exact_at_its_last_step() {
    let (mut state, odd) = many();
    let mut tally = RunningCount::new(&odd, u64::MAX);
    assert_eq!(tally.step(&state), None);
    let expected = MAX_VISITED as u64 + 50;
    // Changes after and before the current position. Only matching rows before it change the count.
    commit(&mut state, puts([site("a/odd", &[]), site("z/odd", &[])]));
    commit(&mut state, puts([site("a/even", &[]), site("z/even", &[])]));
    delete(&mut state, "s000001/odd");
    assert_eq!(tally.step(&state), None);
    delete(&mut state, "s020001/odd");
    delete(&mut state, "s000003/odd");
    assert_eq!(tally.step(&state), Some(found(expected - 1)));
    assert_eq!(count(&state, &odd, u64::MAX).0, found(expected - 1));
}

#[test]
fn a_count_that_cannot_catch_up_restarts_and_ends() {
    let (mut state, odd) = many();
    let mut tally = RunningCount::new(&odd, u64::MAX);
    let mut steps = 0;
    let counted = loop {
        if let Some(count) = tally.step(&state) {
            break count;
        }
        steps += 1;
        // More changes per step than the log keeps.
        for n in 0..20 {
            commit(&mut state, puts([site(&format!("x{steps}/{n}/odd"), &[])]));
        }
    };
    assert_eq!(counted, count(&state, &odd, u64::MAX).0);
    assert!(steps <= 10, "{steps}");
}

#[test]
fn a_count_by_the_template_notices_that_the_template_changed() {
    let children = (0..2 * MAX_VISITED).map(|n| {
        deployment(&format!("d{n:06}"), |d| {
            d.template = Some(template_id(["a", "b"][n % 2]));
        })
    });
    let upf = |id| template(id, &[("kind", "upf")]);
    let mut state = state([upf("a"), upf("b")].into_iter().chain(children));
    let mut select = all(Kind::Deployment);
    select.template_metadata = [("kind".to_owned(), Pattern::literal("upf"))].into();
    let mut tally = RunningCount::new(&select, u64::MAX);
    assert_eq!(tally.step(&state), None);
    commit(&mut state, puts([template("a", &[])]));
    let counted = loop {
        if let Some(count) = tally.step(&state) {
            break count;
        }
    };
    assert_eq!(counted, found(MAX_VISITED as u64));
}
