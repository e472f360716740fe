//! The server, as its clients see it.

mod aggregated;
mod approvals;
mod browsers;
mod deletions;
mod gitops;
mod headers;
mod health;
mod kubectl;
mod names;
mod nesting;
mod permissions;
mod propagation;
mod refusals;
mod repeated;
mod requests;
mod serving;
mod streams;
mod waiting;
mod watches;
mod writes;
