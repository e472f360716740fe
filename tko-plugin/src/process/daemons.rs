//! Processes that left the group of their plugin: they carry a mark in their environment, by which
//! they are found and killed. Needs `/proc`; without it they survive.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The variable with the mark of a run.
pub(super) const VARIABLE: &str = "TKO_PLUGIN_RUN";

/// Maximum number of passes, each of which may find children of those that the one before killed.
const PASSES: usize = 8;

/// Makes the mark of a run, unique on this machine.
#[allow(clippy::disallowed_methods)] // No rule depends on this time: it makes the mark unique.
pub(super) fn mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.unwrap_or_default().as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{time}-{count}", std::process::id())
}

/// Kills all processes with this mark, except those that removed it from their environment.
pub(super) fn kill(mark: &str) {
    let wanted = format!("{VARIABLE}={mark}");
    for _ in 0..PASSES {
        let Ok(processes) = fs::read_dir("/proc") else {
            return;
        };
        let mut found = false;
        for process in processes.flatten() {
            let name = process.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            let Some(pid) = pid.and_then(Pid::from_raw) else {
                continue;
            };
            // Fails for processes of other users, and is empty for those that have ended.
            let Ok(environment) = fs::read(process.path().join("environ")) else {
                continue;
            };
            let mut variables = environment.split(|byte| *byte == 0);
            if variables.any(|variable| variable == wanted.as_bytes()) {
                found |= kill_process(pid, Signal::KILL).is_ok();
            }
        }
        if !found {
            return;
        }
    }
}
