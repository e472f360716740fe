//! Deletions of topologies that a preparer keeps working on.

use super::{RemovalArgs, children, delete_cascade};
use crate::console::Console;
use crate::output::OutputFormat;
use async_trait::async_trait;
use futures_util::FutureExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{
    Admission, ApiCall, Caller, DataApi, DeploymentId, Error, Guard, Guarded, Key, Kind, List,
    NewDeployment, Package, Resource, Result, Select, Store, Violation, Want,
};

struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}

/// Does what a preparer would, before some of the calls: creates a child of each topology without
/// children.
struct RecreatingGuard {
    data: Arc<Store<Memory>>,
    topologies: Vec<DeploymentId>,
    /// Whether it has done so before a deletion.
    was_late: AtomicBool,
}

impl RecreatingGuard {
    async fn recreate(&self) -> Result<()> {
        for id in &self.topologies {
            let record = match self.data.get(&Key::from(id), Want::PACKAGE).await {
                Err(Error::NotFound(_)) => continue,
                record => record?,
            };
            let page = self.data.list(&List::new(children(id))).await?;
            if !page.items.is_empty() {
                continue;
            }
            let status = Resource::new(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "status"},
            }))?;
            let package = record.package.unwrap_or_default().with(Arc::new(status));
            let version = record.entity.version;
            match self.data.update(id, version, package).await {
                // It is under modification.
                Err(Error::Busy(_)) => continue,
                updated => updated?,
            };
            let child = NewDeployment::new().parent(id.clone());
            self.data.create_deployment(child).await?;
        }
        Ok(())
    }
}

impl Guard for RecreatingGuard {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        let is_due = match call {
            ApiCall::Count(_) | ApiCall::Purge(_) => true,
            ApiCall::Delete(_) => !self.was_late.swap(true, Ordering::Relaxed),
            _ => false,
        };
        if !is_due {
            return Ok(());
        }
        let recreated = self.recreate().now_or_never();
        recreated.expect("a store in memory does not wait")
    }
}

#[tokio::test]
async fn a_cascade_leaves_nothing_that_a_topology_creates_again() {
    let memory = Memory::new(Arc::new(SystemClock::new()), MemorySettings::default());
    let ids = Arc::new(TimeOrderedIds);
    let data = Arc::new(Store::new(Arc::new(memory), Arc::new(AdmitAll), ids));
    let top = data.create_deployment(NewDeployment::new());
    let top = top.await.expect("valid");
    let inner = data.create_deployment(NewDeployment::new().parent(top.clone()));
    let inner = inner.await.expect("valid");
    let leaf = data.create_deployment(NewDeployment::new().parent(inner.clone()));
    leaf.await.expect("valid");
    let guard = RecreatingGuard {
        data: data.clone(),
        topologies: vec![top.clone(), inner],
        was_late: AtomicBool::new(false),
    };
    let guarded = Guarded::new(data.clone(), guard);
    let args = RemovalArgs {
        dry_run: false,
        yes: true,
    };
    let mut out = Vec::<u8>::new();
    let mut console = Console {
        format: OutputFormat::Yaml,
        quiet: true,
        out: &mut out,
    };
    let deleted = delete_cascade(&guarded, &top, &args, &mut console).await;
    deleted.expect("nobody else modifies them");
    let all = Select::all(Kind::Deployment);
    let left = data.count(&all, 10, Want::ROW).await.expect("it answers");
    assert_eq!(left.found, 0);
}
