//! Effects that conflict with an entity of someone else.

use crate::parts::{gvk, marked, part, registry};
use crate::world::{site_id, world};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tko_core::{
    Answer, DataApi, Effect, Expect, NewSite, Package, PrepareCall, Preparer, Result, Version,
};
use tko_preparer::{PREPARED, PrepareSettings};

/// Registers the site `taken` if it is as expected, and counts its calls.
struct Registers {
    expect: Expect,
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl Preparer for Registers {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let new = NewSite::new(site_id("taken"), Package::default()).expect(self.expect);
        Ok(Answer::Done {
            package: marked(&call),
            effects: vec![Effect::Site(new)],
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_lasts_is_shown_and_retried_with_backoff() {
    let stale = Version(1_000_000);
    for (expect, is_shown, words) in [
        (Expect::Absent, true, "site taken exists already"),
        (Expect::At(stale), false, "meanwhile: site taken"),
    ] {
        let w = world();
        w.site("taken", &[]).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let registers = Arc::new(Registers {
            expect,
            calls: calls.clone(),
        });
        let registry = registry().with(gvk("Registers"), "registers", registers);
        let id = w.deploy(vec![part("Registers", "r")]).await;
        let _running = w.start_with(registry, PrepareSettings::default());
        tokio::time::sleep(Duration::from_hours(1)).await;
        let record = w.record(&id).await;
        let error = record.work[0].error.as_deref().expect("a reason");
        assert!(error.contains(words), "{error}");
        if is_shown {
            let condition = w.condition(&id, PREPARED).await;
            assert_eq!(condition.status, Some(false));
            assert!(condition.message.contains(words), "{}", condition.message);
        }
        // At most 40 attempts, each with a few repetitions at once.
        let calls = calls.load(Ordering::Relaxed);
        assert!((100..=400).contains(&calls), "{words}: {calls}");
    }
}

#[tokio::test(start_paused = true)]
async fn preparation_continues_when_the_conflict_is_over() {
    let w = world();
    w.site("taken", &[]).await;
    let registers = Arc::new(Registers {
        expect: Expect::Absent,
        calls: Arc::default(),
    });
    let registry = registry().with(gvk("Registers"), "registers", registers);
    let id = w.deploy(vec![part("Registers", "r")]).await;
    let _running = w.start_with(registry, PrepareSettings::default());
    w.until_says(&id, PREPARED, "Invalid").await;
    let taken = tko_core::Key::from(&site_id("taken"));
    w.store.delete(&taken).await.expect("it is there");
    let took = w.until_prepared(&id).await;
    assert!(took <= Duration::from_secs(5), "{took:?}");
}
