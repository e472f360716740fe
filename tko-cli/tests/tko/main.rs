//! The program `tko` as people, scripts and service managers use it: started as a process, given
//! input, stopped and killed.

mod access;
mod attack;
mod bad_input;
mod commands;
mod crash;
mod dashboard;
mod demo;
mod deploy;
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
mod sources;
mod sqlite;
mod tosca;
mod validate;
mod workbench;
mod workers;
