//! Conversions between the types of `tko-core` and generated messages (`wire::`).
//!
//! `pack` functions encode and cannot fail. `unpack` functions validate: a field that is missing,
//! out of range or unknown is a `BadArgument` that names the field.

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
