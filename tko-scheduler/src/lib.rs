#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod apply;
mod calls;
mod gather;
pub mod manifests;
mod pass;
mod scheduling;
mod settings;
mod steps;
mod sweep;
mod words;

pub use manifests::Manifests;
pub use manifests::git::GitSettings;
pub use scheduling::Scheduling;
pub use settings::Settings;
