//! The server, as its clients see it.

mod aggregated;
mod kubectl;
mod serving;
mod watches;
mod writes;
