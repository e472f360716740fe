#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// | module | contents |
// |---|---|
// | `postgres` | the backend: assembles all other modules |
// | `database`, `settings`, `connect` | the pool and its settings; connecting and migrating |
// | `metrics`, `fault`, `throttle`, `retry`, `cancel_on_drop` | one statement: its duration, its errors, its connection |
// | `dialect`, `sql` | features that only PostgreSQL has; the builder of statements |
// | `codes`, `token`, `columns`, `row`, `facet` | the format of stored data |
// | `content`, `skeletons`, `body`, `entity`, `versions` | contents that rows refer to, with caches |
// | `read/` | get, list, count |
// | `replica/` | standbys for stale reads |
// | `commit/` | change sets |
// | `work/` | due work, leases, modifications |
// | `feed/` | revisions, the feed, history, retention |
// | `check/` | consistency checks and repairs |
// | `collector`, `monitor` | metrics for operators |

mod body;
mod cancel_on_drop;
mod check;
mod codes;
mod collector;
mod columns;
mod commit;
mod connect;
mod content;
mod database;
mod dialect;
mod entity;
mod facet;
mod fault;
mod feed;
mod metrics;
mod monitor;
mod postgres;
mod read;
mod replica;
mod retry;
mod row;
mod settings;
mod shared_value;
mod skeletons;
mod sql;
mod throttle;
mod token;
mod versions;
mod work;

pub use check::{CheckFinding, CheckProblem, CheckReport};
pub use postgres::Postgres;
pub use settings::PostgresSettings;
