//! The server, as its clients see it.

mod kubectl;
mod serving;
mod watches;
mod writes;
