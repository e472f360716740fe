//! The runtime in virtual time, over a store whose backend fails on request.

mod claims;
mod deletion;
mod failures;
mod fixture;
mod lease;
mod shutdown;
