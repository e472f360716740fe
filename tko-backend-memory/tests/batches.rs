//! What a batch of creations reads.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_backend_memory::{Memory, Settings};
use tko_conformance::{Between, Call, CountedIds, ManualClock, Observer, Strict};
use tko_core::{
    Data, ErrorKind, Key, NewDeployment, NewTemplate, Package, Result, Store, TemplateId, Want,
};

/// Counts calls that read, and commits.
#[derive(Default)]
struct Counting {
    reads: AtomicUsize,
    commits: AtomicUsize,
}

#[async_trait]
impl Observer for Counting {
    async fn before(&self, call: Call) -> Result<()> {
        let count = match call {
            Call::Commit => &self.commits,
            _ => &self.reads,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn template(number: usize) -> TemplateId {
    format!("t{number}").parse().expect("an id")
}

#[tokio::test]
async fn a_batch_reads_all_its_templates_at_once_and_is_one_set() {
    let memory = Memory::new(Arc::new(ManualClock::new()), Settings::default());
    let counting = Arc::new(Counting::default());
    let backend = Arc::new(Between::new(memory, counting.clone()));
    let ids = Arc::new(CountedIds::default());
    let store = Store::new(backend, Arc::new(Strict), ids);
    for number in 0..20 {
        let new = NewTemplate::new(template(number), Package::default());
        store.register_template(new).await.expect("registered");
    }
    counting.reads.store(0, Ordering::Relaxed);
    counting.commits.store(0, Ordering::Relaxed);
    // Of 20 templates that are there, and 5 that are not.
    let batch = (0..100).map(|number| NewDeployment {
        template: Some(template(number % 25)),
        ..NewDeployment::default()
    });
    let made = store.create_deployments(batch.collect()).await;
    assert_eq!(made.len(), 100);
    assert_eq!(counting.reads.load(Ordering::Relaxed), 1);
    assert_eq!(counting.commits.load(Ordering::Relaxed), 1);
    for (number, made) in made.into_iter().enumerate() {
        match made {
            Ok(id) => {
                assert!(number % 25 < 20, "no such template");
                let key = Key::from(&id);
                let record = store.get(&key, Want::ROW).await.expect("it is there");
                assert_eq!(record.entity.template(), Some(&template(number % 25)));
            }
            Err(error) => {
                assert!(number % 25 >= 20, "{error}");
                assert_eq!(error.kind(), ErrorKind::BadArgument);
            }
        }
    }
}
