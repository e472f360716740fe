//! Suite 2: what holds for every [`DataApi`](tko_core::Data) with [`WorkerApi`](tko_core::Controller),
//! in process or remote, one file for each operation.
//!
//! Run it with [`data_suite!`](crate::data_suite). Each check is one `async fn` that takes a
//! [`DataFixture`] with a fresh subject and panics if the behaviour in its first line is not there.

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
