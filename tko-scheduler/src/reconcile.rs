//! One pass over one site: read, hand over, report.
//!
//! - Read *after* claiming: what changes later makes the site due again.
//! - *First* say that a deployment is placed, then put it there. Whoever deletes it in between
//!   finds it placed, so it is taken off again; the other way round it would stay on the site, with
//!   nobody knowing.
//! - A deployment is placed on one site at a time: one that moves waits until its old site has
//!   reported it off.
//! - Everything that a pass says is committed together with the end of its claim.

use crate::calls::calls;
use crate::conditions;
use crate::controller::{Context, chance};
use crate::gather::{Gathered, gather, placed};
use crate::steps::in_steps;
use std::collections::BTreeMap;
use std::time::Duration;
use tko_core::entity::{NO_SCHEDULER, SCHEDULED};
use tko_core::work::backoff;
use tko_core::{
    Claim, Condition, DeploymentId, Enqueue, Error, ErrorKind, Generation, Key, Lane, Outcome,
    Package, Record, Result, ScheduleStep, SiteId, Stage, Want,
};

/// How often a site looks whether what moves to it may come, should nobody tell it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// After something moved meanwhile.
const SOON: Duration = Duration::from_secs(1);

/// Works on a claimed site. Answers with how the claim is still to be ended, if it is.
pub(crate) async fn run(context: &Context, claim: &Claim) -> Option<Outcome> {
    let Key::Site(id) = &claim.token.key else {
        return Some(Outcome::Done);
    };
    let pass = Pass { context, claim, id };
    let error = pass.site().await.err()?;
    match error.kind() {
        ErrorKind::ClaimExpired => None,
        ErrorKind::NotFound => Some(Outcome::Done),
        ErrorKind::Conflict | ErrorKind::Busy => Some(Outcome::Yield { after: SOON }),
        _ => {
            tracing::warn!(site = id.as_str(), error = %error.chain(), "cannot schedule a site");
            Some(pass.again(error.chain()))
        }
    }
}

struct Pass<'a> {
    context: &'a Context,
    claim: &'a Claim,
    id: &'a SiteId,
}

