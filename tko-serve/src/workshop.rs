//! [`Workshop`]: separate threads that decode and process large requests, so that other requests
//! are not blocked.

use std::sync::Arc;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Content of up to this many bytes is processed at once, on the thread that received the request.
const SMALL: usize = 32 << 10;

/// A bounded number of threads for large requests of one server.
///
/// Servers do not share it: the work of one may wait for a request to another.
#[derive(Clone, Debug)]
pub struct Workshop(Arc<Semaphore>);

impl Default for Workshop {
    /// As many threads as half of the processors, but at least one.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new((processors / 2).max(1))))
    }
}

impl Workshop {
    /// Performs work for a request of this [weight](package_weight).
    ///
    /// Heavy work waits for its turn. It then keeps its thread until it is done, while another
    /// thread serves the other requests. A runtime with a single thread has no other thread, and
    /// does all work on the current one.
    pub async fn run<T>(&self, weight: usize, work: impl Future<Output = T>) -> T {
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

/// The weight of a package for [`Workshop::run`], in bytes. YAML with anchors can be far larger than
/// its text.
pub fn package_weight(content: &[u8]) -> usize {
    let expands = content.len() > 128 && content.contains(&b'&');
    if expands {
        SMALL + content.len()
    } else {
        content.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{SMALL, Workshop, package_weight};

    #[test]
    fn s7_a_short_package_with_anchors_is_heavy() {
        assert_eq!(package_weight(&[b'x'; 200]), 200);
        assert!(package_weight(&[b'&'; 200]) > SMALL);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn s7_other_tasks_go_on_while_heavy_work_keeps_its_thread() {
        let (done, wait) = std::sync::mpsc::channel();
        let workshop = Workshop::default();
        // Ends when another task of the only worker has run.
        let work = async move { wait.recv_timeout(std::time::Duration::from_mins(1)) };
        let heavy = tokio::spawn(async move { workshop.run(SMALL + 1, work).await });
        let other = tokio::spawn(async move { done.send(7) });
        other.await.expect("no panic").expect("it is awaited");
        assert_eq!(heavy.await.expect("no panic"), Ok(7));
    }
}
