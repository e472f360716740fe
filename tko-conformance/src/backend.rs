//! Suite 1: what holds for every [`Backend`](tko_core::Backend), one file for each operation.
//!
//! Run it with [`backend_suite!`](crate::backend_suite). Each check is one `async fn` that takes a
//! [`Bench`] with a fresh subject and panics if the behaviour in its first line is not there.

mod bench;
pub mod claim;
pub mod commit;
pub mod count;
pub mod edit;
pub mod get;
pub mod history;
pub mod interleaved;
pub mod list;
pub mod once;
pub mod put;
pub mod random;
pub mod require;
mod sample;
pub mod select;
pub mod settle;
pub mod tail;
pub mod wait;

pub use bench::Bench;
