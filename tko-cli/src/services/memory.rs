//! Returns free memory to the system after large requests.

use std::convert::Infallible;
use std::time::Duration;

/// Maximum time until free memory is returned.
const INTERVAL: Duration = Duration::from_secs(5);

/// The allocator returns free memory when a thread ends, or after very many allocations. Neither
/// happens in an idle server, so this function ends a thread from time to time.
pub(super) async fn give_back() -> Infallible {
    let mut turns = tokio::time::interval(INTERVAL);
    loop {
        turns.tick().await;
        let spawned = std::thread::Builder::new()
            .name("give-back".to_owned())
            .spawn(|| drop(std::hint::black_box(vec![0_u8; 64])));
        if let Err(error) = spawned {
            tracing::debug!(%error, "cannot start a thread");
        }
    }
}
