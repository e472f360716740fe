//! The binary `tko`, as people, scripts and service managers meet it: started as a process, fed,
//! stopped and killed.

mod access;
mod commands;
mod crash;
mod flags;
mod harness;
mod modifications;
mod plugins;
mod shutdown;
mod sources;
mod validate;
