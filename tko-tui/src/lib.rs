#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
mod draw;
mod driver;
mod fetch;
#[cfg(test)]
mod fixture;
mod follow;
mod input;
mod state;
mod terminal;
mod text;
mod window;

pub use terminal::{DashboardSettings, run};
pub use text::TimeZoneOffset;
