//! Approvals through the subresources, also while others change the deployment.

use crate::requests::ApiClient;
use crate::serving::{Serving, package, store};
use futures_util::FutureExt;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tko_backend_memory::{Memory, MemorySettings};
use tko_core::{
    ApiCall, Caller, DataApi, DeploymentId, Guard, Guarded, Key, NewDeployment, Package, Pattern,
    Result, Scope, Store, Want, deployment_resource,
};
use tko_krm::KrmSettings;
use tko_serve::Access;

/// Edits a deployment just before its first approval, so that it must be prepared again.
struct EditingGuard {
    data: Arc<Store<Memory>>,
    id: DeploymentId,
    edited: AtomicBool,
}

impl EditingGuard {
    async fn edit(&self) -> Result<()> {
        let key = Key::from(&self.id);
        let record = self.data.get(&key, Want::ROW).await?;
        let unprepared = deployment_resource::asked(None, None, false, false);
        let package = Package::new(vec![Arc::new(unprepared)])?;
        let version = record.entity.version;
        self.data.update(&self.id, version, package).await?;
        Ok(())
    }
}

impl Guard for EditingGuard {
    fn check(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        if matches!(call, ApiCall::Approve(_)) && !self.edited.swap(true, Ordering::Relaxed) {
            let edited = self.edit().now_or_never();
            return edited.expect("a store in memory does not wait");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_has_no_effect_does_not_succeed() {
    let data = store(MemorySettings::default());
    let new = NewDeployment::new().merge(package("a")).prepared(true);
    let id = data.create_deployment(new).await.expect("valid");
    let guard = EditingGuard {
        data: data.clone(),
        id: id.clone(),
        edited: AtomicBool::new(false),
    };
    let api = Arc::new(Guarded::new(data.clone(), guard));
    let settings = KrmSettings::default();
    let serving = Serving::through(api, data, 0, settings, Access::new(), None).await;
    let client = ApiClient::new(&serving);
    let path = format!("deployments/{id}/status");
    let approval = json!({"status": {"approved": true}});
    let refused = client.patch(&path, "merge-patch+json", &approval).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    let message = refused.message();
    assert!(message.contains("not prepared"), "{message}");
    serving.stop().await;
}

/// Restricts approvals to the deployments of another site.
struct OtherSiteGuard;

impl Guard for OtherSiteGuard {
    fn check(&self, _: Option<&Caller>, _: ApiCall<'_>) -> Result<()> {
        Ok(())
    }

    fn scopes(&self, _: Option<&Caller>, call: ApiCall<'_>) -> Result<Vec<Arc<Scope>>> {
        let other = || Arc::new(Scope::new().site(Pattern::literal("other")));
        let is_approval = matches!(call, ApiCall::Approve(_));
        Ok(is_approval.then(other).into_iter().collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_the_role_does_not_cover_is_forbidden() {
    let data = store(MemorySettings::default());
    let new = NewDeployment::new().merge(package("a")).prepared(true);
    let id = data.create_deployment(new).await.expect("valid");
    let api = Arc::new(Guarded::new(data.clone(), OtherSiteGuard));
    let settings = KrmSettings::default();
    let serving = Serving::through(api, data, 0, settings, Access::new(), None).await;
    let client = ApiClient::new(&serving);
    let approval = json!({"status": {"approved": true}});
    for subresource in ["approval", "status"] {
        let path = format!("deployments/{id}/{subresource}");
        let refused = client.patch(&path, "merge-patch+json", &approval).await;
        assert_eq!(refused.status, 403, "{refused:?}");
        let message = refused.message();
        assert!(message.contains("does not cover"), "{message}");
        assert_eq!(
            refused.body["details"]["name"],
            id.to_string(),
            "{refused:?}"
        );
    }
    serving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_patch_of_a_subresource_is_refused() {
    let serving = Serving::start().await;
    let new = NewDeployment::new().merge(package("a")).prepared(true);
    let id = serving.data.create_deployment(new).await.expect("valid");
    let client = ApiClient::new(&serving);
    let approval = json!({"status": {"approved": true}});
    for subresource in ["approval", "status"] {
        let path = format!("deployments/{id}/{subresource}?fieldManager=test&force=true");
        let refused = client.patch(&path, "apply-patch+yaml", &approval).await;
        assert_eq!(refused.status, 415, "{refused:?}");
        let message = refused.message();
        assert!(message.contains("merge-patch+json"), "{message}");
        assert!(!message.contains("apply-patch"), "{message}");
    }
    let read = client.get(&format!("deployments/{id}")).await;
    assert_eq!(read.body["status"]["approved"], false, "{read:?}");
    serving.stop().await;
}
