//! Reads: entities by key, pages of listings, and counts, each in one snapshot of the file.

mod count;
mod list;
mod plan;
mod record;
mod walk;

pub(crate) use count::count;
pub(crate) use list::list;
pub(crate) use record::{body_of, read_bodies, read_records, read_work, stored_key};
