//! Why the approval of a single deployment has no effect.

use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{CountedIds, ManualClock, Strict};
use tko_core::api::approve_one;
use tko_core::{
    ApiCall, Caller, DataApi, Entity, Error, ErrorKind, Guard, Guarded, Key, NewDeployment,
    Package, Pattern, Result, Scope, Store, Want, deployment_resource,
};

type MemoryStore = Store<Memory>;

fn store() -> Arc<MemoryStore> {
    let memory = Memory::new(Arc::new(ManualClock::new()), MemorySettings::default());
    let ids = Arc::new(CountedIds::default());
    Arc::new(Store::new(Arc::new(memory), Arc::new(Strict), ids))
}

async fn created(store: &MemoryStore, is_prepared: bool) -> Arc<Entity> {
    let new = NewDeployment::new().prepared(is_prepared);
    let id = store.create_deployment(new).await.expect("valid");
    read(store, &Key::from(&id)).await
}

async fn read(store: &MemoryStore, key: &Key) -> Arc<Entity> {
    store.get(key, Want::ROW).await.expect("it exists").entity
}

fn is_approved(entity: &Entity) -> bool {
    entity.deployment().is_some_and(|one| one.approved)
}

async fn refusal(api: &dyn DataApi, entity: &Entity) -> Error {
    let approved = approve_one(api, entity).await;
    approved.expect_err("the approval has no effect")
}

/// Replaces the package by one that asks for preparation or has it.
async fn edit(store: &MemoryStore, entity: &Entity, is_prepared: bool) {
    let resource = deployment_resource::asked(None, None, is_prepared, false);
    let package = Package::new(vec![Arc::new(resource)]).expect("a package");
    let id = entity.key.deployment().expect("a deployment");
    let edited = store.update(id, entity.version, package).await;
    edited.expect("nobody else changes it");
}

#[tokio::test]
async fn a_prepared_deployment_is_approved() {
    let store = store();
    let entity = created(&store, true).await;
    for _ in 0..2 {
        // The second call finds that it is approved.
        approve_one(&*store, &entity).await.expect("approved");
    }
    assert!(is_approved(&*read(&store, &entity.key).await));
}

#[tokio::test]
async fn a_deployment_that_was_not_prepared_is_a_bad_argument() {
    let store = store();
    let entity = created(&store, false).await;
    let error = refusal(&*store, &entity).await;
    assert_eq!(error.kind(), ErrorKind::BadArgument, "{error}");
    assert!(error.to_string().contains("not prepared yet"), "{error}");
}

#[tokio::test]
async fn an_edit_after_the_read_decides() {
    let store = store();
    let entity = created(&store, true).await;
    edit(&store, &entity, false).await;
    let error = refusal(&*store, &entity).await;
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    // Prepared again, it is approved, although the version is another one.
    let entity = created(&store, true).await;
    edit(&store, &entity, true).await;
    approve_one(&*store, &entity).await.expect("approved");
}

#[tokio::test]
async fn a_modification_makes_it_busy() {
    let store = store();
    let entity = created(&store, true).await;
    let id = entity.key.deployment().expect("a deployment");
    let edit = store.start_modification(id, Duration::from_mins(1)).await;
    let edit = edit.expect("nobody else has it");
    let error = refusal(&*store, &entity).await;
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    store.cancel_modification(&edit.token).await.expect("open");
    approve_one(&*store, &entity).await.expect("approved");
}

#[tokio::test]
async fn a_deleted_deployment_is_not_found() {
    let store = store();
    let entity = created(&store, true).await;
    store.delete(&entity.key).await.expect("deleted");
    let error = refusal(&*store, &entity).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Restricts approvals to the deployments of one site.
struct OneSiteGuard;

impl Guard for OneSiteGuard {
    fn check(&self, _: Option<&Caller>, _: ApiCall<'_>) -> Result<()> {
        Ok(())
    }

    fn scopes(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<Vec<Arc<Scope>>> {
        let is_approval = matches!(call, ApiCall::Approve(_));
        let scope = is_approval.then(|| Arc::new(Scope::new().site(Pattern::literal("one"))));
        Ok(scope.into_iter().collect())
    }
}

#[tokio::test]
async fn a_role_that_does_not_cover_it_forbids_the_approval() {
    let store = store();
    let entity = created(&store, true).await;
    let guarded = Guarded::new(store.clone(), OneSiteGuard);
    let error = refusal(&guarded, &entity).await;
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{error}");
    assert!(!is_approved(&*read(&store, &entity.key).await));
}
