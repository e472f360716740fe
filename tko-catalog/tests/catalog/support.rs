//! A store with a controller of catalogs, for tests.

use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_catalog::provenance::{SYNC_DONE, SYNC_REQUESTED};
use tko_catalog::{CatalogController, CatalogSettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, Condition, DataApi, Entity, EntityUpdate, Error, Key, Kind, List, NewPlugin,
    Package, PluginId, Record, Result, Select, SiteId, Store, TemplateId, Violation, Want,
    async_trait,
};
use tko_source::HostList;
use tko_validate::{SchemaValidator, Validation};
use tko_worker::CancellationToken;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(5);

/// Admits every package.
struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

/// A store in memory, and a controller that runs until this is dropped.
pub(crate) struct Fixture {
    pub(crate) store: Arc<Store<Memory>>,
    stop: CancellationToken,
    requests: std::sync::atomic::AtomicU64,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(CatalogSettings::default().with_local(true))
    }

    pub(crate) fn with(settings: CatalogSettings) -> Self {
        Self::admitting(settings, Arc::new(AdmitAll))
    }

    /// A store that validates packages by the schemas of Kubernetes.
    pub(crate) fn validating() -> Self {
        let schemas = SchemaValidator::builder().build().expect("built in");
        let settings = CatalogSettings::default().with_local(true);
        Self::admitting(settings, Arc::new(Validation::new(Arc::new(schemas))))
    }

    pub(crate) fn admitting(settings: CatalogSettings, admission: Arc<dyn Admission>) -> Self {
        let fixture = Self::of(admission);
        // The interval is long: only requests make a sync.
        let settings = settings
            .with_interval(Duration::from_hours(24))
            .with_private_hosts(loopback());
        let controller = CatalogController::new(fixture.store.clone()).with_settings(settings);
        tokio::spawn(controller.run(fixture.stop.clone()));
        fixture
    }

    /// A store without a controller.
    pub(crate) fn idle() -> Self {
        Self::of(Arc::new(AdmitAll))
    }

    fn of(admission: Arc<dyn Admission>) -> Self {
        let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
        let ids = Arc::new(TimeOrderedIds);
        let store = Store::new(Arc::new(memory), admission, ids);
        Self {
            store: Arc::new(store),
            stop: CancellationToken::new(),
            requests: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Registers an entry and waits for its first sync.
    pub(crate) async fn add(
        &self,
        id: &str,
        executor: &str,
        properties: &[(&str, &str)],
    ) -> Arc<Entity> {
        self.add_program(id, executor, &[], properties).await
    }

    pub(crate) async fn add_program(
        &self,
        id: &str,
        executor: &str,
        arguments: &[&str],
        properties: &[(&str, &str)],
    ) -> Arc<Entity> {
        let id: PluginId = id.parse().expect("an id");
        let properties = properties.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        let new = NewPlugin::new(id.clone(), executor)
            .arguments(arguments.iter().map(|a| (*a).to_owned()).collect())
            .properties(properties.collect());
        self.store.register_plugin(new).await.expect("registered");
        self.sync(id.as_str()).await
    }

    /// Asks for a sync and waits for the answer.
    pub(crate) async fn sync(&self, id: &str) -> Arc<Entity> {
        self.sync_with(id, &[]).await
    }

    /// The same, with more given metadata.
    pub(crate) async fn sync_with(&self, id: &str, more: &[(&str, &str)]) -> Arc<Entity> {
        let key = Key::from(id.parse::<PluginId>().expect("an id"));
        let number = self
            .requests
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let request = format!("request {number}");
        let asked = async {
            loop {
                let entity = self.entity(&key).await.expect("the entry");
                let mut given = entity.given.clone();
                given.insert(SYNC_REQUESTED, &request);
                for (key, value) in more {
                    given.insert(key, value);
                }
                let update = EntityUpdate::new(key.clone(), entity.version).metadata(given);
                match self.store.update_entity(update).await {
                    Ok(_) => break,
                    Err(Error::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            loop {
                let entity = self.entity(&key).await.expect("the entry");
                if entity.given.get(SYNC_DONE) == Some(request.as_str()) {
                    return entity;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.expect("the controller answers")
    }

    pub(crate) async fn entity(&self, key: &Key) -> Option<Arc<Entity>> {
        match self.store.get(key, Want::ROW).await {
            Ok(record) => Some(record.entity),
            Err(Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn template(&self, id: &str) -> Option<Record> {
        let key = Key::from(TemplateId::new(id).expect("an id"));
        match self.store.get(&key, Want::PACKAGE).await {
            Ok(record) => Some(record),
            Err(Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn site(&self, id: &str) -> Option<Record> {
        let key = Key::from(SiteId::new(id).expect("an id"));
        match self.store.get(&key, Want::PACKAGE).await {
            Ok(record) => Some(record),
            Err(Error::NotFound(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Syncs an unchanged source, which costs no write. Returns how long it took.
    pub(crate) async fn sync_unchanged(&self, id: &str) -> Duration {
        let before = self.revision().await;
        let begun = std::time::Instant::now();
        assert_synced(&self.sync(id).await);
        let took = begun.elapsed();
        // The request and its answer.
        assert_eq!(self.revision().await, before + 2, "a sync wrote something");
        took
    }

    /// The ids of all entities of a kind.
    pub(crate) async fn ids(&self, kind: Kind) -> Vec<String> {
        let mut ids = Vec::new();
        let mut list = List::new(Select::all(kind));
        loop {
            let page = self.store.list(&list).await.expect("a page");
            ids.extend(page.items.iter().map(|r| r.entity.key.id().to_owned()));
            list.after = page.next;
            if list.after.is_none() {
                return ids;
            }
        }
    }

    pub(crate) async fn templates(&self) -> Vec<String> {
        self.ids(Kind::Template).await
    }

    pub(crate) async fn sites(&self) -> Vec<String> {
        self.ids(Kind::Site).await
    }

    /// The number of changes of entities so far.
    pub(crate) async fn revision(&self) -> u64 {
        self.store
            .feed_position()
            .await
            .expect("a position")
            .revision
            .0
    }
}

/// The host of the servers of tests, which restricted controllers may reach as `127.0.0.1`, not as
/// `localhost`.
pub(crate) fn loopback() -> HostList {
    HostList::new(["127.0.0.1"]).expect("a host")
}

/// The condition of an entry.
pub(crate) fn condition<'a>(entity: &'a Entity, kind: &str) -> &'a Condition {
    entity.condition(kind).expect("the condition")
}

/// Asserts that the last sync was made completely.
pub(crate) fn assert_synced(entity: &Arc<Entity>) {
    for kind in ["Synced", "Complete"] {
        let condition = condition(entity, kind);
        assert_eq!(condition.status, Some(true), "{}", condition.message);
    }
}

/// A `ConfigMap` with one value.
pub(crate) fn config(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: {value:?}}}\n"
    )
}

/// The value of the first resource of a package.
pub(crate) fn value(package: Option<&Package>) -> String {
    let package = package.expect("a package");
    let resource = package.iter().next().expect("a resource");
    resource.value()["data"]["value"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
