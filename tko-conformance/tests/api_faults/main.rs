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
use pairs::PAIRS;
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

#[test]
fn each_fault_fails_the_check_that_is_made_for_it() -> Result<(), String> {
    // The checks must fail here, so their panics are not printed.
    set_hook(Box::new(|_| {}));
    let mut wrong = Vec::new();
    for (fault, name) in PAIRS {
        match DATA_CHECKS.iter().find(|check| check.name == *name) {
            None => wrong.push(format!("{name} is not a check")),
            Some(check) if !fails(check, fault) => {
                wrong.push(format!("{name} passes although {fault}"));
            }
            Some(check) if fails(check, "none") => {
                wrong.push(format!("{name} fails without a fault"));
            }
            Some(_) => {}
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("; "))
    }
}
