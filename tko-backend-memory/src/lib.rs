#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod claim;
mod commit;
mod count;
mod edits;
mod feed;
mod index;
mod log;
mod memory;
mod plan;
mod pool;
mod queue;
mod require;
#[cfg(test)]
mod sample;
mod share;
mod stage;
mod state;
mod table;
mod walk;

pub use memory::{Memory, Settings};
