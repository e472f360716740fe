#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod budget;
mod catalog;
mod controller;
mod executor;
pub mod export;
mod follow;
mod host_policy;
mod http;
mod inventory;
pub mod metrics;
mod program;
mod properties;
pub mod provenance;
pub mod report;
mod settings;
pub mod webhook;
mod worker;

pub use admission::check_plugin;
pub use catalog::{CATALOG_EXECUTORS, catalog_executor_of, oci_file};
pub use controller::CatalogController;
pub use inventory::INVENTORY_EXECUTORS;
pub use metrics::CatalogMetrics;
pub use report::{MassDisappearance, SyncProblem, SyncReport};
pub use settings::CatalogSettings;
pub use webhook::WebhookServer;
