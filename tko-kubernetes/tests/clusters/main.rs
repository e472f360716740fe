//! The scheduler on a real Kubernetes API server.
//!
//! These tests need the programs that `cargo xtask kubernetes` builds, and are run by
//! `bash .ci/long kubernetes`.

mod applying;
mod crashes;
mod fleet;
mod infrastructure;
mod removing;
mod trouble;
mod watching;
mod world;
