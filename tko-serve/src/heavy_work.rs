//! [`HeavyWork`]: limits how much CPU-heavy work of requests runs at once, so that other requests
//! are not blocked.

use std::sync::Arc;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Content of up to this many bytes is processed at once, on the thread that received the request.
const SMALL: usize = 32 << 10;

/// Permits for the CPU-heavy work of one server, such as decoding large packages.
///
/// The work cannot wait for anything, because it is no future. So nothing that a request waits for,
/// such as a lock of the database, keeps a permit from the work of others.
///
/// It limits processor time, not memory: the result of the work stays in memory until its request is
/// answered. Count the bytes of such requests until then; see [`ByteBudget`](crate::ByteBudget).
#[derive(Clone, Debug)]
pub struct HeavyWork(Arc<Semaphore>);

impl Default for HeavyWork {
    /// As many permits as half of the processors, but at least one.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(processors / 2)
    }
}

impl HeavyWork {
    fn new(permits: usize) -> Self {
        Self(Arc::new(Semaphore::new(permits.max(1))))
    }

    /// Performs work for a request of this [weight](package_weight).
    ///
    /// Heavy work waits for a permit. It then keeps its thread until it is done, while another
    /// thread serves the other requests. A runtime with a single thread has no other thread, and
    /// does all work on the current one.
    pub async fn run<T>(&self, weight: usize, work: impl FnOnce() -> T) -> T {
        let is_single = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
        if weight <= SMALL || is_single {
            return work();
        }
        let _permit = self.0.acquire().await;
        tokio::task::block_in_place(work)
    }
}

/// The weight of a package for [`HeavyWork::run`], in bytes. YAML with anchors can be far larger
/// than its text.
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
    use super::{HeavyWork, SMALL, package_weight};
    use std::sync::mpsc;
    use std::time::Duration;

    /// Far more than a busy machine needs.
    const TIME: Duration = Duration::from_mins(1);

    #[test]
    fn s7_a_short_package_with_anchors_is_heavy() {
        assert_eq!(package_weight(&[b'x'; 200]), 200);
        assert!(package_weight(&[b'&'; 200]) > SMALL);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn s7_other_tasks_go_on_while_heavy_work_keeps_its_thread() {
        let (done, wait) = mpsc::channel();
        let heavy_work = HeavyWork::default();
        // Ends when another task of the only worker has run.
        let work = move || wait.recv_timeout(TIME);
        let heavy = tokio::spawn(async move { heavy_work.run(SMALL + 1, work).await });
        let other = tokio::spawn(async move { done.send(7) });
        other.await.expect("no panic").expect("it is awaited");
        assert_eq!(heavy.await.expect("no panic"), Ok(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn s7_heavy_work_waits_for_a_permit_and_light_work_does_not() {
        let heavy_work = HeavyWork::new(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let first = heavy_work.clone();
        let first = tokio::spawn(async move {
            let work = move || {
                let _ = begun.send(());
                ended.recv_timeout(TIME)
            };
            first.run(SMALL + 1, work).await
        });
        has_begun.await.expect("it begins");
        let mut second = Box::pin(heavy_work.run(SMALL + 1, || 2));
        assert!(futures_util::poll!(&mut second).is_pending());
        assert_eq!(heavy_work.run(SMALL, || 1).await, 1);
        end.send(()).expect("the first one waits");
        assert_eq!(first.await.expect("no panic"), Ok(()));
        assert_eq!(second.await, 2);
    }
}
