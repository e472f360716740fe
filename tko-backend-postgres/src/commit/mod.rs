//! Change sets.
use crate::postgres::Shared;
use tko_core::{Ack, ChangeSet, Committed, Error, Result};
pub(crate) async fn commit(_: &Shared, _: ChangeSet, _: Ack) -> Result<Committed> { Err(Error::NotImplemented("commit".into())) }
