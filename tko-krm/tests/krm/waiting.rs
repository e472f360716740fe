//! Large requests that wait for the store.

use crate::requests::ApiClient;
use crate::serving::{Serving, config_map};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Admission, Guarded, Package, Result, RoleGuard, Store, Violation};
use tko_krm::KrmSettings;
use tko_serve::Access;
use tokio::sync::{Semaphore, watch};

/// Far more than a busy machine needs.
const TIME: Duration = Duration::from_mins(1);

/// Holds packages with a resource named `held` until the test drops the sender of `end`.
struct Holding {
    /// A permit for each package that is held.
    held: Arc<Semaphore>,
    end: watch::Receiver<()>,
}

#[async_trait]
impl Admission for Holding {
    async fn admit(&self, package: &Package, _: bool) -> Result<Vec<Violation>> {
        if package
            .iter()
            .any(|resource| &*resource.identifier().name == "held")
        {
            self.held.add_permits(1);
            let _ = self.end.clone().changed().await;
        }
        Ok(Vec::new())
    }
}

/// A template that is large enough to be decoded apart from others.
fn large(name: &str, resource: &str) -> Value {
    let mut resource = config_map(resource);
    resource["data"]["text"] = "x".repeat(100_000).into();
    json!({"metadata": {"name": name}, "spec": {"package": {"resources": [resource]}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_that_wait_do_not_keep_others_from_being_decoded() {
    let (end, ended) = watch::channel(());
    let held = Arc::new(Semaphore::new(0));
    let admission = Holding {
        held: held.clone(),
        end: ended,
    };
    let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
    let data = Arc::new(Store::new(
        Arc::new(memory),
        Arc::new(admission),
        Arc::new(TimeOrderedIds),
    ));
    let guarded = Arc::new(Guarded::new(data.clone(), RoleGuard::new()));
    let settings = KrmSettings::default();
    let serving = Serving::through(guarded, data, 0, settings, Access::new(), None).await;
    let client = ApiClient::new(&serving);

    // More than can be decoded at the same time.
    let count = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let bodies: Vec<Value> = (0..count)
        .map(|number| large(&format!("t{number}"), "held"))
        .collect();
    let posts = bodies.iter().map(|body| client.post("templates", body));
    let waiting = futures_util::future::join_all(posts);
    let others = async {
        let all = u32::try_from(count).expect("few");
        let all = tokio::time::timeout(TIME, held.acquire_many(all)).await;
        let _all = all.expect("all wait for the store").expect("it is open");
        let body = large("other", "other");
        let other = tokio::time::timeout(TIME, client.post("templates", &body)).await;
        assert_eq!(other.expect("it does not wait").status, 201);
        drop(end);
    };
    let (waited, ()) = tokio::join!(waiting, others);
    for answer in waited {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    serving.stop().await;
}
