//! get, list, count.
use crate::postgres::Shared;
use tko_core::{Count, Error, Key, List, Page, Record, Result, Select, Want};
pub(crate) async fn get(_: &Shared, _: &[Key], _: Want) -> Result<Vec<Option<Record>>> { Err(Error::NotImplemented("get".into())) }
pub(crate) async fn list(_: &Shared, _: &List) -> Result<Page> { Err(Error::NotImplemented("list".into())) }
pub(crate) async fn count(_: &Shared, _: &Select, _: u64) -> Result<Count> { Err(Error::NotImplemented("count".into())) }
