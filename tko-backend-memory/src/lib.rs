#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// | file | what is in it |
// |---|---|
// | `memory` | the backend: the lock, and each call under it |
// | `state`, `table`, `index` | rows, and what they are found by |
// | `plan`, `walk`, `count` | selections, pages, counts |
// | `commit`, `stage`, `require`, `share`, `pool` | change sets, and one copy of what is equal |
// | `log`, `feed` | the last changes, and who follows them |
// | `queue`, `claim`, `edits` | due work, leases, edits |

mod claim;
mod commit;
mod count;
mod feed;
mod index;
mod log;
mod memory;
mod modifications;
mod plan;
mod pool;
mod queue;
#[cfg(test)]
mod sample;
mod share;
mod state;
mod table;
mod walk;

pub use memory::{Memory, Settings};