impl Pass<'_> {
    async fn site(&self) -> Result<()> {
        let want = Want {
            deleting: true,
            ..Want::PACKAGE
        };
        let site = self.context.data.get(&self.claim.token.key, want).await?;
        let going = site.entity.deleting;
        let gathered = match gather(self.context, self.id, going).await {
            Err(Error::BadArgument { message, .. }) => {
                return self.failed(&site, &Gathered::default(), &message).await;
            }
            gathered => gathered?,
        };
        let table = self.context.registry.table();
        let empty = Package::default();
        let calls = calls(&table, site.package.as_ref().unwrap_or(&empty));
        if calls.is_empty() {
            return self.unserved(&site, &gathered).await;
        }
        self.begin(&site, &gathered).await?;
        let mut told = Vec::new();
        let mut failures = Vec::new();
        // One that fails does not hold back the others.
        for call in &calls {
            let made = call.make(self.context, &site, &gathered, self.claim.fence);
            match made.await {
                Ok(conditions) => told.extend(conditions),
                Err(why) => failures.push(why),
            }
        }
        // Ours alone says whether the site is scheduled.
        told.retain(|condition: &Condition| condition.kind != SCHEDULED);
        if failures.is_empty() {
            self.succeeded(&site, &gathered, told).await
        } else {
            self.failed(&site, &gathered, &failures.join("; ")).await
        }
    }

    /// Says what is about to be placed, and that the site is in our charge.
    async fn begin(&self, site: &Record, gathered: &Gathered) -> Result<()> {
        let there = of_now(gathered, |at, _| at.is_none());
        let charged = site
            .entity
            .condition(SCHEDULED)
            .is_some_and(|condition| condition.reason != NO_SCHEDULER);
        if there.is_empty() && charged {
            return Ok(());
        }
        let conditions = if charged {
            Vec::new()
        } else {
            vec![(
                site.entity.key.clone(),
                vec![conditions::started(&site.entity)],
            )]
        };
        let step = ScheduleStep {
            placed: there,
            conditions,
            ..ScheduleStep::default()
        };
        self.commit(step).await
    }

    async fn succeeded(
        &self,
        site: &Record,
        gathered: &Gathered,
        mut told: Vec<Condition>,
    ) -> Result<()> {
        told.push(conditions::site_scheduled(&site.entity));
        // One of each kind: two that take turns would be news for ever.
        let kinds: BTreeMap<String, Condition> = told
            .into_iter()
            .map(|said| (said.kind.clone(), said))
            .collect();
        let told = kinds.into_values().collect();
        let mut conditions: Vec<_> = conditions::news(site, told).into_iter().collect();
        conditions.extend(each(&gathered.wanted, |record| {
            conditions::scheduled(&record.entity, self.id)
        }));
        conditions.extend(each(&gathered.removed, |record| {
            conditions::taken_off(&record.entity, self.id)
        }));
        conditions.extend(self.moving(gathered));
        // What was placed nowhere is said to be here since `begin`.
        let there = of_now(gathered, |at, now| at.is_some_and(|at| at != now));
        let after = self.next(site, gathered);
        // A retried claim that ends as `Yield` would keep its attempts and its error.
        let clean = self.claim.work.attempts <= 1;
        let settle = match after {
            Some(after) if clean => Outcome::Yield { after },
            _ => Outcome::Done,
        };
        let step = ScheduleStep {
            placed: there,
            removed: gathered.removed.iter().filter_map(id_of).collect(),
            conditions,
            settle: Some(settle),
        };
        self.commit(step).await?;
        tracing::debug!(
            site = self.id.as_str(),
            wanted = gathered.wanted.len(),
            removed = gathered.removed.len(),
            "scheduled a site"
        );
        match after {
            Some(after) if !clean => self.wake(after).await,
            _ => Ok(()),
        }
    }

    async fn failed(&self, site: &Record, gathered: &Gathered, why: &str) -> Result<()> {
        tracing::warn!(
            site = self.id.as_str(),
            attempt = self.claim.work.attempts,
            error = why,
            "cannot schedule a site"
        );
        let told = vec![conditions::failed(&site.entity, why)];
        let mut conditions: Vec<_> = conditions::news(site, told).into_iter().collect();
        conditions.extend(each(&gathered.wanted, |record| {
            conditions::failed_on(&record.entity, self.id, why)
        }));
        conditions.extend(each(&gathered.removed, |record| {
            conditions::not_taken_off(&record.entity, self.id, why)
        }));
        conditions.extend(self.moving(gathered));
        let step = ScheduleStep {
            conditions,
            settle: Some(self.again(why.to_owned())),
            ..ScheduleStep::default()
        };
        self.commit(step).await
    }

    /// Nothing is placed, so what is deleted goes at once; what is placed stays placed, for nobody
    /// took it off.
    async fn unserved(&self, site: &Record, gathered: &Gathered) -> Result<()> {
        let removed = gathered.removed.len();
        let told = vec![conditions::unserved(&site.entity, removed)];
        let mut conditions: Vec<_> = conditions::news(site, told).into_iter().collect();
        let unplaced = |record: &&Record| placed(&record.entity).is_none();
        let waiting: Vec<Record> = gathered.wanted.iter().filter(unplaced).cloned().collect();
        conditions.extend(each(&waiting, |record| {
            conditions::unserved_on(&record.entity, self.id)
        }));
        // A new scheduler makes the site due. A deleted one that is not done would be asked about
        // at once, over and over.
        let settle = if site.entity.deleting && removed > 0 {
            self.again("no scheduler takes its deployments off it".to_owned())
        } else {
            Outcome::Done
        };
        let step = ScheduleStep {
            conditions,
            settle: Some(settle),
            ..ScheduleStep::default()
        };
        self.commit(step).await
    }

    fn moving(&self, gathered: &Gathered) -> Vec<(Key, Vec<Condition>)> {
        each(&gathered.moving, |record| {
            let from = placed(&record.entity).map_or(self.id, |(from, _)| from);
            conditions::moving(&record.entity, from, self.id)
        })
    }

    /// When it is due again although nothing changed.
    fn next(&self, site: &Record, gathered: &Gathered) -> Option<Duration> {
        let resync = self.context.settings.resync;
        if site.entity.deleting {
            None
        } else if !gathered.moving.is_empty() {
            Some(LOOK_AGAIN)
        } else if resync.is_zero() {
            None
        } else {
            Some(resync.mul_f64(1.0 - chance() / 10.0))
        }
    }

    fn again(&self, reason: String) -> Outcome {
        Outcome::Retry {
            after: backoff(self.claim.work.attempts, chance()),
            reason,
        }
    }

    async fn commit(&self, step: ScheduleStep) -> Result<()> {
        for step in in_steps(step) {
            let data = &self.context.data;
            data.commit_placed(&self.claim.token, step).await?;
        }
        Ok(())
    }

    async fn wake(&self, after: Duration) -> Result<()> {
        let mark = Enqueue {
            after,
            ..Enqueue::now(Stage::Schedule, self.id, Lane::of(self.id.as_str()))
        };
        self.context.data.enqueue(vec![mark]).await
    }
}

fn each(records: &[Record], say: impl Fn(&Record) -> Condition) -> Vec<(Key, Vec<Condition>)> {
    records
        .iter()
        .filter_map(|record| conditions::news(record, vec![say(record)]))
        .collect()
}

/// Those whose placement, as of one generation or none yet, is to be said anew for that of now.
fn of_now(
    gathered: &Gathered,
    anew: impl Fn(Option<Generation>, Generation) -> bool,
) -> Vec<(DeploymentId, Generation)> {
    let all = gathered.wanted.iter().filter_map(|record| {
        let now = record.entity.generation;
        let at = placed(&record.entity).map(|(_, at)| *at);
        anew(at, now).then_some((id_of(record)?, now))
    });
    all.collect()
}

fn id_of(record: &Record) -> Option<DeploymentId> {
    match &record.entity.key {
        Key::Deployment(id) => Some(id.clone()),
        _ => None,
    }
}
