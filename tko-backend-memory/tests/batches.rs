//! What a batch of creations reads.

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, Settings};
use tko_conformance::{CountedIds, ManualClock, Strict};
use tko_core::change::Head;
use tko_core::{
    Ack, Backend, ChangeRecord, ChangeSet, Claim, ClaimRequest, Committed, Count, Data, Edit,
    ErrorKind, Key, List, NewDeployment, NewTemplate, Outcome, Package, Page, Record, Result,
    Revision, Select, Store, TemplateId, Token, Want,
};

/// Counts what is read and written.
struct Counting {
    inner: Memory,
    reads: AtomicUsize,
    commits: AtomicUsize,
}

#[async_trait]
impl Backend for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    async fn get(&self, keys: &[Key], want: Want) -> Result<Vec<Option<Record>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.get(keys, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.list(list).await
    }

    async fn count(&self, select: &Select, bound: u64) -> Result<Count> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.count(select, bound).await
    }

    async fn commit(&self, changes: ChangeSet, ack: Ack) -> Result<Committed> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.inner.commit(changes, ack).await
    }

    async fn edit(&self, key: &Key, ttl: Duration, want: Want) -> Result<Edit> {
        self.inner.edit(key, ttl, want).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        self.inner.claim(request).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        self.inner.renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        self.inner.settle(outcomes).await
    }

    async fn head(&self) -> Result<Head> {
        self.inner.head().await
    }

    fn tail(&self, after: Revision, want: Want) -> BoxStream<'static, Result<ChangeRecord>> {
        self.inner.tail(after, want)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        self.inner.history(key, before, limit).await
    }
}

fn template(number: usize) -> TemplateId {
    format!("t{number}").parse().expect("an id")
}

#[tokio::test]
async fn a_batch_reads_all_its_templates_at_once_and_is_one_set() {
    let backend = Arc::new(Counting {
        inner: Memory::new(Arc::new(ManualClock::new()), Settings::default()),
        reads: AtomicUsize::new(0),
        commits: AtomicUsize::new(0),
    });
    let ids = Arc::new(CountedIds::default());
    let store = Store::new(backend.clone(), Arc::new(Strict), ids);
    for number in 0..20 {
        let new = NewTemplate::new(template(number), Package::default());
        store.register_template(new).await.expect("registered");
    }
    let (reads, commits) = (&backend.reads, &backend.commits);
    reads.store(0, Ordering::Relaxed);
    commits.store(0, Ordering::Relaxed);
    // Of 20 templates that are there, and 5 that are not.
    let batch = (0..100).map(|number| NewDeployment {
        template: Some(template(number % 25)),
        ..NewDeployment::default()
    });
    let made = store.create_deployments(batch.collect()).await;
    assert_eq!(made.len(), 100);
    for (number, made) in made.into_iter().enumerate() {
        match made {
            Ok(id) => {
                assert!(number % 25 < 20, "no such template");
                let key = Key::from(&id);
                let found = backend.inner.get(&[key], Want::ROW).await;
                let record = found.expect("read").pop().flatten().expect("it is there");
                assert_eq!(record.entity.template(), Some(&template(number % 25)));
            }
            Err(error) => {
                assert!(number % 25 >= 20, "{error}");
                assert_eq!(error.kind(), ErrorKind::BadArgument);
            }
        }
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert_eq!(commits.load(Ordering::Relaxed), 1);
}
