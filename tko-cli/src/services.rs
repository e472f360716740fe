//! The servers: data service, preparer and scheduler, each in a process or all in one (`tko up`).
//!
//! | file | contents |
//! |---|---|
//! | `admission` | validation of large packages on separate threads; the check of catalogs and inventories |
//! | `assembly` | the data service, and `tko up`: a store, its background tasks, and a server |
//! | `backend`, `data`, `controllers`, `clusters`, `charts`, `listen`, `kubernetes`, `functions`, `metrics`, `plugin_metrics`, `interface_metrics`, `plugins`, `pods`, `probes`, `results` | flags, and the parts that are made from them |
//! | `catalog` | catalogs and inventories: flags, and their controller |
//! | `interfaces` | the sockets of all interfaces of a process, and whether any is open to the network |
//! | `web` | the flags of HTTP, and its server |
//! | `data_folder`, `sqlite_lock`, `backend_command` | the folder for data, its lock and that of a SQLite file; `tko backend` |
//! | `start` | the commands that run servers until a signal |
//! | `task_group`, `signals` | groups of tasks and their end |

mod admission;
pub(crate) mod assembly;
pub(crate) mod backend;
pub(crate) mod backend_command;
#[cfg(feature = "catalog")]
pub(crate) mod catalog;
mod charts;
mod clusters;
pub(crate) mod controllers;
pub(crate) mod data;
mod data_folder;
pub(crate) mod functions;
mod interface_metrics;
mod interfaces;
pub(crate) mod kubernetes;
pub(crate) mod listen;
mod memory;
pub(crate) mod metrics;
mod plugin_metrics;
pub(crate) mod plugins;
pub(crate) mod pods;
mod probes;
mod results;
mod schema_locations;
pub(crate) mod signals;
mod sqlite_lock;
pub(crate) mod start;
mod task_group;
pub(crate) mod web;

/// Parses a time: a number of seconds, or a number with units, such as `1m 30s`.
pub(crate) fn time(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return std::time::Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected a number of seconds, or a time such as 1m 30s"))
}
