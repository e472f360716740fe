#![doc = include_str!("../README.md")]
//!
//! # Building blocks
//!
//! The same parts build other executors, such as a container or a pod. [`call`] is the protocol,
//! and [`process`] runs one program within limits. [`channel`] and [`log`] carry its log lines,
//! [`environment`] starts it with few variables, and [`failure`] describes errors.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod call;
pub mod channel;
pub mod command;
pub mod environment;
pub mod failure;
mod handler;
pub mod json;
pub mod lines;
pub mod log;
pub mod metrics;
mod observed;
pub mod policy;
pub mod process;
mod program;
mod redaction;
pub mod settings;
pub mod stderr;
pub mod trace;
pub mod worker;

pub use command::CommandExecutor;
pub use failure::Failure;
pub use metrics::{PluginMetrics, PluginTotals};
pub use observed::ObservedExecutor;
pub use policy::PluginPolicy;
pub use settings::{CommandSettings, Grpc, LogChannel, Timeouts};
pub use worker::{WorkerExecutor, WorkerPoolSettings};
