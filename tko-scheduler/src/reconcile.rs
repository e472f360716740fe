//! Reconciles one site: reads it, calls its schedulers, and commits their results.
//!
//! - The site is read *after* it was claimed: a later change makes it due again.
//! - A deployment is recorded as placed *before* a scheduler is asked to place it. If it is deleted
//!   in between, it is known to be on the site and is removed. In the opposite order it would stay
//!   on the site without any record.
//! - A scheduler is recorded with the site *before* it is called for the first time. If nothing
//!   triggers it later, it gets a last call to remove what it placed; no removal is reported as done
//!   before that.
//! - A deployment is placed on one site at a time: a moving deployment waits until its old site has
//!   reported it as removed.
//! - The results are committed together with the end of the claim, unless that could remove the
//!   site without its last call.

use crate::call::scheduler_calls;
use crate::charts;
use crate::conditions;
use crate::conflicts::SiteConflicts;
use crate::context::ScheduleContext;
use crate::former::{FormerSchedulers, all_placed, unrecorded};
use crate::gather::{SiteDeployments, gather};
use crate::report::SiteReport;
use crate::steps::in_steps;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tko_core::entity::SCHEDULED;
use tko_core::{
    Claim, Condition, Enqueue, Error, Key, Lane, Outcome, Package, Record, Result, ScheduleReports,
    ScheduleStep, SiteId, SiteScheduler, Stage, Want,
};
use tko_worker::{Handle, async_trait, claim_backoff, jitter};

/// The parts of a site that are read.
const SITE: Want = Want::PACKAGE.with_deleting();

/// Interval at which a site checks whether moving deployments may be placed on it, in case the
/// event of their removal was missed.
const MOVE_CHECK: Duration = Duration::from_secs(30);

/// The work of a [`ScheduleController`](crate::ScheduleController).
pub(crate) struct ScheduleHandle {
    context: Arc<ScheduleContext>,
}

impl ScheduleHandle {
    pub(crate) fn new(context: Arc<ScheduleContext>) -> Self {
        Self { context }
    }
}

#[async_trait]
impl Handle for ScheduleHandle {
    async fn handle(&self, claim: &Claim) -> Result<Option<Outcome>> {
        self.handle_record(claim, None).await
    }

    fn want(&self) -> Option<Want> {
        Some(SITE)
    }

    async fn handle_record(
        &self,
        claim: &Claim,
        record: Option<Record>,
    ) -> Result<Option<Outcome>> {
        let Key::Site(id) = &claim.token.key else {
            return Ok(Some(Outcome::Done));
        };
        let context = &*self.context;
        let site = match record {
            Some(site) => site,
            None => context.data.get(&claim.token.key, SITE).await?,
        };
        SiteReconciliation { context, claim, id }.run(site).await
    }
}

/// The results of the calls for one site.
#[derive(Default)]
struct CallResults {
    /// Conditions of the site.
    conditions: Vec<Condition>,
    failures: Vec<String>,
    /// Recorded schedulers that have nothing left on the site.
    forgotten: Vec<SiteScheduler>,
}

impl CallResults {
    /// Adds the result of one call. Returns whether it succeeded.
    fn add(&mut self, made: std::result::Result<Vec<Condition>, String>) -> bool {
        match made {
            Ok(reported) => {
                self.conditions.extend(reported);
                true
            }
            Err(failure) => {
                self.failures.push(failure);
                false
            }
        }
    }
}

struct SiteReconciliation<'a> {
    context: &'a ScheduleContext,
    claim: &'a Claim,
    id: &'a SiteId,
}

