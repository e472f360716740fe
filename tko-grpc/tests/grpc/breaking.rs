//! Listings whose backend fails in the middle.

use crate::serving::{Serving, fleet};
use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendCall, Between, CallObserver, CountedIds, ManualClock, Strict};
use tko_core::{DataApi, Error, ErrorKind, Kind, List, Result, Select, Store};
use tko_grpc::proto::v1alpha2 as wire;
use tko_grpc::proto::v1alpha2::data_client::DataClient;
use tko_grpc::server::{Access, ServerSettings};

/// Counts listings and fails some of them.
#[derive(Default)]
struct Breaking {
    lists: AtomicUsize,
    /// Every n-th listing fails. 0: none.
    every: AtomicUsize,
}

#[async_trait]
impl CallObserver for Breaking {
    async fn before(&self, call: BackendCall) -> Result<()> {
        if call == BackendCall::List {
            let number = self.lists.fetch_add(1, Ordering::SeqCst) + 1;
            let every = self.every.load(Ordering::SeqCst);
            if every > 0 && number.is_multiple_of(every) {
                return Err(Error::unavailable("list", "connection lost"));
            }
        }
        Ok(())
    }
}

async fn serving() -> (Serving, Arc<Breaking>) {
    let memory = Memory::new(Arc::new(ManualClock::new()), MemorySettings::default());
    let breaking = Arc::new(Breaking::default());
    let backend = Arc::new(Between::new(memory, breaking.clone()));
    let store = Store::new(backend, Arc::new(Strict), Arc::new(CountedIds::default()));
    let serving = Serving::over(
        Arc::new(store),
        ServerSettings::default(),
        Access::default(),
    )
    .await;
    (serving, breaking)
}

fn all(limit: usize) -> List {
    List::new(Select::all(Kind::Deployment)).limit(limit)
}

#[tokio::test]
async fn a_broken_listing_is_resumed() {
    let (serving, breaking) = serving().await;
    let client = Arc::new(serving.client());
    let ids = fleet(&*client, "a", 3_210).await;
    // Every second listing fails, so each page needs a separate stream.
    breaking.every.store(2, Ordering::SeqCst);
    breaking.lists.store(0, Ordering::SeqCst);
    let pages: Vec<_> = client
        .clone()
        .pages(all(1_000))
        .try_collect()
        .await
        .expect("it is taken up");
    let listed: Vec<String> = pages
        .iter()
        .flat_map(|page| &page.items)
        .map(|record| record.entity.key.id().to_owned())
        .collect();
    assert_eq!(listed, ids);
    assert!(
        breaking.lists.load(Ordering::SeqCst) >= 6,
        "it was to break off"
    );

    // Without progress, the error follows the pages received.
    breaking.every.store(1, Ordering::SeqCst);
    let mut pages = client.pages(all(1_000));
    let error = pages.next().await.expect("an answer").expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(pages.next().await.is_none(), "an error ends it");
}

#[tokio::test]
async fn no_page_is_read_beyond_the_limit() {
    let (serving, breaking) = serving().await;
    let ids = fleet(&serving.client(), "a", 3_210).await;
    for (limit, pages) in [(1, 1), (1_000, 1), (1_500, 2), (2_000, 2)] {
        breaking.lists.store(0, Ordering::SeqCst);
        let request = wire::ListRequest {
            select: Some(wire::Select {
                kind: wire::Kind::Deployment.into(),
                ..Default::default()
            }),
            limit,
            ..Default::default()
        };
        let stream = DataClient::new(serving.channel()).list(request).await;
        let messages: Vec<_> = stream
            .expect("a listing")
            .into_inner()
            .try_collect()
            .await
            .expect("no error");
        let listed: usize = messages.iter().map(|message| message.records.len()).sum();
        assert_eq!(listed, usize::try_from(limit).expect("small"));
        assert!(listed <= ids.len());
        assert_eq!(breaking.lists.load(Ordering::SeqCst), pages, "{limit}");
    }
}
