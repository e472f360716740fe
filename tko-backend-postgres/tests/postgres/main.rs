//! The backend on a real server, which these tests share; each has a database of its own.
//!
//! Tests that stop their server, or count what it does, are programs of their own.

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../sites/mod.rs"]
mod sites;

mod backup;
mod cancelling;
mod metrics;
mod reading;
mod revisions;
mod scrape;
mod shared_value;
mod steps;
mod streaming;
mod tracking;
mod upgrade;
