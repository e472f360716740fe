//! Suite 2: what holds for every [`Data`](tko_core::Data) with [`Controller`](tko_core::Controller),
//! in process or remote, one file for each operation.
//!
//! Run it with [`data_suite!`](crate::data_suite). Each check is one `async fn` that takes a
//! [`Bench`] with a fresh subject and panics if the behaviour in its first line is not there.

pub mod approve;
mod bench;
pub mod create;
pub mod delete;
pub mod due;
pub mod effects;
pub mod metadata;
pub mod modify;
pub mod package;
pub mod placed;
pub mod prepared;
pub mod purge;
pub mod random;
pub mod read;
pub mod register;
mod sample;
pub mod update;
pub mod watch;
pub mod work;

pub use bench::Bench;
