//! The executor `kpt` with a running preparer: what functions do to deployments, and what hostile
//! ones cannot do.

mod container;
mod executor;
mod field;
mod hostile;
mod kptfile;
mod logs;
#[cfg(feature = "wasm")]
mod wasm;
mod world;
