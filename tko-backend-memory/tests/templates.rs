//! Creations read each template once, and never use an outdated one.

use async_trait::async_trait;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendCall, Between, CallObserver, CountedIds, ManualClock, Strict};
use tko_core::{
    DataApi, DeploymentId, ErrorKind, Key, NewDeployment, NewTemplate, Package, Resource, Result,
    Store, TemplateId, Want,
};

/// Counts calls that read, and commits.
#[derive(Default)]
struct Counting {
    reads: AtomicUsize,
    commits: AtomicUsize,
}

#[async_trait]
impl CallObserver for Counting {
    async fn before(&self, call: BackendCall) -> Result<()> {
        let count = match call {
            BackendCall::Commit => &self.commits,
            _ => &self.reads,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn template(number: usize) -> TemplateId {
    format!("t{number}").parse().expect("an id")
}

struct World {
    backend: Arc<Between<Memory, Counting>>,
    ids: Arc<CountedIds>,
    store: Store<Between<Memory, Counting>>,
    counting: Arc<Counting>,
}

fn world() -> World {
    let memory = Memory::new(Arc::new(ManualClock::new()), MemorySettings::default());
    let counting = Arc::new(Counting::default());
    let backend = Arc::new(Between::new(memory, counting.clone()));
    let ids = Arc::new(CountedIds::default());
    World {
        store: Store::new(backend.clone(), Arc::new(Strict), ids.clone()),
        backend,
        ids,
        counting,
    }
}

impl World {
    async fn register(&self, number: usize, package: Package) {
        let new = NewTemplate::new(template(number), package);
        self.store.register_template(new).await.expect("registered");
    }

    fn count_anew(&self) {
        self.counting.reads.store(0, Ordering::Relaxed);
        self.counting.commits.store(0, Ordering::Relaxed);
    }

    fn reads(&self) -> usize {
        self.counting.reads.load(Ordering::Relaxed)
    }

    fn commits(&self) -> usize {
        self.counting.commits.load(Ordering::Relaxed)
    }
}

fn from(number: usize) -> NewDeployment {
    NewDeployment::new().template(template(number))
}

/// A package of one resource with this name.
fn package(name: &str) -> Package {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    Package::new(vec![Arc::new(Resource::new(value).expect("a resource"))]).expect("a package")
}

/// Names of the config maps that a deployment has.
async fn names(store: &impl DataApi, id: &DeploymentId) -> Vec<String> {
    let record = store.get(&Key::from(id), Want::PACKAGE).await;
    let package = record.expect("it is there").package.expect("wanted");
    let maps = package.iter().filter(|r| &*r.gvk().kind == "ConfigMap");
    let names = maps.map(|r| r.identifier().name.to_string());
    names.collect()
}

#[tokio::test]
async fn a_batch_reads_all_its_templates_at_once_and_is_one_set() {
    let world = world();
    for number in 0..20 {
        world.register(number, Package::default()).await;
    }
    world.count_anew();
    // Of 20 templates that are there, and 5 that are not.
    let batch = (0..100).map(|number| from(number % 25));
    let store = &world.store;
    let made = store.create_deployments(batch.collect()).await;
    assert_eq!(made.len(), 100);
    assert_eq!((world.reads(), world.commits()), (1, 1));
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

#[tokio::test]
async fn a_thousand_creations_read_their_template_once() {
    let world = world();
    world.register(0, package("a")).await;
    world.count_anew();
    for _ in 0..1_000 {
        let id = world.store.create_deployment(from(0)).await;
        id.expect("created");
    }
    assert_eq!((world.reads(), world.commits()), (1, 1_000));
}

/// Two stores on one backend are as good as one.
#[tokio::test]
async fn a_change_by_another_store_is_noticed() {
    let one = world();
    let other = Store::new(one.backend.clone(), Arc::new(Strict), one.ids.clone());
    let made_of = async |names_wanted: &[&str]| {
        for batch in [false, true] {
            let id = if batch {
                other.create_deployments(vec![from(0)]).await.remove(0)
            } else {
                other.create_deployment(from(0)).await
            };
            let id = id.expect("created");
            assert_eq!(names(&other, &id).await, names_wanted, "batch: {batch}");
            // So that the template can be made again.
            let key = Key::from(&id);
            other.delete(&key).await.expect("deleted");
        }
    };
    one.register(0, package("a")).await;
    made_of(&["a"]).await;
    one.register(0, package("b")).await;
    made_of(&["b"]).await;
    // Made again, it is of the first generation again.
    let key = Key::from(&template(0));
    one.store.delete(&key).await.expect("deleted");
    for refused in [
        other.create_deployment(from(0)).await,
        other.create_deployments(vec![from(0)]).await.remove(0),
    ] {
        let error = refused.expect_err("the template is gone");
        assert_eq!(error.kind(), ErrorKind::BadArgument);
    }
    one.register(0, package("c")).await;
    made_of(&["c"]).await;
}

/// A template that was mended refuses nothing any more, whatever was remembered of it.
#[tokio::test]
async fn a_refusal_is_based_on_the_current_template() {
    let one = world();
    let other = Store::new(one.backend.clone(), Arc::new(Strict), one.ids.clone());
    let prepared = || from(0).prepared(true);
    let needy = |spec: serde_json::Value| {
        let value = json!({
            "apiVersion": "example.org/v1", "kind": "Need", "metadata": {"name": "n"}, "spec": spec
        });
        Package::new(vec![Arc::new(Resource::new(value).expect("a resource"))]).expect("a package")
    };
    one.register(0, needy(json!({}))).await;
    other.create_deployment(from(0)).await.expect("created");
    let refused = other.create_deployment(prepared()).await;
    assert_eq!(
        refused.expect_err("not whole").kind(),
        ErrorKind::BadArgument
    );
    one.register(0, needy(json!({"value": 1}))).await;
    let made = other.create_deployment(prepared()).await;
    made.expect("the template is whole now");
    one.register(0, needy(json!({}))).await;
    let refused = other.create_deployments(vec![prepared()]).await.remove(0);
    assert_eq!(
        refused.expect_err("not whole").kind(),
        ErrorKind::BadArgument
    );
    one.register(0, needy(json!({"value": 2}))).await;
    let made = other.create_deployments(vec![prepared()]).await.remove(0);
    made.expect("the template is whole again");
}
