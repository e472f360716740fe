#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod awx;
mod change;
mod executor;
mod extra_variables;
mod runner;

pub use self::executor::{AnsibleExecutor, AnsibleSettings};
