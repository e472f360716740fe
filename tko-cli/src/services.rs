//! The servers: data, preparer, scheduler, each a process; or all in one (`tko up`).

pub(crate) mod assembly;
pub(crate) mod backend;
pub(crate) mod controllers;
pub(crate) mod data;
pub(crate) mod listen;
pub(crate) mod metrics;
mod parts;
pub(crate) mod signals;
pub(crate) mod start;

/// A time as flags have it: a number of seconds, or with units, such as `1m 30s`.
pub(crate) fn time(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return std::time::Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string());
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; it is a number of seconds, or such as 1m 30s"))
}
