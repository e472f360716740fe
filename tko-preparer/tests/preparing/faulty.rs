//! A backend whose commits sometimes fail, or lose their reply, or are slow.

use crate::world::random::Random;
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tko_conformance::{BackendCall, CallObserver};
use tko_core::{Error, Result};
use tokio::sync::watch;

pub(crate) struct Faulty {
    pub(crate) random: Random,
    /// One commit in this many fails; 0: none.
    one_in: AtomicU64,
    /// Number of commits that succeed before one fails; [`u64::MAX`]: none fails.
    succeeding: AtomicU64,
    /// Whether every call yields to other tasks.
    yields: AtomicBool,
    /// Number of successful commits.
    pub(crate) commits: watch::Sender<u64>,
    /// Number of claims.
    pub(crate) claimed: AtomicU64,
    /// Number of lists that were read.
    pub(crate) lists: AtomicU64,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self {
            random: Random::new(7),
            one_in: AtomicU64::new(0),
            succeeding: AtomicU64::new(u64::MAX),
            yields: AtomicBool::new(false),
            commits: watch::Sender::new(0),
            claimed: AtomicU64::new(0),
            lists: AtomicU64::new(0),
        }
    }

    pub(crate) fn fail_one_in(&self, commits: u64) {
        self.one_in.store(commits, Ordering::Relaxed);
    }

    /// Fails one commit, after this many that succeed.
    pub(crate) fn fail_one_after(&self, commits: u64) {
        self.succeeding.store(commits, Ordering::Relaxed);
    }

    /// Whether the commit of [`fail_one_after`](Self::fail_one_after) has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.succeeding.load(Ordering::Relaxed) == u64::MAX
    }

    pub(crate) fn let_others_go_first(&self) {
        self.yields.store(true, Ordering::Relaxed);
    }

    /// Yields to other tasks or sleeps now and then, if faults are enabled.
    async fn step(&self) {
        if self.yields.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        if self.one_in.load(Ordering::Relaxed) == 0 {
            return;
        }
        match self.random.below(64) {
            0..16 => tokio::task::yield_now().await,
            16..20 => {
                tokio::time::sleep(Duration::from_millis(self.random.below(50))).await;
            }
            _ => {}
        }
    }

    fn count_down(&self) -> Result<()> {
        if self.has_failed() {
            return Ok(());
        }
        match self.succeeding.fetch_sub(1, Ordering::Relaxed) {
            // It wraps around, so that no other fails.
            0 => Err(Error::unavailable("commit", "connection lost")),
            _ => Ok(()),
        }
    }

    /// Loses half of the failing commits before they happen, the other half after.
    fn lose(&self) -> Result<()> {
        let one_in = self.one_in.load(Ordering::Relaxed);
        if one_in > 0 && self.random.below(2 * one_in) == 0 {
            return Err(Error::unavailable("commit", "connection lost"));
        }
        Ok(())
    }
}

#[async_trait]
impl CallObserver for Faulty {
    async fn before(&self, call: BackendCall) -> Result<()> {
        match call {
            BackendCall::Get => self.step().await,
            BackendCall::List => {
                self.lists.fetch_add(1, Ordering::Relaxed);
                self.step().await;
            }
            BackendCall::Commit => {
                self.step().await;
                self.count_down()?;
                return self.lose();
            }
            _ => {}
        }
        Ok(())
    }

    async fn after(&self, call: BackendCall, items: usize) -> Result<()> {
        match call {
            BackendCall::Claim => {
                self.claimed.fetch_add(items as u64, Ordering::Relaxed);
            }
            BackendCall::Commit => {
                self.commits.send_modify(|commits| *commits += 1);
                return self.lose();
            }
            _ => {}
        }
        Ok(())
    }
}
