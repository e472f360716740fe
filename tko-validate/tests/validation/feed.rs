//! Validation within a store: nothing invalid is stored, and registered templates add their kinds.

use crate::fixture::{package, validator};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, ApiCall, Caller, DataApi, Error, Guard, Guarded, Key, NewTemplate, Result, Store,
    TemplateId,
};
use tko_validate::{CrdFeed, Crds, SchemaValidator, Validation};

const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Foo, plural: foos}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {size: {type: integer}}}}}
";
const FOO: &str = "{apiVersion: example.com/v1, kind: Foo, metadata: {name: a}, size: large}";

fn store(validator: Arc<SchemaValidator>) -> Store<Memory> {
    let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
    let validation = Arc::new(Validation::new(validator));
    Store::new(Arc::new(memory), validation, Arc::new(TimeOrderedIds))
}

fn id(text: &str) -> TemplateId {
    TemplateId::new(text).expect("an id")
}

async fn register(store: &Store<Memory>, name: &str, yaml: &str) -> Result<()> {
    let new = NewTemplate::new(id(name), package(yaml));
    store.register_template(new).await.map(|_| ())
}

#[tokio::test]
async fn nothing_invalid_is_stored() {
    let store = store(Arc::new(validator()));
    let bad = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {type: Bus, port: 1}}";
    match register(&store, "bad", bad).await {
        Err(Error::BadArgument { violations, .. }) => assert_eq!(violations.len(), 2),
        other => panic!("must be refused: {other:?}"),
    }
    assert!(
        store
            .get(&Key::from(id("bad")), tko_core::Want::ROW)
            .await
            .is_err()
    );
}

/// Waits in the test's virtual time until `FOO` passes, or fails.
async fn until(validator: &Arc<SchemaValidator>, passes: bool) {
    let validation = Validation::new(validator.clone());
    for _ in 0..10_000 {
        let found = validation
            .admit(&package(FOO), true)
            .await
            .expect("validated");
        if found.is_empty() == passes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the change was never noticed");
}

#[tokio::test(start_paused = true)]
async fn templates_teach_what_they_define_until_they_do_so_no_more() {
    let validator = Arc::new(validator());
    let store = store(validator.clone());
    register(&store, "before", CRD).await.expect("sound");
    until(&validator, true).await;
    let crds: &Crds = validator.crds();
    let feed = CrdFeed::load(&store, crds).await.expect("loaded");
    until(&validator, false).await;

    let clock = Arc::new(SystemClock::new());
    let changes = async {
        let other = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
        register(&store, "before", other).await.expect("sound");
        until(&validator, true).await;
        register(&store, "after", CRD).await.expect("sound");
        until(&validator, false).await;
        store
            .delete(&Key::from(id("after")))
            .await
            .expect("deleted");
        until(&validator, true).await;
    };
    tokio::select! {
        ended = feed.follow(clock) => panic!("it goes on for ever, but: {ended:?}"),
        () = changes => {}
    }
}

/// Fails to read the package of the template `damaged`, and the change of this revision.
struct Damage(Arc<AtomicU64>);

impl Guard for Damage {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        let is_hit = match call {
            ApiCall::List(list) => list.want.package,
            ApiCall::Get(key) => key.id() == "damaged",
            ApiCall::Watch(watch) => watch.after.0 < self.0.load(Ordering::Relaxed),
            _ => false,
        };
        if is_hit {
            return Err(Error::internal("read a stored row", "it is damaged"));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_left_out() {
    let validator = Arc::new(validator());
    let store = Arc::new(store(validator.clone()));
    register(&store, "before", CRD).await.expect("sound");
    let other = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    register(&store, "damaged", other).await.expect("sound");
    let damage = Arc::new(AtomicU64::new(0));
    let guarded = Guarded::new(store.clone(), Damage(damage.clone()));
    let feed = CrdFeed::load(&guarded, validator.crds()).await;
    let feed = feed.expect("loaded");
    until(&validator, false).await;

    let position = store.feed_position().await.expect("a position");
    damage.store(position.revision.0 + 1, Ordering::Relaxed);
    register(&store, "before", other).await.expect("sound");
    let clock = Arc::new(SystemClock::new());
    tokio::select! {
        ended = feed.follow(clock) => panic!("it goes on for ever, but: {ended:?}"),
        () = until(&validator, true) => {}
    }
}
