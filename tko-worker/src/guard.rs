//! Calls of code that may hang or panic: native handlers and plugins.

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;
use tko_core::Clock;

/// Why a [guarded] call has no result. The text is meant for conditions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// It did not finish within its time limit, and was dropped.
    #[error("did not finish within {0:?} and was stopped; raise the time limit if it needs longer")]
    TimedOut(Duration),
    /// It panicked, with this message.
    #[error("panicked, which is a bug in its code: {0}")]
    Panicked(String),
}

/// Awaits a call for at most `limit`, and catches its panics. The call is dropped when its time is
/// over. `None` sets no limit, for a call that ends by itself.
///
/// # Errors
///
/// As listed for [`CallFailure`].
///
/// ```
/// use std::time::Duration;
/// use tko_core::system::SystemClock;
/// use tko_worker::{CallFailure, guarded};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (clock, limit) = (SystemClock::new(), Duration::from_secs(5));
/// assert_eq!(guarded(&clock, limit, async { 7 }).await, Ok(7));
/// let failure = guarded(&clock, limit, async { panic!("no such port") }).await;
/// assert_eq!(failure, Err::<(), _>(CallFailure::Panicked("no such port".to_owned())));
/// # }
/// ```
pub async fn guarded<T>(
    clock: &dyn Clock,
    limit: impl Into<Option<Duration>>,
    call: impl Future<Output = T>,
) -> Result<T, CallFailure> {
    // The panicked call is dropped, so nothing observes its own broken state.
    let call = pin!(AssertUnwindSafe(call).catch_unwind());
    let ended = match limit.into() {
        None => call.await,
        Some(limit) => match select(call, clock.sleep(limit)).await {
            Either::Left((ended, _)) => ended,
            Either::Right(_) => return Err(CallFailure::TimedOut(limit)),
        },
    };
    ended.map_err(|panic| CallFailure::Panicked(panic_message(&*panic).to_owned()))
}

/// The message of a panic, as text.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
