#![doc = include_str!("../README.md")]

mod audit;
mod certificates;
mod process;
mod programs;
mod server;
mod tenants;

pub use certificates::{Authority, Issued};
pub use programs::{FluxPrograms, Programs};
pub use server::{ApiServer, ClusterStartError};
