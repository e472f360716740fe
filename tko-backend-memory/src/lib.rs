#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// | file | content |
// |---|---|
// | `memory`, `shared` | the backend; the lock, and the signals that end waits |
// | `state`, `table`, `index`, `posting` | rows, and the indexes by which they are found |
// | `plan`, `walk`, `list`, `count` | query planning, pages, counts |
// | `commit`, `share`, `pool` | change sets; one copy of equal values |
// | `log`, `feed` | the last changes, and the streams that follow them |
// | `work`, `work/claim` | due work and leases; claims |

mod commit;
mod count;
mod feed;
mod index;
mod list;
mod log;
mod memory;
mod plan;
mod pool;
mod posting;
#[cfg(test)]
mod sample;
mod share;
mod shared;
mod shared_value;
mod state;
mod table;
mod walk;
mod work;

pub use memory::{Memory, MemorySettings};
