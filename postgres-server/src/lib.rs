#![doc = include_str!("../README.md")]

mod account;
mod disk;
mod error;
mod folder;
mod installation;
mod process;
mod psql;
mod server;
mod settings;

pub use error::{DiskError, PsqlError, StartError, StopError};
pub use server::{Mode, PostgresServer, shared};
pub use settings::{Loopback, PostgresServerSettings};
