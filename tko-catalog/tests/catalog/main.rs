//! Catalogs and inventories, from their sources to the store.

mod directory;
mod export;
mod git;
mod inventory;
mod registry;
mod server;
mod support;
mod webhook;
