//! Catalogs and inventories, from their sources to the store.

mod directory;
mod git;
mod support;
