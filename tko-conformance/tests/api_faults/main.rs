//! Broken APIs: each has exactly one fault, and one check of suite 2 must fail because of it.

mod admission;
mod broken;
mod claims;
mod create;
mod delete;
mod inner_calls;
mod modification;
mod packages;
mod pairs;
mod read;
mod register;
mod steps;
mod watch;

use admission::Lenient;
use async_trait::async_trait;
use broken::Broken;
use pairs::{PAIRS, WITHOUT_FAULT};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Arc;
use std::time::Duration;
use tko_conformance::{ConformanceCheck, DATA_CHECKS, DataHarness, ReferenceHarness};
use tko_core::{Admission, WorkerApi};

struct Harness {
    sound: ReferenceHarness,
    fault: &'static str,
}

#[async_trait]
impl DataHarness for Harness {
    async fn fresh(&self, admission: Arc<dyn Admission>, history: usize) -> Arc<dyn WorkerApi> {
        let admission = Arc::new(Lenient::new(admission, self.fault));
        let sound = DataHarness::fresh(&self.sound, admission, history).await;
        Arc::new(Broken::new(sound, self.fault))
    }

    async fn advance(&self, by: Duration) {
        DataHarness::advance(&self.sound, by).await;
    }

    fn is_paused(&self) -> bool {
        true
    }
}

/// Whether the check fails on an API with this fault.
fn fails(check: &ConformanceCheck<dyn DataHarness>, fault: &'static str) -> bool {
    let sound = ReferenceHarness::default();
    let harness = Arc::new(Harness { sound, fault });
    catch_unwind(AssertUnwindSafe(|| (check.run)(harness))).is_err()
}

/// Hides panics: the checks must fail here, more than a hundred times.
fn quietly() {
    set_hook(Box::new(|_| {}));
}

/// Returns the findings as an error, because panics are hidden.
fn none(found: &[String]) -> Result<(), String> {
    if found.is_empty() {
        Ok(())
    } else {
        Err(found.join("; "))
    }
}

#[test]
fn each_fault_fails_the_check_that_is_made_for_it() -> Result<(), String> {
    quietly();
    let mut wrong = Vec::new();
    for (fault, name) in PAIRS {
        match DATA_CHECKS.iter().find(|check| check.name == *name) {
            None => wrong.push(format!("{name} is not a check")),
            Some(check) if fails(check, fault) => {}
            Some(_) => wrong.push(format!("{name} passes although {fault}")),
        }
    }
    none(&wrong)
}

#[test]
fn each_check_holds_without_a_fault() -> Result<(), String> {
    quietly();
    let failing = DATA_CHECKS.iter().filter(|check| fails(check, "none"));
    let failing = failing.map(|check| format!("{} fails without a fault", check.name));
    none(&failing.collect::<Vec<_>>())
}

#[test]
fn each_check_has_a_fault_or_a_reason_to_have_none() -> Result<(), String> {
    let with_fault: BTreeSet<&str> = PAIRS.iter().map(|(_, check)| *check).collect();
    let without: BTreeMap<&str, &str> = WITHOUT_FAULT.iter().copied().collect();
    let checks: BTreeSet<&str> = DATA_CHECKS.iter().map(|check| check.name).collect();
    let mut wrong = Vec::new();
    for check in &checks {
        match (with_fault.contains(check), without.get(check)) {
            (false, None) => wrong.push(format!("no fault is made for {check}")),
            (false, Some(&"")) => {
                wrong.push(format!("{check} has no fault and no reason"));
            }
            (true, Some(_)) => wrong.push(format!("{check} has a fault and needs no reason")),
            _ => {}
        }
    }
    let unknown = without.keys().filter(|check| !checks.contains(*check));
    wrong.extend(unknown.map(|check| format!("{check} is not a check")));
    none(&wrong)
}
