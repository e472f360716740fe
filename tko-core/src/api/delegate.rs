//! The API of a shared pointer: that of the value it points to.
//!
//! With these implementations, an `Arc` of a [`DataApi`] is itself a [`DataApi`], and likewise for
//! [`WorkerApi`]; `dyn` values are included. So a function or wrapper that is generic over the API
//! takes a concrete service, a wrapper of it, or a trait object alike.
//!
//! Every method forwards its call, even `pages`, which has a default, because the value may have
//! its own implementation. Nothing is added and no error is changed.

use super::{
    About, Bulk, DataApi, EntityUpdate, Event, NewDeployment, NewPlugin, NewSite, NewTemplate,
    PrepareStep, ScheduleStep, Watch, WorkerApi,
};
use crate::caller::Caller;
use crate::change::{ChangeRecord, FeedPosition, Modification};
use crate::entity::{Condition, Record, Want};
use crate::error::Result;
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key};
use crate::package::Package;
use crate::revision::{Generation, Revision, Version};
use crate::select::{Count, List, Page, Select};
use crate::shared_value::SharedLimits;
use crate::work::{Claim, ClaimRequest, Enqueue, Outcome, Token};
use async_trait::async_trait;
use futures_core::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;

/// The data API of the value behind the pointer, which may be a trait object.
#[async_trait]
impl<T: DataApi + ?Sized> DataApi for Arc<T> {
    /// The API of the value on behalf of `caller`.
    ///
    /// The receiver is a pointer to a pointer; only the inner one is passed on, so pointers do not
    /// accumulate when callers change.
    fn with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn DataApi> {
        T::with_caller(Self::clone(&self), caller)
    }

    fn dry_run(self: Arc<Self>) -> Option<Arc<dyn DataApi>> {
        T::dry_run(Self::clone(&self))
    }

    async fn about(&self) -> Result<About> {
        (**self).about().await
    }

    async fn register_template(&self, new: NewTemplate) -> Result<Version> {
        (**self).register_template(new).await
    }

    async fn register_site(&self, new: NewSite) -> Result<Version> {
        (**self).register_site(new).await
    }

    async fn register_plugin(&self, new: NewPlugin) -> Result<Version> {
        (**self).register_plugin(new).await
    }

    async fn create_deployment(&self, new: NewDeployment) -> Result<DeploymentId> {
        (**self).create_deployment(new).await
    }

    async fn create_deployments(&self, new: Vec<NewDeployment>) -> Vec<Result<DeploymentId>> {
        (**self).create_deployments(new).await
    }

    async fn get(&self, key: &Key, want: Want) -> Result<Record> {
        (**self).get(key, want).await
    }

    async fn list(&self, list: &List) -> Result<Page> {
        (**self).list(list).await
    }

    /// Streams the pages as the value does, which may not be the default of the trait.
    fn pages(self: Arc<Self>, list: List) -> BoxStream<'static, Result<Page>> {
        T::pages(Self::clone(&self), list)
    }

    async fn count(&self, select: &Select, bound: u64, want: Want) -> Result<Count> {
        (**self).count(select, bound, want).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        (**self).delete(key).await
    }

    async fn delete_at(&self, key: &Key, expect: Version) -> Result<()> {
        (**self).delete_at(key, expect).await
    }

    async fn purge(&self, select: &Select) -> Result<Bulk> {
        (**self).purge(select).await
    }

    async fn approve(&self, select: &Select) -> Result<Bulk> {
        (**self).approve(select).await
    }

    async fn update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        (**self).update(id, expect, package).await
    }

    async fn retry(&self, key: &Key) -> Result<usize> {
        (**self).retry(key).await
    }

    async fn update_entity(&self, update: EntityUpdate) -> Result<Version> {
        (**self).update_entity(update).await
    }

    async fn start_modification(&self, id: &DeploymentId, ttl: Duration) -> Result<Modification> {
        (**self).start_modification(id, ttl).await
    }

    async fn end_modification(&self, token: &Token, package: Package) -> Result<Version> {
        (**self).end_modification(token, package).await
    }

    async fn cancel_modification(&self, token: &Token) -> Result<()> {
        (**self).cancel_modification(token).await
    }

    async fn feed_position(&self) -> Result<FeedPosition> {
        (**self).feed_position().await
    }

    fn watch(&self, watch: Watch) -> BoxStream<'static, Result<Event>> {
        (**self).watch(watch)
    }

    async fn history(
        &self,
        key: &Key,
        before: Option<Revision>,
        limit: usize,
    ) -> Result<Vec<ChangeRecord>> {
        (**self).history(key, before, limit).await
    }
    fn changes(&self, after: Option<Revision>) -> BoxStream<'static, Result<ChangeRecord>> {
        (**self).changes(after)
    }
}

/// The worker API of the value behind the pointer, which may be a trait object.
#[async_trait]
impl<T: WorkerApi + ?Sized> WorkerApi for Arc<T> {
    /// The worker API of the value on behalf of `caller`; passes on the inner pointer only.
    fn worker_with_caller(self: Arc<Self>, caller: Caller) -> Arc<dyn WorkerApi> {
        T::worker_with_caller(Self::clone(&self), caller)
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>> {
        (**self).claim(request).await
    }

    async fn claim_records(
        &self,
        request: &ClaimRequest,
        want: Want,
    ) -> Result<Vec<(Claim, Option<Record>)>> {
        (**self).claim_records(request, want).await
    }

    async fn list_all(&self, lists: &[List]) -> Result<Vec<Page>> {
        (**self).list_all(lists).await
    }

    async fn renew(&self, tokens: &[Token], ttl: Duration) -> Result<Vec<bool>> {
        (**self).renew(tokens, ttl).await
    }

    async fn settle(&self, outcomes: &[(Token, Outcome)]) -> Result<Vec<bool>> {
        (**self).settle(outcomes).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<()> {
        (**self).enqueue(work).await
    }

    async fn commit_prepared(&self, claim: &Token, step: PrepareStep) -> Result<Generation> {
        (**self).commit_prepared(claim, step).await
    }

    async fn commit_placed(&self, claim: &Token, step: ScheduleStep) -> Result<()> {
        (**self).commit_placed(claim, step).await
    }

    async fn report(&self, key: &Key, conditions: Vec<Condition>) -> Result<()> {
        (**self).report(key, conditions).await
    }

    async fn put_shared(&self, key: ContentHash, value: &[u8], limits: SharedLimits) -> Result<()> {
        (**self).put_shared(key, value, limits).await
    }

    async fn get_shared(&self, key: ContentHash, age: Duration) -> Result<Option<Vec<u8>>> {
        (**self).get_shared(key, age).await
    }
}
