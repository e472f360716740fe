//! The pace of the searches for work of one stage, in one process.
//!
//! Under load, work becomes due piece by piece. So waiting claims search one after the other. The
//! more work they find, the longer the pauses, so that each search finds many pieces. The first
//! search of a claim runs at once, unless many pieces were found just before. A search that found
//! as many as it may take left some, so the next one does not wait.

use std::time::Duration;
use tokio::time::Instant;

/// The pause between two searches of a claim.
const PAUSE: Duration = Duration::from_millis(10);

/// The pause between any two searches under load.
const LONG_PAUSE: Duration = Duration::from_millis(25);

/// The length of the window in which pieces are counted.
const WINDOW: Duration = Duration::from_millis(250);

/// Pieces that are found in this time under load.
const MANY: usize = 20;

/// The results of the last searches, which determine the next pause.
#[derive(Debug, Default)]
pub(super) struct SearchPace {
    last: Option<Instant>,
    /// The start of the window, and the pieces that were found in it.
    window: Option<(Instant, usize)>,
    /// Whether many pieces were found in the window before.
    is_loaded: bool,
    /// Whether the last search found as many as it may take.
    was_full: bool,
}

impl SearchPace {
    /// Waits until the next search of a claim, which may have searched before.
    pub(super) async fn wait(&mut self, has_searched: bool) {
        let Some(last) = self.last else { return };
        if self.was_full {
            return;
        }
        self.turn_over(Instant::now());
        let pause = match (self.is_loaded, has_searched) {
            (true, _) => LONG_PAUSE,
            (false, true) => PAUSE,
            (false, false) => return,
        };
        tokio::time::sleep_until(last + pause).await;
    }

    /// Counts what a search found, which took at most `max`.
    pub(super) fn searched(&mut self, found: usize, max: usize) {
        let now = Instant::now();
        self.turn_over(now);
        self.last = Some(now);
        self.was_full = found >= max;
        if let Some((_, count)) = &mut self.window {
            *count += found;
        }
    }

    /// Begins a new window, if the last one has ended.
    fn turn_over(&mut self, now: Instant) {
        match self.window {
            Some((start, _)) if now < start + WINDOW => {}
            Some((start, found)) => {
                self.is_loaded = found >= MANY && now < start + WINDOW * 2;
                self.window = Some((now, 0));
            }
            None => self.window = Some((now, 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONG_PAUSE, PAUSE, SearchPace, WINDOW};
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    async fn waited(pace: &mut SearchPace, has_searched: bool) -> Duration {
        let start = Instant::now();
        pace.wait(has_searched).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn searches_are_further_apart_while_many_pieces_are_found() {
        let mut pace = SearchPace::default();
        assert_eq!(waited(&mut pace, false).await, Duration::ZERO);
        pace.searched(1, 200);
        assert_eq!(waited(&mut pace, false).await, Duration::ZERO);
        assert_eq!(waited(&mut pace, true).await, PAUSE);
        pace.searched(100, 200);
        advance(WINDOW).await;
        pace.searched(100, 200);
        assert_eq!(waited(&mut pace, false).await, LONG_PAUSE);
        // There is more than one search may take.
        pace.searched(200, 200);
        assert_eq!(waited(&mut pace, true).await, Duration::ZERO);
        // Little was found since.
        advance(WINDOW * 3).await;
        pace.searched(1, 200);
        assert_eq!(waited(&mut pace, false).await, Duration::ZERO);
    }
}
