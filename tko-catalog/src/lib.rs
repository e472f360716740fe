#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod catalog;
mod controller;
mod follow;
mod http;
pub mod metrics;
mod program;
mod properties;
pub mod provenance;
pub mod report;
mod settings;
mod worker;

pub use catalog::CATALOG_EXECUTORS;
pub use controller::CatalogController;
pub use metrics::CatalogMetrics;
pub use report::{MassDisappearance, SyncProblem, SyncReport};
pub use settings::CatalogSettings;
