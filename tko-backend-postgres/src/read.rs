//! Reading: by key, in pages, and counting.
//!
//! A page is one statement. A *driver* gives ids in order, after a key, from one index; the rows
//! are held against what SQL can say of the selection, which may be more than is selected but
//! never less; what comes is judged by the selection itself. Where that leaves a page short, it is
//! read anew in a transaction that sees one instant.

mod count;
mod found;
mod get;
mod join;
mod list;
mod merge;
mod pages;
mod plan;
mod sql;
mod text;
mod value;
mod walk;

pub(crate) use count::count;
pub(crate) use get::get;
pub(crate) use list::list;
pub(crate) use pages::pages;

#[cfg(test)]
mod tests;
