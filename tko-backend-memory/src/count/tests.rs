//! What counts look at, and that they are right while things change.

use super::Tally;
use crate::sample::{commit, deployment, key, puts, site, state, template, template_id};
use crate::state::State;
use crate::walk::MAX_VISITED;
use crate::walk::tests::deployments;
use tko_core::{Change, ChangeSet, Count, Kind, Pattern, Select};

/// The count, and how many index entries were looked at.
pub(crate) fn count(state: &State, select: &Select, bound: u64) -> (Count, usize) {
    let mut tally = Tally::new(select, bound);
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
fn one_facet_is_counted_without_looking() {
    let mut state = deployments();
    let mut select = all(Kind::Deployment);
    assert_eq!(count(&state, &select, 10_000), (found(2_001), 0));
    select.template_ids = id("t/3");
    assert_eq!(count(&state, &select, 10_000), (found(200), 0));
    // What is being deleted is hidden, so rows have to be looked at.
    let mut doomed = deployment("doomed", |d| d.template = Some(template_id("t/3")));
    doomed.deleting = true;
    commit(&mut state, puts([doomed]));
    assert_eq!(count(&state, &select, 10_000), (found(200), 202));
    select.deleting = true;
    assert_eq!(count(&state, &select, 10_000), (found(201), 0));
}

fn found(found: u64) -> tko_core::Count {
    tko_core::Count { found, more: false }
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

/// Sites of which every second has an odd name; more than one step can look at.
fn many() -> (State, Select) {
    let state = state((0..2 * MAX_VISITED + 100).map(|n| {
        let parity = ["even", "odd"][n % 2];
        site(&format!("s{n:06}/{parity}"), &[])
    }));
    let mut odd = all(Kind::Site);
    odd.ids = id("**odd");
    (state, odd)
}

fn delete(state: &mut State, id: &str) {
    let set = ChangeSet {
        changes: vec![Change::Delete(key(Kind::Site, id))],
        ..ChangeSet::default()
    };
    commit(state, set);
}

#[test]
fn a_long_count_is_of_the_last_instant() {
    let (mut state, odd) = many();
    let mut tally = Tally::new(&odd, u64::MAX);
    assert_eq!(tally.step(&state), None);
    let expected = MAX_VISITED as u64 + 50;
    // Behind and before where it is: one comes, one goes; what does not match is nothing.
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
fn a_count_that_cannot_catch_up_begins_anew_and_ends() {
    let (mut state, odd) = many();
    let mut tally = Tally::new(&odd, u64::MAX);
    let mut steps = 0;
    let counted = loop {
        if let Some(count) = tally.step(&state) {
            break count;
        }
        steps += 1;
        // More than the log keeps, each time.
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
    let mut tally = Tally::new(&select, u64::MAX);
    assert_eq!(tally.step(&state), None);
    commit(&mut state, puts([template("a", &[])]));
    let counted = loop {
        if let Some(count) = tally.step(&state) {
            break count;
        }
    };
    assert_eq!(counted, found(MAX_VISITED as u64));
}
