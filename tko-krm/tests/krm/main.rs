//! The server, as its clients see it.

mod aggregated;
mod gitops;
mod kubectl;
mod serving;
mod watches;
mod writes;
