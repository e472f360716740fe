//! The program `tko` as people, scripts and service managers use it: started as a process, given
//! input, stopped and killed.

mod access;
mod attack;
mod backups;
mod bad_input;
mod catalogs;
mod commands;
mod compatibility;
mod crash;
mod dashboard;
mod demo;
mod deploy;
mod differences;
mod filters;
mod flags;
mod formats;
mod harness;
mod metrics;
mod modifications;
mod plugins;
mod postgres;
mod processes;
mod removal;
mod replicas;
mod roles;
mod scenario;
mod shutdown;
/// The skeleton of `tko plugin new rust`; its test is one of these tests.
#[path = "../../src/entity/plugin/skeletons/lib.rs.txt"]
#[allow(unreachable_pub)] // It is the root of a crate.
mod skeleton;
mod sources;
mod sqlite;
mod tosca;
mod validate;
mod workbench;
mod workers;
