#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod open;
mod pass;
mod preparing;
mod progress;
mod settings;
pub mod topology;
mod wake;

pub use open::{APPROVED, PREPARED, TRACKED};
pub use preparing::Preparing;
pub use settings::Settings;
pub use topology::native;
