//! What travels, and what it stands for: one function each way for each message.
//!
//! `pack` goes out and cannot fail; `unpack` comes in and trusts nothing: what is missing, out of
//! range or unknown is a `BadArgument` that names the field. `wire::` is what is generated.

pub(crate) mod change;
pub(crate) mod entity;
mod fields;
pub(crate) mod scalar;
pub(crate) mod select;
pub(crate) mod step;
pub(crate) mod table;
pub(crate) mod work;

#[cfg(test)]
mod tests;
