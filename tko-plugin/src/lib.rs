#![doc = include_str!("../README.md")]
//!
//! # Building blocks
//!
//! An executor of another kind (a pool of workers, a container, a pod) can be made of the same
//! parts: [`call`] is the protocol, [`process`] runs one program within limits, [`channel`]
//! and [`log`] carry its lines, [`failure`] says what went wrong.
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
pub use settings::{Grpc, LogChannel, Settings, Timeouts};
