//! A limit on attempts to connect while the database closes every connection.
//!
//! A proxy whose server is unreachable accepts connections and closes them at once. Without a
//! limit, every statement of every caller would open a new connection, thousands a second.

use crate::fault::is_connection_lost;
use sqlx::Error as SqlError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Number of consecutive lost connections that cause no pause: all connections of a pool may have
/// died unnoticed, for example when the server restarted.
const FREE: u32 = 64;

/// The first and the longest pause between two attempts of the process.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// The longest wait of a statement for its turn. After that, its caller gets the error that the
/// database is unavailable.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets statements pass one by one, with pauses, after many connections in a row were lost. The
/// first success lets all pass.
///
/// All statements of a process share it.
#[derive(Debug)]
pub(crate) struct ConnectionThrottle {
    state: Mutex<ThrottleState>,
    recovered: Notify,
}

#[derive(Debug)]
struct ThrottleState {
    /// Lost connections since the last success.
    lost: u32,
    /// When the next statement may pass, once there are too many lost connections.
    next: Instant,
    pause: Duration,
}

impl Default for ConnectionThrottle {
    fn default() -> Self {
        let state = ThrottleState {
            lost: 0,
            next: Instant::now(),
            pause: PAUSE.0,
        };
        Self {
            state: Mutex::new(state),
            recovered: Notify::new(),
        }
    }
}

impl ConnectionThrottle {
    /// Waits until a statement may be sent.
    ///
    /// # Errors
    /// [`SqlError::PoolTimedOut`]: its turn did not come in time.
    pub(crate) async fn pass(&self) -> Result<(), SqlError> {
        let mut end = None;
        loop {
            let recovered = self.recovered.notified();
            let Some(next) = self.turn() else {
                return Ok(());
            };
            let end = *end.get_or_insert_with(|| Instant::now() + PATIENCE);
            if next >= end {
                tokio::time::timeout_at(end, recovered)
                    .await
                    .map_err(|_| SqlError::PoolTimedOut)?;
            } else {
                // Whichever comes first; then the loop checks again.
                let _ = tokio::time::timeout_at(next, recovered).await;
            }
        }
    }

    /// Takes the turn if it has come (`None`); otherwise returns when the next one comes.
    fn turn(&self) -> Option<Instant> {
        let mut state = self.lock();
        if state.lost < FREE {
            return None;
        }
        let now = Instant::now();
        if now < state.next {
            return Some(state.next);
        }
        state.next = now + state.pause;
        None
    }

    /// Records how a statement ended.
    pub(crate) fn note(&self, error: Option<&SqlError>) {
        let mut state = self.lock();
        match error {
            Some(error) if is_connection_lost(error) => {
                state.lost = state.lost.saturating_add(1);
                if state.lost == FREE {
                    state.pause = PAUSE.0;
                    state.next = Instant::now() + PAUSE.0;
                    tracing::warn!(
                        %error,
                        "the database closes every connection; trying statements one by one"
                    );
                } else if state.lost > FREE {
                    state.pause = (state.pause * 2).min(PAUSE.1);
                }
            }
            // The statement was not sent, so this says nothing about the database.
            Some(SqlError::PoolTimedOut | SqlError::PoolClosed) => {}
            _ if state.lost > 0 => {
                let was_throttled = state.lost >= FREE;
                state.lost = 0;
                drop(state);
                if was_throttled {
                    tracing::info!("the database answers again");
                    self.recovered.notify_waiters();
                }
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, ThrottleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionThrottle, FREE, PATIENCE};
    use sqlx::Error as SqlError;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    fn lost() -> SqlError {
        SqlError::Io(std::io::ErrorKind::UnexpectedEof.into())
    }

    /// How many of a hundred busy callers are let through in this time, all of whose connections
    /// are lost.
    async fn attempts(throttle: &Arc<ConnectionThrottle>, time: Duration) -> usize {
        let end = Instant::now() + time;
        let callers = (0..100).map(|_| {
            let throttle = throttle.clone();
            tokio::spawn(async move {
                let mut passed = 0;
                while Instant::now() < end {
                    if throttle.pass().await.is_ok() {
                        passed += 1;
                        throttle.note(Some(&lost()));
                    }
                }
                passed
            })
        });
        let callers: Vec<_> = callers.collect();
        let mut sum = 0;
        for caller in callers {
            sum += caller.await.expect("no panic");
        }
        sum
    }

    #[tokio::test(start_paused = true)]
    async fn callers_of_a_database_that_is_away_share_a_few_attempts() {
        let throttle = Arc::new(ConnectionThrottle::default());
        let passed = attempts(&throttle, Duration::from_mins(1)).await;
        let free = FREE as usize;
        assert!((free + 50..free + 100 + 75).contains(&passed), "{passed}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_lets_all_who_wait_pass_at_once() {
        let throttle = Arc::new(ConnectionThrottle::default());
        for _ in 0..FREE + 5 {
            throttle.note(Some(&lost()));
        }
        let waiting: Vec<_> = (0..50)
            .map(|_| {
                let throttle = throttle.clone();
                tokio::spawn(async move { throttle.pass().await })
            })
            .collect();
        tokio::task::yield_now().await;
        throttle.note(None);
        let start = Instant::now();
        for caller in waiting {
            caller.await.expect("no panic").expect("it passes");
        }
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so() {
        let throttle = Arc::new(ConnectionThrottle::default());
        for _ in 0..FREE + 5 {
            throttle.note(Some(&lost()));
        }
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let throttle = throttle.clone();
                tokio::spawn(async move { throttle.pass().await })
            })
            .collect();
        let start = Instant::now();
        let mut refused = 0;
        for caller in waiting {
            refused += usize::from(caller.await.expect("no panic").is_err());
        }
        assert!(refused > 80, "{refused}");
        assert!(start.elapsed() <= PATIENCE + Duration::from_secs(1));
    }
}
