#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// | file | what is in it |
// |---|---|
// | `postgres`, `settings`, `connect` | the backend, what it is made with, the way to the database |
// | `row`, `record`, `facet`, `body`, `skeleton`, `versions` | what is stored, and in which form |
// | `fault`, `again` | what the database says went wrong; doing again what was cut off |
// | `read/` | get, list, count |
// | `replica/` | standbys that may be read from: which are fit, and which is next |
// | `commit/` | change sets: read, judged by the rules of tko-core, written by one statement |
// | `work/` | due work, leases, edits |
// | `feed/` | revisions, the feed, history, and how long they are kept |
// | `check/` | proving that what is stored is consistent, and mending it |
// | `measure/` | how long each kind of statement takes, and how it fails, as metrics |
// | `lent` | connections of whoever reads, and may give up |
// | `dialect` | what only PostgreSQL has |

mod body;
mod cancel_on_drop;
mod check;
mod columns;
mod commit;
mod connect;
mod dialect;
mod facet;
mod fault;
mod feed;
mod metrics;
mod postgres;
mod read;
mod record;
mod replica;
mod retry;
mod row;
mod settings;
mod skeleton;
mod versions;
mod work;

pub use check::{Finding, Problem, Report};
pub use postgres::Postgres;
pub use settings::Settings;
