//! The commits that report how scheduling a site went.

use crate::charts;
use crate::conditions;
use crate::conflicts::{self, EXCLUSIVE, SiteConflicts};
use crate::former::is_placed_on;
use crate::gather::{SiteDeployments, placed};
use crate::manifests;
use std::collections::BTreeMap;
use tko_core::entity::{APPROVED, NO_SCHEDULER, PREPARED, SCHEDULED};
use tko_core::{
    Condition, DeploymentId, Generation, Key, Outcome, Record, ScheduleReports, ScheduleStep,
    SiteId, SiteScheduler,
};

/// A site and its deployments, as they were read.
pub(crate) struct SiteReport<'a> {
    pub(crate) id: &'a SiteId,
    pub(crate) site: &'a Record,
    pub(crate) deployments: &'a SiteDeployments,
    pub(crate) conflicts: &'a SiteConflicts,
    /// Reports of the schedulers on the site and on single deployments.
    pub(crate) reports: &'a ScheduleReports,
    /// Whether no scheduler of the site installs charts.
    pub(crate) ignores_charts: bool,
}

impl SiteReport<'_> {
    /// The step before schedulers are called. It records the deployments that are about to be
    /// placed, the schedulers that are about to be called for the first time, and that the site must
    /// be cleaned up from now on. `None` if all of this is already recorded.
    pub(crate) fn started(&self, called: Vec<SiteScheduler>) -> Option<ScheduleStep> {
        let placed = self.placements(|at, _| at.is_none());
        let is_started = self
            .site
            .entity
            .condition(SCHEDULED)
            .is_some_and(|condition| condition.reason != NO_SCHEDULER);
        if placed.is_empty() && called.is_empty() && is_started {
            return None;
        }
        let mut conditions = Vec::new();
        if !is_started {
            let started = conditions::started(&self.site.entity);
            conditions.push((self.site.entity.key.clone(), vec![started]));
        }
        Some(
            ScheduleStep::new()
                .all_placed(placed)
                .all_called(called)
                .expect(self.site.entity.generation)
                .all_conditions(conditions),
        )
    }

    /// All schedulers succeeded, and reported these conditions of the site. `missing` is about
    /// schedulers that do not exist any more: while there are some, nothing counts as removed.
    pub(crate) fn succeeded(
        &self,
        reported: Vec<Condition>,
        forgotten: Vec<SiteScheduler>,
        missing: Option<&str>,
        settle: Outcome,
    ) -> ScheduleStep {
        let removed = &self.deployments.removed;
        let own = match missing {
            Some(missing) => conditions::scheduler_gone(&self.site.entity, removed.len(), missing),
            None => conditions::site_scheduled(&self.site.entity),
        };
        let of_site = self.reported(self.site);
        let conditions = self.conditions(
            one_of_each_kind(reported.into_iter().chain(of_site).chain([own])),
            |wanted| {
                let charts = self.ignored_charts(wanted);
                conditions::scheduled(&wanted.entity, self.id, &charts)
            },
            |removed| match missing {
                Some(missing) => vec![self.still_there(removed, missing)],
                None => self.gone(removed),
            },
        );
        let removed = removed.iter().filter(|_| missing.is_none());
        // New deployments were recorded as placed by `started`.
        ScheduleStep::new()
            .all_placed(self.placements(|at, now| at.is_some_and(|at| at != now)))
            .all_removed(removed.filter_map(id_of))
            .all_forgotten(forgotten)
            .all_conditions(conditions)
            .settle(settle)
    }

    /// The step after the last scheduler of the site has removed everything. Nothing serves the site
    /// any more, so deployments that should run there are no longer placed either.
    pub(crate) fn emptied(
        &self,
        reported: Vec<Condition>,
        forgotten: Vec<SiteScheduler>,
        settle: Outcome,
    ) -> ScheduleStep {
        let own = conditions::emptied(&self.site.entity);
        let of_site = self.reported(self.site);
        let conditions = self.conditions(
            one_of_each_kind(reported.into_iter().chain(of_site).chain([own])),
            |wanted| conditions::unserved_on(&wanted.entity, self.id),
            |removed| self.gone(removed),
        );
        let wanted = self.deployments.wanted.iter();
        let wanted = wanted.filter(|record| is_placed_on(record, self.id));
        let all = self.deployments.removed.iter().chain(wanted);
        ScheduleStep::new()
            .all_removed(all.filter_map(id_of))
            .all_forgotten(forgotten)
            .all_conditions(conditions)
            .settle(settle)
    }

    /// The step after a scheduler failed, or if the site has too many deployments. Other schedulers
    /// reported these conditions of the site.
    pub(crate) fn failed(
        &self,
        why: &str,
        reported: Vec<Condition>,
        forgotten: Vec<SiteScheduler>,
        settle: Outcome,
    ) -> ScheduleStep {
        let site = &self.site.entity;
        // The previous state may still be there in part.
        let stale = site
            .condition(manifests::CONDITION)
            .filter(|condition| condition.status == Some(true))
            .map(|_| conditions::manifests_unknown(site));
        let own = conditions::failed(site, why);
        let of_site = self.reported(self.site);
        let conditions = self.conditions(
            one_of_each_kind(
                stale
                    .into_iter()
                    .chain(reported)
                    .chain(of_site)
                    .chain([own]),
            ),
            |wanted| conditions::failed_on(&wanted.entity, self.id, why),
            |removed| vec![self.still_there(removed, why)],
        );
        ScheduleStep::new()
            .all_forgotten(forgotten)
            .all_conditions(conditions)
            .settle(settle)
    }

    /// The step for a site that no scheduler serves. Deployments that are placed stay placed,
    /// because nothing removes them. `missing` is about schedulers that do not exist any more; others
    /// may have made their last call, and reported these conditions of the site.
    pub(crate) fn unserved(
        &self,
        reported: Vec<Condition>,
        forgotten: Vec<SiteScheduler>,
        missing: Option<&str>,
        settle: Outcome,
    ) -> ScheduleStep {
        let (site, removed) = (&self.site.entity, &self.deployments.removed);
        let own = match missing {
            Some(missing) => conditions::scheduler_gone(site, removed.len(), missing),
            None => conditions::unserved(site, removed.len()),
        };
        let of_site = self.reported(self.site);
        let of_site = one_of_each_kind(reported.into_iter().chain(of_site).chain([own]));
        let mut conditions: Vec<_> = conditions::news(self.site, of_site).into_iter().collect();
        if let Some(missing) = missing {
            conditions.extend(removed.iter().filter_map(|record| {
                let mut new = self.reported(record);
                new.push(self.still_there(record, missing));
                conditions::news(record, new)
            }));
        }
        let wanted = self.deployments.wanted.iter();
        let unplaced = wanted.filter(|record| placed(&record.entity).is_none());
        conditions.extend(unplaced.filter_map(|record| {
            let unserved = conditions::unserved_on(&record.entity, self.id);
            conditions::news(record, vec![unserved])
        }));
        ScheduleStep::new()
            .all_forgotten(forgotten)
            .all_conditions(conditions)
            .settle(settle)
    }

    /// Whether a deployment is placed on the site.
    pub(crate) fn has_placed(&self) -> bool {
        let mut wanted = self.deployments.wanted.iter();
        !self.deployments.removed.is_empty() || wanted.any(|record| is_placed_on(record, self.id))
    }

    /// The conditions of a deployment that was removed.
    fn gone(&self, removed: &Record) -> Vec<Condition> {
        let ended = conflicts::ended(&removed.entity, self.id);
        let new = [conditions::removed(&removed.entity, self.id)];
        new.into_iter().chain(ended).collect()
    }

    /// The condition of a deployment that was not removed.
    fn still_there(&self, removed: &Record, why: &str) -> Condition {
        conditions::removal_failed(&removed.entity, self.id, why)
    }

    /// The new conditions of the site, and of each deployment.
    fn conditions(
        &self,
        site: Vec<Condition>,
        wanted: impl Fn(&Record) -> Condition,
        removed: impl Fn(&Record) -> Vec<Condition>,
    ) -> Vec<(Key, Vec<Condition>)> {
        let moving = |record: &Record| {
            let from = placed(&record.entity).map_or(self.id, |(from, _)| from);
            conditions::moving(&record.entity, from, self.id)
        };
        let all = self.deployments;
        let wanted = all.wanted.iter().map(|record| {
            let conflict = self.conflicts.condition(record, self.id);
            let new = [wanted(record)].into_iter().chain(conflict);
            (record, new.chain(self.reported(record)).collect())
        });
        let off = all.removed.iter();
        let removed = off.map(|record| {
            let new = removed(record).into_iter().chain(self.reported(record));
            (record, new.collect())
        });
        let coming = all.moving.iter();
        let moving = coming.map(|record| (record, vec![moving(record)]));
        let each = wanted.chain(removed).chain(moving);
        let new = each.filter_map(|(record, new)| conditions::news(record, new));
        conditions::news(self.site, site)
            .into_iter()
            .chain(new)
            .collect()
    }

    /// The charts of a deployment that no scheduler of the site installs.
    fn ignored_charts<'r>(&self, record: &'r Record) -> Vec<&'r str> {
        match &record.package {
            Some(package) if self.ignores_charts => charts::to_install(package),
            _ => Vec::new(),
        }
    }

    /// Conditions that schedulers reported on the site or a deployment, without the kinds that
    /// TKO's own controllers write.
    fn reported(&self, record: &Record) -> Vec<Condition> {
        let mut conditions = self.reports.of(&record.entity.key);
        conditions.retain(|condition| {
            ![APPROVED, EXCLUSIVE, PREPARED, SCHEDULED].contains(&condition.kind.as_str())
        });
        conditions
    }

    /// The wanted deployments whose placement is to be recorded, as of their current generation.
    /// `is_new` compares the recorded generation, if any, with the current one.
    fn placements(
        &self,
        is_new: impl Fn(Option<Generation>, Generation) -> bool,
    ) -> Vec<(DeploymentId, Generation)> {
        let all = self.deployments.wanted.iter().filter_map(|record| {
            let now = record.entity.generation;
            let at = placed(&record.entity).map(|(_, at)| *at);
            is_new(at, now).then_some((id_of(record)?, now))
        });
        all.collect()
    }
}

fn id_of(record: &Record) -> Option<DeploymentId> {
    record.entity.key.deployment().cloned()
}

/// The last condition of each kind: two alternating conditions would be written again and again.
fn one_of_each_kind(conditions: impl Iterator<Item = Condition>) -> Vec<Condition> {
    let kinds: BTreeMap<String, Condition> = conditions
        .map(|condition| (condition.kind.clone(), condition))
        .collect();
    kinds.into_values().collect()
}
