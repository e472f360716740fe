#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod apply;
mod call;
mod charts;
mod conditions;
mod conflicts;
mod context;
mod controller;
mod former;
mod gather;
pub mod manifests;
mod reconcile;
mod report;
mod settings;
mod steps;
mod sweep;

pub use controller::ScheduleController;
pub use gather::{SiteDeployments, gather};
pub use manifests::Manifests;
pub use manifests::git::GitSettings;
pub use settings::ScheduleSettings;
