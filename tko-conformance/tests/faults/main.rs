//! Broken backends: each has exactly one fault, and one check of suite 1 must fail because of it.

mod broken;
mod edges;
mod feed;
mod pairs;
mod reads;
mod writes;

use async_trait::async_trait;
use broken::Broken;
use pairs::PAIRS;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Arc;
use std::time::Duration;
use tko_conformance::{BACKEND_CHECKS, BackendHarness, ConformanceCheck, ManualClock, Reference};
use tko_core::Backend;

struct Harness {
    clock: ManualClock,
    fault: &'static str,
}

#[async_trait]
impl BackendHarness for Harness {
    async fn fresh(&self, history: usize) -> Arc<dyn Backend> {
        let reference = Reference::new(Arc::new(self.clock.clone()), history);
        Arc::new(Broken::new(reference, self.fault))
    }

    async fn beside(&self, subject: &Arc<dyn Backend>) -> Arc<dyn Backend> {
        if self.fault == "other processes see another store" {
            return self.fresh(100).await;
        }
        subject.clone()
    }

    async fn advance(&self, by: Duration) {
        if self.fault != "time stands still" {
            self.clock.advance(by);
        }
    }

    fn is_paused(&self) -> bool {
        true
    }
}

/// Whether the check fails on a backend with this fault.
fn fails(check: &ConformanceCheck<dyn BackendHarness>, fault: &'static str) -> bool {
    let harness = Arc::new(Harness {
        clock: ManualClock::new(),
        fault,
    });
    catch_unwind(AssertUnwindSafe(|| (check.run)(harness))).is_err()
}

/// Hides panics: the checks must fail here, hundreds of times.
fn quietly() {
    set_hook(Box::new(|_| {}));
}

/// Returns the findings as an error, because panics are hidden.
fn none(what: &str, found: Vec<impl Into<String>>) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = found.into_iter().map(Into::into).collect();
    Err(format!("{what}: {}", found.join("; ")))
}

#[test]
fn each_fault_fails_the_check_that_is_made_for_it() -> Result<(), String> {
    quietly();
    let mut wrong = Vec::new();
    for (fault, name) in PAIRS {
        match BACKEND_CHECKS.iter().find(|check| check.name == *name) {
            None => wrong.push(format!("{name} is not a check")),
            Some(check) if fails(check, fault) => {}
            Some(_) => wrong.push(format!("{name} passes although {fault}")),
        }
    }
    none("wrong", wrong)
}

#[test]
fn each_check_holds_without_a_fault() -> Result<(), String> {
    quietly();
    let failing = BACKEND_CHECKS.iter().filter(|check| fails(check, "none"));
    none("failing", failing.map(|check| check.name).collect())
}

#[test]
fn each_check_is_proven_by_a_fault() -> Result<(), String> {
    let proven: BTreeSet<&str> = PAIRS.iter().map(|(_, check)| *check).collect();
    let names = BACKEND_CHECKS.iter().map(|check| check.name);
    let unproven: Vec<&str> = names.filter(|name| !proven.contains(name)).collect();
    none("no fault is made for", unproven)
}
