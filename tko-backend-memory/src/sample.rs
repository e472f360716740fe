//! Entities for the tests, and a clock that they move by hand.

use crate::commit;
use crate::state::MemoryState;
use futures_core::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Change, ChangeSet, Clock, Committed, Deployment, DeploymentId, Facts, Generation, Key, Kind,
    Metadata, Package, Plugin, Put, SiteId, TemplateId, Timestamp, deployment_resource,
};
use tokio::sync::watch;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct TestClock(watch::Sender<Timestamp>);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(Timestamp(1_000_000))))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.plus(by));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let until = self.now().plus(time);
        let mut time = self.0.subscribe();
        Box::pin(async move {
            if time.wait_for(|now| *now >= until).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

pub(crate) fn key(kind: Kind, id: &str) -> Key {
    Key::new(kind, id).expect("an id of its kind")
}

pub(crate) fn put(key: Key, facts: Facts, metadata: &[(&str, &str)]) -> Put {
    Put::new(key)
        .metadata(metadata.iter().copied().collect::<Metadata>())
        .facts(facts)
}

pub(crate) fn template(id: &str, metadata: &[(&str, &str)]) -> Put {
    put(key(Kind::Template, id), Facts::Template, metadata)
}

pub(crate) fn site(id: &str, metadata: &[(&str, &str)]) -> Put {
    let facts = Facts::Site {
        template: None,
        origin: None,
    };
    put(key(Kind::Site, id), facts, metadata)
}

pub(crate) fn plugin(id: &str, plugin: Plugin) -> Put {
    let facts = Facts::Plugin(Arc::new(plugin));
    put(key(Kind::Plugin, id), facts, &[])
}

/// A deployment, changed by `change`.
pub(crate) fn deployment(id: &str, change: impl FnOnce(&mut Deployment)) -> Put {
    let asked = deployment_resource::asked(None, None, false, false);
    let package = Package::new(vec![Arc::new(asked)]).expect("one resource");
    let mut facts = Deployment::new(
        deployment_resource::split(&package)
            .expect("it is there")
            .resource,
    );
    change(&mut facts);
    let facts = Facts::Deployment(Box::new(facts));
    put(key(Kind::Deployment, id), facts, &[])
}

pub(crate) fn template_id(id: &str) -> TemplateId {
    TemplateId::new(id).expect("a template's id")
}

pub(crate) fn site_id(id: &str) -> SiteId {
    SiteId::new(id).expect("a site's id")
}

pub(crate) fn deployment_id(id: &str) -> DeploymentId {
    DeploymentId::new(id).expect("a deployment's id")
}

pub(crate) fn placed(id: &str) -> (SiteId, Generation) {
    (site_id(id), Generation(1))
}

/// A change set with these puts.
pub(crate) fn puts(puts: impl IntoIterator<Item = Put>) -> ChangeSet {
    ChangeSet::new().changes(puts.into_iter().map(Change::Put).collect())
}

/// Commits a change set that must succeed.
pub(crate) fn commit(state: &mut MemoryState, set: ChangeSet) -> Committed {
    commit::check(&set).expect("a well-formed set");
    let (committed, _) = commit::commit(state, set, Timestamp(1)).expect("it succeeds");
    committed
}

/// A state with all these entities.
pub(crate) fn state(all: impl IntoIterator<Item = Put>) -> MemoryState {
    let mut state = MemoryState::new(10);
    let mut all = all.into_iter().peekable();
    while all.peek().is_some() {
        commit(&mut state, puts(all.by_ref().take(1_000)));
    }
    state
}
