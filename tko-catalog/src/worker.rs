//! One sync of one entry, with its conditions, metrics and log lines.

use crate::catalog::entry::CatalogEntry;
use crate::catalog::offer::CatalogSource;
use crate::catalog::{self, sync::CatalogSync};
use crate::controller::labels;
use crate::inventory::entry::InventoryEntry;
use crate::inventory::item::InventorySource;
use crate::inventory::{self, sync::InventorySync};
use crate::metrics::CatalogMetrics;
use crate::provenance::{SYNC_ACCEPTED, SYNC_DONE, SYNC_REQUESTED};
use crate::report::{SyncReport, failure};
use crate::settings::CatalogSettings;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tko_core::{Clock, Condition, Entity, EntityUpdate, Error, Result, Timestamp, Want, WorkerApi};
use tko_worker::{CallFailure, guarded};

/// Maximum number of attempts to write the answer to a request if there are conflicts.
const ANSWER_TRIES: usize = 3;

/// The parts that all syncs of a controller share.
pub(crate) struct SyncContext {
    pub(crate) data: Arc<dyn WorkerApi>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: CatalogSettings,
    pub(crate) metrics: CatalogMetrics,
}

/// The state of an entry between its syncs.
#[derive(Default)]
pub(crate) struct EntryWorker {
    catalog: Option<(CatalogEntry, Box<dyn CatalogSource>)>,
    inventory: Option<(InventoryEntry, Box<dyn InventorySource>)>,
}

impl EntryWorker {
    /// Syncs once and reports it. Returns the time until the next sync; `None` after a failure that
    /// is worth retrying soon.
    pub(crate) async fn sync(
        &mut self,
        context: &SyncContext,
        entity: &Entity,
    ) -> Option<Duration> {
        let (kind, name) = labels(&entity.key);
        let begun = Instant::now();
        let limit = context.settings.timeout;
        let ended = guarded(&*context.clock, limit, self.run(context, entity)).await;
        let synced = match ended {
            Ok(synced) => synced,
            Err(CallFailure::Panicked(message)) => {
                // The state that it left behind may be broken.
                *self = Self::default();
                let why = format!("the controller panicked, which is a bug in TKO: {message}");
                Err(Error::internal("sync", why))
            }
            Err(CallFailure::TimedOut(limit)) => {
                let why = format!(
                    "did not finish within {limit:?} and was stopped; raise --catalog-timeout if it \
                     needs longer"
                );
                Err(Error::unavailable("sync", why))
            }
            Err(cause) => Err(Error::unavailable("sync", cause)),
        };
        let took = begun.elapsed();
        let (conditions, next) = match &synced {
            Ok((report, interval)) => {
                log(kind, name, report, took);
                let noun = if kind == "inventory" {
                    "sites"
                } else {
                    "templates"
                };
                let conditions = report.conditions(noun, name, entity.generation);
                (conditions, Some(*interval))
            }
            Err(error) => {
                tracing::warn!(kind, name, error = %error.chain(), "sync failed");
                // An invalid property does not become valid by waiting.
                let patient = matches!(error, Error::BadArgument { .. } | Error::NotImplemented(_));
                let next = patient.then_some(context.settings.interval);
                (vec![failure(error, entity.generation)], next)
            }
        };
        let report = synced.as_ref().ok().map(|(report, _)| report);
        context.metrics.count((kind, name), report, took);
        let acceptance_ended = report.is_some_and(|report| report.acceptance_ended);
        if let Err(error) = say(context, entity, conditions, acceptance_ended).await {
            tracing::warn!(kind, name, error = %error.chain(), "failed to report the sync");
            return None;
        }
        next
    }

    async fn run(
        &mut self,
        context: &SyncContext,
        entity: &Entity,
    ) -> Result<(SyncReport, Duration)> {
        match labels(&entity.key).0 {
            "inventory" => self.inventory(context, entity).await,
            _ => self.catalog(context, entity).await,
        }
    }

