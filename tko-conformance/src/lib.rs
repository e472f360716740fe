#![doc = include_str!("../README.md")]

mod admission;
pub mod backend;
mod between;
mod clock;
pub mod data;
mod explore;
mod harness;
pub mod reference;
mod runtime;
mod suite;
mod verdict;

pub use admission::{AdmitAll, Strict};
pub use between::{BackendCall, Between, CallObserver};
pub use clock::{CountedIds, ManualClock, TokioClock};
pub use harness::{BackendHarness, DataHarness};
pub use reference::{Reference, ReferenceHarness};
pub use runtime::{run_backend, run_data};

use std::sync::Arc;

/// One check of a suite, for running the list without the macros.
pub struct ConformanceCheck<H: ?Sized> {
    /// File and function, such as `modification::a_second_modification_is_busy`.
    pub name: &'static str,
    /// Runs the check; panics if it fails.
    pub run: fn(Arc<H>),
}

/// Every check of suite 1.
pub const BACKEND_CHECKS: &[ConformanceCheck<dyn BackendHarness>] =
    __backend_checks!([suite::table] run_backend backend;);

/// Every check of suite 2.
pub const DATA_CHECKS: &[ConformanceCheck<dyn DataHarness>] =
    __data_checks!([suite::table] run_data data;);
