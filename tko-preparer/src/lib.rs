#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocker;
mod conditions;
mod context;
mod controller;
mod progress;
mod reconcile;
mod result_cache;
mod settings;
mod shared_results;
mod subscribers;
pub mod topology;

pub use conditions::{APPROVED, PREPARED, TRACKED};
pub use controller::PrepareController;
pub use result_cache::{CacheCounts, ResultCache};
pub use settings::PrepareSettings;
pub use topology::native;
