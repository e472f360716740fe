//! The executor `kpt` with a running preparer: what functions do to deployments, and what hostile
//! ones cannot do.

mod executor;
mod world;
