//! Revisions, the feed, history.
use crate::postgres::Shared;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use std::sync::Arc;
use tko_core::change::Head;
use tko_core::{ChangeRecord, Error, Key, Result, Revision, Version, Want};
#[derive(Debug, Default)]
pub(crate) struct Feed;
#[derive(Debug, Default)]
pub(crate) struct Tasks;
pub(crate) fn start(_: &Arc<Shared>) -> Tasks { Tasks }
impl Feed {
    /// A change set was committed here: it wants its revisions.
    pub(crate) fn poke(&self) {}
}
/// Waits until this set has its revisions and its marks are applied; the revision of `last`, the set's last change.
pub(crate) async fn numbered(_: &Shared, _set: i64, _last: Option<(Key, Version)>) -> Result<Option<Revision>> { Err(Error::NotImplemented("numbered".into())) }
pub(crate) async fn head(_: &Shared) -> Result<Head> { Err(Error::NotImplemented("head".into())) }
pub(crate) fn tail(_: Arc<Shared>, _: Revision, _: Want) -> BoxStream<'static, Result<ChangeRecord>> { futures_util::stream::empty().boxed() }
pub(crate) async fn history(_: &Shared, _: &Key, _: Option<Revision>, _: usize) -> Result<Vec<ChangeRecord>> { Err(Error::NotImplemented("history".into())) }
pub(crate) async fn trim(_: &Shared) -> Result<()> { Ok(()) }