    async fn inventory(
        &mut self,
        context: &SyncContext,
        entity: &Entity,
    ) -> Result<(SyncReport, Duration)> {
        let settings = &context.settings;
        let entry = InventoryEntry::read(entity, settings)?;
        match &mut self.inventory {
            // An operator may have replaced a secret, or removed a host from its list.
            Some((known, source)) if *known == entry => {
                source.renew_secrets(known, settings).await?;
            }
            _ => {
                self.inventory = None;
                let source = inventory::source(&entry, settings).await?;
                self.inventory = Some((entry, source));
            }
        }
        let Some((entry, source)) = &mut self.inventory else {
            return Err(Error::unavailable("open the source", "it is not there"));
        };
        let sync = InventorySync {
            data: &context.data,
            entry,
            settings,
            accepted: entity.given.get(SYNC_ACCEPTED),
        };
        Ok((sync.run(&mut **source).await?, entry.interval))
    }

    async fn catalog(
        &mut self,
        context: &SyncContext,
        entity: &Entity,
    ) -> Result<(SyncReport, Duration)> {
        let settings = &context.settings;
        let entry = CatalogEntry::read(entity, settings)?;
        match &mut self.catalog {
            // An operator may have replaced a secret, or removed a host from its list.
            Some((known, source)) if *known == entry => {
                source.renew_secrets(known, settings).await?;
            }
            _ => {
                self.catalog = None;
                let source = catalog::source(&entry, settings).await?;
                self.catalog = Some((entry, source));
            }
        }
        let Some((entry, source)) = &mut self.catalog else {
            return Err(Error::unavailable("open the source", "it is not there"));
        };
        let sync = CatalogSync {
            data: &context.data,
            entry,
            settings,
        };
        let synced = sync.run(&mut **source).await;
        source.finish().await;
        Ok((synced?, entry.interval))
    }
}

fn log(kind: &str, name: &str, report: &SyncReport, took: Duration) {
    if report.writes() == 0 {
        tracing::debug!(
            kind,
            name,
            total = report.total,
            ?took,
            "synced; nothing changed"
        );
    } else {
        tracing::info!(
            kind,
            name,
            total = report.total,
            created = report.created,
            changed = report.changed,
            gone = report.gone,
            removed = report.removed,
            problems = report.problems.len(),
            revision = report.revision,
            ?took,
            "synced"
        );
    }
}

/// Writes the conditions that changed, and the answer.
async fn say(
    context: &SyncContext,
    entity: &Entity,
    conditions: Vec<Condition>,
    acceptance_ended: bool,
) -> Result<()> {
    let current = context.data.get(&entity.key, Want::ROW).await;
    let known = match &current {
        Ok(record) => &record.entity.conditions,
        // The entry was removed meanwhile.
        Err(Error::NotFound(_)) => return Ok(()),
        Err(_) => &entity.conditions,
    };
    if Condition::merge(known, conditions.clone(), Timestamp::default()).is_some() {
        context.data.report(&entity.key, conditions).await?;
    }
    answer(context, entity, acceptance_ended).await
}

/// Records which request this sync answered, if it answered a new one, and removes the acceptance
/// of a disappearance that has ended. Otherwise the same sites could vanish unasked later.
async fn answer(context: &SyncContext, entity: &Entity, acceptance_ended: bool) -> Result<()> {
    let done = entity.given.get(SYNC_DONE);
    let request = entity.given.get(SYNC_REQUESTED);
    let request = request.filter(|request| done != Some(*request));
    let accepted = entity.given.get(SYNC_ACCEPTED);
    let ended = accepted.filter(|_| acceptance_ended);
    if request.is_none() && ended.is_none() {
        return Ok(());
    }
    // Conditions changed the version; a newer request is answered by the next sync.
    for _ in 0..ANSWER_TRIES {
        let current = match context.data.get(&entity.key, Want::ROW).await {
            Ok(record) => record.entity,
            Err(Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut given = current.given.clone();
        if let Some(request) = request {
            given.insert(SYNC_DONE, request);
        }
        if ended.is_some() {
            // An acceptance that a person gave meanwhile stays.
            given.retain(|key, value| key != SYNC_ACCEPTED || Some(value) != ended);
        }
        if given == current.given {
            return Ok(());
        }
        let update = EntityUpdate::new(current.key.clone(), current.version).metadata(given);
        match context.data.update_entity(update).await {
            Err(Error::Conflict(_)) => {}
            Ok(_) | Err(Error::NotFound(_) | Error::Busy(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
