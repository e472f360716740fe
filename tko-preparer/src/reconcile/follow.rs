//! Deployments that go on following something once they are prepared.

use super::ending::changed;
use super::round::is_here;
use super::target::Called;
use super::{Halt, Pass, Step, is_prepared, package_of};
use crate::blocker::{Blocker, TRACKED, held_up};
use tko_core::registry::Handler;
use tko_core::{
    Condition, Identifier, Outcome, Package, Preparer, Record, Resource, Subscription, subscription,
};

impl Pass<'_> {
    /// What the resources of this package follow for good.
    pub(super) fn tracks(&self, package: &Package) -> Vec<Subscription> {
        let mut all: Vec<Subscription> = Vec::new();
        for resource in package.iter().filter(|resource| is_here(resource)) {
            for interest in self
                .tracks_of(package, resource)
                .into_iter()
                .flat_map(|t| t.1)
            {
                if !all.contains(&interest) {
                    all.push(interest);
                }
            }
        }
        all
    }

    /// Registers what this package follows before anything is looked up, so that nothing is missed
    /// between the look and the registration. Whether something was registered.
    pub(super) async fn track(&mut self, record: &Record) -> Result<bool, Halt> {
        let tracks = self.tracks(&package_of(record));
        let metadata = &record.entity.metadata;
        let known = subscription::metadata(&tracks)
            .iter()
            .all(|(key, value)| metadata.get(key) == Some(value));
        if known {
            return Ok(false);
        }
        let mut step = self.step(record.entity.generation);
        step.subscriptions = Some(tracks);
        match self.commit(step).await? {
            Step::Done | Step::Moved => Ok(true),
            Step::Refused(error) => Err(Halt::Failed(error)),
        }
    }

    /// Calls the preparers of what follows something, and ends the claim. Whether it has to be
    /// read again instead.
    pub(super) async fn follow(&mut self, record: &Record) -> Result<bool, Halt> {
        let package = package_of(record);
        let targets: Vec<(Identifier, Vec<Handler<dyn Preparer>>)> = package
            .iter()
            .filter(|resource| is_here(resource))
            .map(|resource| {
                let parts = self.tracks_of(&package, resource);
                let parts = parts.into_iter().map(|(part, _)| part).collect();
                (resource.identifier().clone(), parts)
            })
            .filter(|(_, parts): &(_, Vec<_>)| !parts.is_empty())
            .collect();
        let interests = changed(record, self.tracks(&package));
        if targets.is_empty() && interests.is_none() {
            self.done().await;
            return Ok(false);
        }
        if interests.is_some() {
            let mut step = self.step(record.entity.generation);
            step.subscriptions = interests;
            return match self.commit(step).await? {
                Step::Done | Step::Moved => Ok(true),
                Step::Refused(error) => Err(Halt::Failed(error)),
            };
        }
        let mut record = record.clone();
        let mut open = Vec::new();
        for (target, parts) in targets {
            match self.call(&record, &[], &target, &parts).await? {
                Called::Blocker(why) => open.push(why),
                Called::Nothing => {}
                Called::Moved => return Ok(true),
                Called::Changed => match self.read().await?.filter(is_prepared) {
                    Some(again) => record = again,
                    None => return Ok(true),
                },
            }
        }
        self.followed(&record, &open).await
    }

    /// Says how following goes, if there is anything to say.
    async fn followed(&mut self, record: &Record, open: &[Blocker]) -> Result<bool, Halt> {
        let generation = record.entity.generation;
        let mut step = self.step(generation);
        if open.is_empty() {
            if record
                .entity
                .condition(TRACKED)
                .is_none_or(|c| c.status == Some(true))
            {
                self.done().await;
                return Ok(false);
            }
            let message = "follows what it tracks";
            let condition = Condition::new(TRACKED, true, "Tracked", message, generation);
            step.conditions = vec![condition];
            step.settle = Some(Outcome::Done);
        } else {
            let condition = held_up(TRACKED, open, generation);
            step.settle = Some(self.later(open, &condition.message));
            step.conditions = vec![condition];
        }
        match self.commit(step).await? {
            Step::Done => Ok(false),
            Step::Moved => Ok(true),
            Step::Refused(error) => Err(Halt::Failed(error)),
        }
    }

    /// The parts that follow something on behalf of this resource, and what.
    fn tracks_of(
        &self,
        package: &Package,
        resource: &Resource,
    ) -> Vec<(Handler<dyn Preparer>, Vec<Subscription>)> {
        self.table
            .of(resource.gvk())
            .iter()
            .filter_map(|part| {
                let interests = part.handler.as_ref().ok()?.tracks(package, resource);
                (!interests.is_empty()).then(|| (part.clone(), interests))
            })
            .collect()
    }
}
