#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocker;
mod controller;
mod progress;
mod reconcile;
mod settings;
pub mod topology;
mod wake;

pub use blocker::{APPROVED, PREPARED, TRACKED};
pub use controller::PrepareController;
pub use settings::Settings;
pub use topology::native;
