//! Deletions that are finished in the background.

use crate::fixture::{Fixture, seconds};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tko_core::{DataApi, Error, Key, NewDeployment, NewTemplate, Package, TemplateId, Want};
use tko_worker::{CancellationToken, DeletionController};

#[tokio::test(start_paused = true)]
async fn a_deletion_waits_for_a_modification_of_a_referrer_without_spinning() {
    let f = Fixture::new();
    let template = TemplateId::new("t").expect("a valid id");
    let new = NewTemplate::new(template.clone(), Package::default());
    f.store.register_template(new).await.expect("registered");
    let new = NewDeployment::new().template(template.clone());
    let id = f.store.create_deployment(new).await.expect("created");
    let minute = Duration::from_mins(1);
    f.store.start_modification(&id, minute).await.expect("free");
    let key = Key::from(template);
    f.store.delete(&key).await.expect("accepted");

    let controller = DeletionController::new(f.store.clone()).with_clock(f.clock.clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(controller.run(shutdown.clone()));
    seconds(59).await;
    let claims = f.faults.claims.load(Ordering::Relaxed);
    assert!(claims < 100, "{claims} claims in a minute");
    let want = Want::ROW.with_deleting().with_work();
    let record = f.store.get(&key, want).await.expect("it is still there");
    let reason = record.work[0].error.clone().expect("a reason");
    let named = format!("deployment {id} is being modified");
    assert!(reason.starts_with(&named), "{reason}");
    seconds(17).await;
    let gone = f.store.get(&key, Want::ROW.with_deleting()).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
    let record = f
        .store
        .get(&Key::from(&id), Want::ROW)
        .await
        .expect("it stays");
    assert_eq!(
        record.entity.deployment().expect("a deployment").template,
        None
    );
    shutdown.cancel();
    running.await.expect("no panic").expect("a clean end");
}
