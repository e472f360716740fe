//! The commits that report how scheduling a site went.

use crate::charts;
use crate::conditions;
use crate::conflicts::{self, EXCLUSIVE, SiteConflicts};
use crate::gather::{SiteDeployments, placed};
use crate::manifests;
use std::collections::BTreeMap;
use tko_core::entity::{APPROVED, NO_SCHEDULER, PREPARED, SCHEDULED};
use tko_core::{
    Condition, DeploymentId, Generation, Key, Outcome, Record, ScheduleReports, ScheduleStep,
    SiteId,
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
    /// placed, and that the site must be cleaned up from now on. `None` if all of this is already
    /// recorded.
    pub(crate) fn started(&self) -> Option<ScheduleStep> {
        let placed = self.placements(|at, _| at.is_none());
        let is_started = self
            .site
            .entity
            .condition(SCHEDULED)
            .is_some_and(|condition| condition.reason != NO_SCHEDULER);
        if placed.is_empty() && is_started {
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
                .all_conditions(conditions),
        )
    }

    /// All schedulers succeeded, and reported these conditions of the site.
    pub(crate) fn succeeded(&self, reported: Vec<Condition>, settle: Outcome) -> ScheduleStep {
        let own = conditions::site_scheduled(&self.site.entity);
        let of_site = self.reported(self.site);
        let conditions = self.conditions(
            one_of_each_kind(reported.into_iter().chain(of_site).chain([own])),
            |wanted| {
                let charts = self.ignored_charts(wanted);
                conditions::scheduled(&wanted.entity, self.id, &charts)
            },
            |removed| {
                let ended = conflicts::ended(&removed.entity, self.id);
                let new = [conditions::removed(&removed.entity, self.id)];
                new.into_iter().chain(ended).collect()
            },
        );
        // New deployments were recorded as placed by `started`.
        ScheduleStep::new()
            .all_placed(self.placements(|at, now| at.is_some_and(|at| at != now)))
            .all_removed(self.deployments.removed.iter().filter_map(id_of))
            .all_conditions(conditions)
            .settle(settle)
    }

    /// The step after a scheduler failed, or if the site has too many deployments. Other schedulers
    /// reported these conditions of the site.
    pub(crate) fn failed(
        &self,
        why: &str,
        reported: Vec<Condition>,
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
            |removed| vec![conditions::removal_failed(&removed.entity, self.id, why)],
        );
        ScheduleStep::new()
            .all_conditions(conditions)
            .settle(settle)
    }

    /// The step for a site that no scheduler serves. Deployments that are placed stay placed,
    /// because nothing removes them.
    pub(crate) fn unserved(&self, settle: Outcome) -> ScheduleStep {
        let removed = self.deployments.removed.len();
        let own = vec![conditions::unserved(&self.site.entity, removed)];
        let mut conditions: Vec<_> = conditions::news(self.site, own).into_iter().collect();
        let wanted = self.deployments.wanted.iter();
        let unplaced = wanted.filter(|record| placed(&record.entity).is_none());
        conditions.extend(unplaced.filter_map(|record| {
            let unserved = conditions::unserved_on(&record.entity, self.id);
            conditions::news(record, vec![unserved])
        }));
        ScheduleStep::new()
            .all_conditions(conditions)
            .settle(settle)
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
