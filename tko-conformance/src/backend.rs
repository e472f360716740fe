//! Suite 1: the behaviour of every [`Backend`](tko_core::Backend), one file for each operation.
//!
//! Run it with [`backend_suite!`](crate::backend_suite). Each check is one `async fn`. It takes a
//! [`BackendFixture`] with a fresh backend and panics if the behaviour in its first line is
//! missing.

pub mod claim;
pub mod commit;
pub mod count;
pub mod feed;
mod fixture;
pub mod get;
pub mod history;
pub mod idempotency_key;
pub mod interleaved;
pub mod list;
pub mod modification;
pub mod preconditions;
pub mod put;
pub mod random;
pub mod renew;
mod sample;
pub mod select;
pub mod settle;
pub mod shared_value;
pub mod wait;

pub use fixture::BackendFixture;
