//! Due work, leases, edits.
use crate::postgres::Shared;
use std::time::Duration;
use tko_core::{Claim, ClaimRequest, Edit, Error, Key, Outcome, Result, Token, Want};
#[derive(Debug, Default)]
pub(crate) struct Waiting;
impl Waiting {
    /// Something may be due now, or earlier than was thought.
    pub(crate) fn wake(&self) {}
}
pub(crate) async fn edit(_: &Shared, _: &Key, _: Duration, _: Want) -> Result<Edit> { Err(Error::NotImplemented("edit".into())) }
pub(crate) async fn claim(_: &Shared, _: &ClaimRequest) -> Result<Vec<Claim>> { Err(Error::NotImplemented("claim".into())) }
pub(crate) async fn renew(_: &Shared, _: &[Token], _: Duration) -> Result<Vec<bool>> { Err(Error::NotImplemented("renew".into())) }
pub(crate) async fn settle(_: &Shared, _: &[(Token, Outcome)]) -> Result<Vec<bool>> { Err(Error::NotImplemented("settle".into())) }
/// What a token's secret says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret { Lease(uuid::Uuid), Edit(uuid::Uuid), Unknown }
pub(crate) fn secret(token: &Token) -> Secret {
    let parse = |text: &str| uuid::Uuid::try_parse(text).ok();
    if let Some(id) = token.secret.strip_prefix("lease.").and_then(parse) { return Secret::Lease(id); }
    token.secret.strip_prefix("edit.").and_then(parse).map_or(Secret::Unknown, Secret::Edit)
}
pub(crate) fn number(stage: tko_core::Stage) -> i16 { stage as i16 }
pub(crate) fn stage_of(number: i16) -> Result<tko_core::Stage> {
    tko_core::Stage::ALL.into_iter().find(|s| *s as i16 == number).ok_or_else(|| crate::row::broken(format!("stage {number} is unknown")))
}
