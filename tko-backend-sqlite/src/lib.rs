#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// | file | content |
// |---|---|
// | `sqlite`, `settings` | the backend and its settings |
// | `connect`, `schema`, `fault` | connections, migrations, classification of errors |
// | `pack`, `arena`, `facet` | rows as bytes, arguments of statements, the values that rows are found by |
// | `dictionary` | packages of templates, which compress other packages |
// | `writer`, `commit`, `work`, `feed/retention` | the one thread that writes, and its jobs |
// | `read` | reads: `record`, `plan`, `walk`, `list`, `count` |
// | `check` | consistency checks and repairs |
// | `feed`, `signal` | the feed of changes, and wake-ups within a process and between processes |

mod arena;
mod check;
mod commit;
mod connect;
mod dictionary;
mod facet;
mod fault;
mod feed;
mod pack;
mod read;
mod schema;
mod settings;
mod shared_value;
mod signal;
mod sqlite;
mod work;
mod writer;

pub use check::{SqliteCheckFinding, SqliteCheckProblem, SqliteCheckReport};
pub use settings::{SqliteSettings, SqliteSync};
pub use sqlite::Sqlite;
