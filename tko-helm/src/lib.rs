#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod chart;
pub mod condition;
pub mod expression;
pub mod install;
pub mod manifests;
pub mod preparer;
mod program;
pub mod settings;
mod site;
mod template;

pub use chart::HelmChart;
pub use install::{HelmScheduler, InstallSettings, KubeconfigFinder, SiteKubeconfig};
pub use preparer::HelmPreparer;
pub use settings::HelmSettings;
