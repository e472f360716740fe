//! [`Workshop`]: where large requests are decoded and worked on, apart from the threads that serve
//! everybody.

use std::sync::Arc;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Content of this many bytes is worked on at once, where the request was received.
const SMALL: usize = 32 << 10;

/// A bounded number of threads for large requests.
#[derive(Clone)]
pub(super) struct Workshop(Arc<Semaphore>);

impl Workshop {
    /// As many threads as half of the processors, at least one.
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }

    /// Does some work, which belongs to a request of this weight.
    ///
    /// Heavy work waits for its turn. It then keeps its thread until it is done, while another
    /// thread serves the other requests. A runtime with a single thread has no other, and does all
    /// work where it is.
    pub(super) async fn run<T>(&self, weight: usize, work: impl Future<Output = T>) -> T {
        let handle = Handle::current();
        if weight <= SMALL || handle.runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work.await;
        }
        let permit = self.0.acquire().await;
        let done = tokio::task::block_in_place(|| handle.block_on(work));
        drop(permit);
        done
    }
}

/// The weight of a package for [`Workshop::run`]. YAML with anchors can be far larger than its text.
pub(super) fn weight(content: &[u8]) -> usize {
    let expands = content.len() > 128 && content.contains(&b'&');
    if expands {
        SMALL + content.len()
    } else {
        content.len()
    }
}
