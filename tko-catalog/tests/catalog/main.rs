//! Catalogs and inventories, from their sources to the store.

mod ansible;
mod archive;
mod described;
mod directory;
mod export;
mod git;
mod git_remote;
mod gitops;
mod inventory;
mod items;
mod many;
mod oci_layers;
mod provenance;
mod registry;
mod restricted;
mod server;
mod sshd;
mod support;
mod webhook;
