//! Behind a real API server, which `cargo xtask kubernetes` builds; `bash .ci/long kubernetes` runs
//! these tests.
//!
//! `TKO_TEST_KUBECTL` names the programs of kubectl, separated by colons.

mod access;
mod behind;
mod certificates;
mod commands;
mod controllers;
mod discovery;
mod restarts;