impl SiteReconciliation<'_> {
    /// Works until the results are committed. Returns how the claim ends, or `None` if a commit has
    /// settled it.
    async fn run(&self, site: Record) -> Result<Option<Outcome>> {
        let reports = ScheduleReports::default();
        let max = self.context.settings.max_deployments;
        let gathered = gather(&*self.context.data, self.id, site.entity.deleting, max).await;
        let deployments = match gathered {
            Err(Error::BadArgument { message, .. }) => {
                let report = SiteReport {
                    id: self.id,
                    site: &site,
                    deployments: &SiteDeployments::default(),
                    conflicts: &SiteConflicts::default(),
                    reports: &reports,
                    ignores_charts: false,
                };
                let results = CallResults::default();
                return self.failed(&report, &message, results).await;
            }
            gathered => gathered?,
        };
        let table = self.context.registry.table();
        let empty = Package::default();
        let package = site.package.as_ref().unwrap_or(&empty);
        let calls = scheduler_calls(&table, package);
        let conflicts = SiteConflicts::find(&deployments.wanted);
        let chart = charts::kind();
        let report = SiteReport {
            conflicts: &conflicts,
            reports: &reports,
            id: self.id,
            site: &site,
            deployments: &deployments,
            ignores_charts: calls.iter().all(|call| call.ignores(&chart)),
        };
        let recorded = SiteScheduler::all_of(&site.entity);
        let abandoned = &self.context.settings.abandoned;
        let mut former = FormerSchedulers::find(&recorded, &calls, &table, package, abandoned);
        if !report.has_placed() {
            former.forget_missing();
        }
        for one in &former.forgotten {
            if abandoned.contains(&one.name) {
                tracing::warn!(site = self.id.as_str(), scheduler = %one, "abandoned a scheduler; what it placed stays");
            }
        }
        let missing = conditions::missing(&former.missing);
        // Nothing is placed by the last call for a site, so it needs no record.
        let called = if site.entity.deleting {
            Vec::new()
        } else {
            unrecorded(&recorded, &calls)
        };
        if !calls.is_empty()
            && let Some(step) = report.started(called)
        {
            self.commit(step).await?;
        }
        // Schedulers that have to remove everything come first: another one may place it again.
        let mut results = self.call_former(&report, former).await?;
        // A scheduler that fails does not block the others.
        for call in &calls {
            let fence = self.claim.fence;
            let made = call.make(self.context, &site, &deployments, fence, &reports);
            results.add(made.await);
        }
        // The controller alone reports whether the site is scheduled.
        results
            .conditions
            .retain(|condition| condition.kind != SCHEDULED);
        if !results.failures.is_empty() {
            results.failures.extend(missing);
            let why = results.failures.join("; ");
            self.failed(&report, &why, results).await
        } else if !calls.is_empty() {
            self.succeeded(&report, results, missing.as_deref()).await
        } else if recorded.is_empty() || missing.is_some() {
            self.unserved(&report, results, missing.as_deref()).await
        } else {
            let CallResults {
                conditions,
                forgotten,
                ..
            } = results;
            let step = report.emptied(conditions, forgotten, Outcome::Done);
            self.finish(report.site, step).await
        }
    }

    /// Makes the last calls of schedulers that nothing triggers any more. A scheduler is forgotten
    /// once all of its calls succeed, because each may need the targets of the others.
    async fn call_former(
        &self,
        report: &SiteReport<'_>,
        mut former: FormerSchedulers<'_>,
    ) -> Result<CallResults> {
        let mut results = CallResults {
            forgotten: std::mem::take(&mut former.forgotten),
            ..CallResults::default()
        };
        if former.available.is_empty() {
            return Ok(results);
        }
        let data = &*self.context.data;
        let deployments = all_placed(data, self.id, report.deployments).await?;
        let mut failed = BTreeSet::new();
        for one in &former.available {
            let made = match former.site_of(one, report.site) {
                Ok(site) => {
                    let (fence, reports) = (self.claim.fence, report.reports);
                    let call = one
                        .call
                        .make(self.context, &site, &deployments, fence, reports);
                    call.await
                }
                Err(why) => Err(why),
            };
            if !results.add(made) {
                failed.insert(&one.recorded.name);
            }
        }
        let called = former.available.iter().map(|one| one.recorded);
        let done = called.filter(|one| !failed.contains(&one.name));
        results.forgotten.extend(done.cloned());
        Ok(results)
    }

    async fn succeeded(
        &self,
        report: &SiteReport<'_>,
        results: CallResults,
        missing: Option<&str>,
    ) -> Result<Option<Outcome>> {
        let next = self.next(report);
        // A retried claim that ended as `Yield` would keep its attempts and its error.
        let is_retry = self.claim.work.attempts > 1;
        let outcome = match next {
            Some(after) if !is_retry => Outcome::Yield { after },
            _ if missing.is_some() => self.end_with_missing(report),
            _ => Outcome::Done,
        };
        let CallResults {
            conditions,
            forgotten,
            ..
        } = results;
        let step = report.succeeded(conditions, forgotten, missing, outcome);
        let end = self.finish(report.site, step).await?;
        if next.is_some() && is_retry {
            // The site is scheduled once more at once: `Done` turns this enqueue into new work,
            // which has no attempts and so can end as `Yield`. The enqueue must come before `Done`:
            // if it failed after `Done`, the site would never resync. It must come after the
            // report: a report that conflicts would otherwise be retried without a pause.
            self.enqueue().await?;
        }
        tracing::debug!(
            site = self.id.as_str(),
            wanted = report.deployments.wanted.len(),
            removed = report.deployments.removed.len(),
            ?next,
            "scheduled"
        );
        Ok(end)
    }

    async fn failed(
        &self,
        report: &SiteReport<'_>,
        why: &str,
        results: CallResults,
    ) -> Result<Option<Outcome>> {
        let after = claim_backoff(self.claim);
        let attempt = self.claim.work.attempts;
        tracing::warn!(site = self.id.as_str(), attempt, next = ?after, error = why, "failed to schedule; retrying");
        let reason = why.to_owned();
        let CallResults {
            conditions,
            forgotten,
            ..
        } = results;
        let end = Outcome::Retry { after, reason };
        let step = report.failed(why, conditions, forgotten, end);
        self.finish(report.site, step).await
    }

    /// Ends the work of a site without schedulers. A new plugin makes the site due, and so does the
    /// next start of a scheduling controller.
    async fn unserved(
        &self,
        report: &SiteReport<'_>,
        results: CallResults,
        missing: Option<&str>,
    ) -> Result<Option<Outcome>> {
        let outcome = self.end_with_missing(report);
        let CallResults {
            conditions,
            forgotten,
            ..
        } = results;
        let step = report.unserved(conditions, forgotten, missing, outcome);
        self.finish(report.site, step).await
    }

    /// The end of the work of a site from which no scheduler may have removed its deployments.
    fn end_with_missing(&self, report: &SiteReport<'_>) -> Outcome {
        let is_stuck = report.site.entity.deleting && !report.deployments.removed.is_empty();
        // The commit of `Done` would try to delete the site, and make it due again at once.
        if is_stuck {
            Outcome::Retry {
                after: claim_backoff(self.claim),
                reason: "no scheduler removes its deployments".to_owned(),
            }
        } else {
            Outcome::Done
        }
    }

    /// Time until the site is due again even if nothing changed.
    fn next(&self, report: &SiteReport<'_>) -> Option<Duration> {
        let resync = self.context.settings.resync;
        if report.site.entity.deleting {
            None
        } else if !report.deployments.moving.is_empty() {
            Some(MOVE_CHECK)
        } else if resync.is_zero() {
            None
        } else {
            Some(resync.mul_f64(1.0 - jitter() / 10.0))
        }
    }

    /// Commits the last step. Returns how the worker is to end the claim, or `None` if the step has
    /// settled it.
    ///
    /// A step that settles with `Done` removes a site that is being deleted by then. If the site
    /// was read before its deletion, its schedulers were not called for it. Then the worker ends
    /// the claim, and the work that the deletion enqueued makes the last call.
    async fn finish(&self, site: &Record, mut step: ScheduleStep) -> Result<Option<Outcome>> {
        let settle = &mut step.settle;
        let end = settle.take_if(|end| *end == Outcome::Done && !site.entity.deleting);
        self.commit(step).await?;
        Ok(end)
    }

    async fn commit(&self, step: ScheduleStep) -> Result<()> {
        for step in in_steps(step) {
            let data = &self.context.data;
            data.commit_placed(&self.claim.token, step).await?;
        }
        Ok(())
    }

    /// Makes the site due again when the claim ends.
    async fn enqueue(&self) -> Result<()> {
        let work = Enqueue::now(Stage::Schedule, self.id, Lane::of(self.id.as_str()));
        self.context.data.enqueue(vec![work]).await
    }
}
