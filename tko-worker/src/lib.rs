#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod claims;
pub mod deletion;
mod guard;
mod handle;
pub mod lease;
mod plugins;
mod settings;
mod settlement;
mod text;
mod worker;

pub use async_trait::async_trait;
pub use deletion::DeletionController;
pub use futures_util::future::BoxFuture;
pub use guard::{CallFailure, guarded, panic_message};
pub use handle::Handle;
pub use plugins::{PluginFollower, close_executors};
pub use settings::WorkerSettings;
pub use settlement::{busy_outcome, claim_backoff, claim_jitter};
pub use text::shortened;
pub use tko_core::retry::{Retry, is_permanent, jitter};
pub use tokio_util::sync::CancellationToken;
pub use worker::{Ready, Worker};
