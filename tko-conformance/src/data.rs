//! Suite 2: the behaviour of every [`DataApi`](tko_core::DataApi) with
//! [`WorkerApi`](tko_core::WorkerApi), in process or remote, one file for each operation.
//!
//! Run it with [`data_suite!`](crate::data_suite). Each check is one `async fn`. It takes a
//! [`DataFixture`] with a fresh store and panics if the behaviour in its first line is missing.

pub mod approve;
pub mod claim;
pub mod create;
pub mod delete;
pub mod effects;
mod fixture;
pub mod metadata;
pub mod modification;
pub mod package;
pub mod prepare_step;
pub mod purge;
pub mod random;
pub mod read;
pub mod register;
mod sample;
pub mod schedule_step;
pub mod triggers;
pub mod update;
pub mod watch;

pub use fixture::DataFixture;
