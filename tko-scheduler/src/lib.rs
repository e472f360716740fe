#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod apply;
mod calls;
mod conditions;
mod controller;
mod gather;
pub mod manifests;
mod reconcile;
mod settings;
mod steps;
mod sweep;

pub use controller::ScheduleController;
pub use manifests::Manifests;
pub use manifests::git::GitSettings;
pub use settings::Settings;
