#![doc = include_str!("../README.md")]
//!
//! # Building blocks
//!
//! The same parts build other executors, such as a worker pool, a container or a pod: [`call`] is
//! the protocol, [`process`] runs one program within limits, [`channel`] and [`log`] carry its log
//! lines, and [`failure`] describes errors.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod call;
pub mod channel;
pub mod command;
pub mod failure;
pub mod json;
pub mod lines;
pub mod log;
pub mod process;
pub mod settings;
pub mod stderr;

pub use command::CommandExecutor;
pub use failure::Failure;
pub use settings::{CommandSettings, Grpc, LogChannel, Timeouts};
