//! How a preparer works.

use std::time::Duration;

/// How [`PrepareController`](crate::Preparing) works. Start from the [default](Self::default).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who claims, shown to people. Default: `preparer`.
    pub name: String,
    /// Most deployments that are prepared at the same time; at least 1. Default: 32.
    pub workers: usize,
    /// How long a claim lasts unless it is renewed, which happens at a third of it: as long as
    /// that a deployment stays untouched after its preparer died. Default: 30 s.
    pub lease: Duration,
    /// Longest time of one call of one preparer. Default: 30 s.
    pub timeout: Duration,
    /// How often whatever waits for or follows a selection is looked at although nothing was heard
    /// of; heals missed events. Default: 10 min.
    pub interval: Duration,
    /// How long work in flight may go on after shutdown was asked for; then it is given back.
    /// Default: 10 s.
    pub grace: Duration,
    /// Whether deployments that leave it open (`nephio.org/approve: Default`) are approved once
    /// they are prepared. Default: yes.
    pub auto_approve: bool,
    /// How often the resources of one package are gone through in one go; preparing what then
    /// still makes new work is endless. At least 1. Default: 100.
    pub rounds: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "preparer".to_owned(),
            workers: 32,
            lease: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            interval: Duration::from_mins(10),
            grace: Duration::from_secs(10),
            auto_approve: true,
            rounds: 100,
        }
    }
}
