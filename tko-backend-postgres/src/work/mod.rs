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
