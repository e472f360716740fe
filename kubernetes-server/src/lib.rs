#![doc = include_str!("../README.md")]

mod certificates;
mod process;
mod programs;
mod server;

pub use certificates::{Authority, Issued};
pub use programs::Programs;
pub use server::{ApiServer, ClusterStartError};
