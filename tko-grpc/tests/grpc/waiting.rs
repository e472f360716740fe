//! Large requests that wait for the store.

use crate::serving::{Serving, package};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{CountedIds, ManualClock};
use tko_core::{
    Admission, DataApi, NewDeployment, NewTemplate, Package, Result, Store, TemplateId, Violation,
};
use tko_grpc::server::{Access, ServerSettings};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

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

/// A package that is large enough to be decoded apart from others.
fn large(name: &str) -> Package {
    let text = "x".repeat(100_000);
    package(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  text: {text}\n"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_that_wait_do_not_keep_others_from_being_decoded() {
    let (end, ended) = watch::channel(());
    let held = Arc::new(Semaphore::new(0));
    let admission = Holding {
        held: held.clone(),
        end: ended,
    };
    let backend = Memory::new(Arc::new(ManualClock::new()), MemorySettings::default());
    let store = Store::new(
        Arc::new(backend),
        Arc::new(admission),
        Arc::new(CountedIds::default()),
    );
    let (settings, access) = (ServerSettings::default(), Access::default());
    let serving = Serving::over(Arc::new(store), settings, access).await;
    let id = |number: usize| TemplateId::new(&format!("t{number}")).expect("an id");

    // More than can be decoded at the same time.
    let count = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let mut waiting = JoinSet::new();
    for number in 0..count {
        let client = serving.client();
        let new = NewTemplate::new(id(number), large("held"));
        waiting.spawn(async move { client.register_template(new).await.map(|_| ()) });
        let client = serving.client();
        let new = NewDeployment::new().merge(large("held"));
        waiting.spawn(async move {
            let mut created = client.create_deployments(vec![new]).await;
            created.remove(0).map(|_| ())
        });
    }
    let all = u32::try_from(count * 2).expect("few");
    let all = tokio::time::timeout(TIME, held.acquire_many(all)).await;
    let _all = all.expect("all wait for the store").expect("it is open");
    let client = serving.client();
    let other = client.register_template(NewTemplate::new(id(count), large("other")));
    let other = tokio::time::timeout(TIME, other).await;
    other.expect("it does not wait").expect("valid");
    drop(end);
    while let Some(ended) = waiting.join_next().await {
        ended.expect("no panic").expect("valid");
    }
}
