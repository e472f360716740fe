//! Reads: by key, in pages, and counts.
//!
//! A page is one statement. A *driver* returns ids in order, after a key, from one index. SQL filters
//! the rows as far as it can, which may leave too many, but never drops a selected row. The reader
//! then applies the selection itself. If that leaves a page too short, the page is read again by
//! several statements in one snapshot.

mod choose;
mod concerning;
mod count;
mod get;
mod join;
mod labelled;
mod list;
mod merge;
mod pages;
mod plan;
mod reader;
mod record;
mod resolve;
mod statements;
mod text;
mod together;
mod walk;

pub(crate) use count::count;
pub(crate) use get::get;
pub(crate) use pages::pages;
pub(crate) use reader::{EntityReader, ONE_SNAPSHOT};
pub(crate) use together::SharedReads;

#[cfg(test)]
mod tests;
