//! Refused credentials: a log line, a count and a delay for each.

use crate::credentials::Credentials;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};
use tko_core::Error;

/// The first delay of an address; each further refusal doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(25);

/// The longest delay.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The time without a refusal after which an address starts over.
const FORGET: Duration = Duration::from_mins(1);

/// Maximum number of addresses that are remembered.
const MAX_ADDRESSES: usize = 4_096;

/// Maximum number of log lines in a burst, and the time after which one more is allowed.
const BURST: u32 = 10;
const PER_LINE: Duration = Duration::from_secs(1);

static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Whether there are recent refusals. If there are none, requests need not take the lock.
static REMEMBERED: AtomicBool = AtomicBool::new(false);
static RECENT: LazyLock<Mutex<RecentRefusals>> = LazyLock::new(Mutex::default);

/// The number of requests that this process has refused because of their credentials.
pub fn refused_credentials() -> u64 {
    REFUSED.load(Ordering::Relaxed)
}

/// Counts and logs a refusal. Returns how long its answer must wait.
pub(crate) fn record(credentials: &Credentials, error: &Error) -> Duration {
    REFUSED.fetch_add(1, Ordering::Relaxed);
    let peer = credentials.peer().map(crate::Peer::address);
    let now = Instant::now();
    let mut recent = RECENT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let line = recent.line(now);
    let delay = recent.delay(peer.map(|peer| peer.ip().to_canonical()), now);
    drop(recent);
    REMEMBERED.store(true, Ordering::Relaxed);
    if let Some(unlogged) = line {
        tracing::warn!(
            peer = peer.map(tracing::field::display),
            interface = credentials.interface(),
            error = error.chain(),
            unlogged,
            "refused credentials"
        );
    }
    delay
}

/// Records that an address has valid credentials, so that its next refusal has the first delay.
pub(crate) fn forget(peer: &crate::Peer) {
    if REMEMBERED.load(Ordering::Relaxed) {
        let mut recent = RECENT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        recent
            .addresses
            .remove(&Some(peer.address().ip().to_canonical()));
        REMEMBERED.store(!recent.addresses.is_empty(), Ordering::Relaxed);
    }
}

/// The addresses of recent refusals, and the log lines that are due.
#[derive(Default)]
struct RecentRefusals {
    addresses: HashMap<Option<IpAddr>, (u32, Instant)>,
    lines: u32,
    since: Option<Instant>,
    unlogged: u64,
}

impl RecentRefusals {
    /// The number of refusals without a line before this one; `None` if this one has none either.
    fn line(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let passed = now.duration_since(since).as_secs() / PER_LINE.as_secs();
        let due = u32::try_from(passed).unwrap_or(u32::MAX);
        if due > 0 {
            self.lines = self.lines.saturating_sub(due);
            self.since = Some(now);
        }
        if self.lines >= BURST {
            self.unlogged += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.unlogged))
    }

    fn delay(&mut self, address: Option<IpAddr>, now: Instant) -> Duration {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            let recent = |last: &Instant| now.duration_since(*last) < FORGET;
            self.addresses.retain(|_, (_, last)| recent(last));
            if self.addresses.len() >= MAX_ADDRESSES {
                // This many addresses are probably one attack, so all of them wait.
                return MAX_DELAY;
            }
        }
        let (count, last) = self.addresses.entry(address).or_insert((0, now));
        if now.duration_since(*last) >= FORGET {
            *count = 0;
        }
        *last = now;
        let delay = FIRST_DELAY.saturating_mul(1 << (*count).min(16));
        *count = count.saturating_add(1);
        delay.min(MAX_DELAY)
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, FORGET, MAX_DELAY, RecentRefusals};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    #[test]
    fn s12_delays_grow_for_one_address_and_are_forgotten() {
        let mut recent = RecentRefusals::default();
        let now = Instant::now();
        let one = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let delays: Vec<u128> = (0..4).map(|_| recent.delay(one, now).as_millis()).collect();
        assert_eq!(delays, [25, 50, 100, 200]);
        assert_eq!(recent.delay(None, now).as_millis(), 25);
        for _ in 0..40 {
            recent.delay(one, now);
        }
        assert_eq!(recent.delay(one, now), MAX_DELAY);
        assert_eq!(recent.delay(one, now + FORGET).as_millis(), 25);
    }

    #[test]
    fn s12_log_lines_are_limited_and_say_how_many_are_missing() {
        let mut recent = RecentRefusals::default();
        let now = Instant::now();
        let lines = (0..1_000).filter(|_| recent.line(now).is_some()).count();
        assert_eq!(lines, usize::try_from(BURST).expect("few"));
        assert_eq!(recent.line(now + Duration::from_secs(1)), Some(990));
        assert_eq!(recent.line(now + Duration::from_secs(1)), None);
    }
}
