//! Returns free memory to the system after large requests.

use std::convert::Infallible;
use std::time::Duration;

/// How soon memory is returned, at the latest, once it is free.
const INTERVAL: Duration = Duration::from_secs(5);

/// The allocator returns what is free when a thread ends, or after very many allocations. A server
/// that has little to do makes neither, so this ends a thread now and then.
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
