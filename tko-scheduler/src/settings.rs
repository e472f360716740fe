//! How a scheduling controller works.

use std::time::Duration;

/// How a [`ScheduleController`](crate::Scheduling) works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who claims; shown to people. Default: `scheduler`.
    pub name: String,
    /// Sites worked on at the same time; 0 counts as 1. Default: 8.
    pub workers: usize,
    /// For how long a site is claimed; renewed at each third. After a process died, its sites are
    /// taken up by others this much later. At least 1 s. Default: 30 s.
    pub lease: Duration,
    /// Longest call of one scheduler. Default: 300 s.
    pub timeout: Duration,
    /// After which a site is scheduled again although nothing changed, so that drift is mended;
    /// up to a tenth less, so that sites which came together do not stay together. 0: never.
    /// Default: 600 s.
    pub resync: Duration,
    /// On shutdown: how long work in flight may take to finish before it is handed back.
    /// Default: 10 s.
    pub grace: Duration,
    /// Most deployments of one site. Schedulers get all of a site's at once, with their packages,
    /// so this times [`workers`](Self::workers) bounds what is held in memory. A site with more is
    /// not scheduled, and its condition says so. Default: 100,000.
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "scheduler".to_owned(),
            workers: 8,
            lease: Duration::from_secs(30),
            timeout: Duration::from_mins(5),
            resync: Duration::from_mins(10),
            grace: Duration::from_secs(10),
            most: 100_000,
        }
    }
}
