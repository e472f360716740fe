//! `Placement`: creates a deployment for every template and each of its sites.
//!
//! It waits until every site that it names is known and every resource that it merges is prepared.
//! Then it creates the children: all at once if there are at most [`MAX_EFFECTS`](tko_core::api::MAX_EFFECTS), else in chunks,
//! each committed with a cursor. The idempotency key of a child consists of its parent, the
//! Placement, the index in `templates`, and the site. At most one living deployment has a key, so
//! no failure creates a child twice; losing the cursor only costs time. If the namespace of a
//! Placement changes, its children remain its children.
//!
//! `status.deployments` counts the children, and `status.deploymentIds` lists the first 1,000 by id.
//!
//! With `spec.track: Continuous` it continues once it is prepared. When a site enters one of its
//! `Sites`, a child is created. When a site leaves them, or is deleted, `spec.onLeave: Delete`
//! deletes the child, and `Keep` (the default) keeps it. A site that the same entry still selects
//! in another way keeps its child. While the template of an entry is missing, the entry gets no new
//! children, and the other entries continue. While the site of a `Site` is not registered, it gets
//! no new child, and the other sites continue.
//!
//! A child that is deleted is created again, once it is gone. To remove children permanently,
//! delete their parent with them, or remove their sites or templates from the Placement. A child
//! keeps its template when the Placement changes to another: `status.outdatedDeployments` counts
//! these.
//!
//! A template is never placed within itself, nor deeper than a limit: see [`Nesting`].

mod children;
mod cursor;
mod nesting;
mod plan;
mod tracking;

pub use nesting::Nesting;
pub(crate) use tracking::OUTDATED;

use self::children::{Census, Children};
use self::cursor::{FillResult, PlacementCursor};
use self::plan::{NamedSites, PlacementPlan, PlanResult};
use super::merging::own_changes;
use super::resources::{finished, target};
use super::when::MergeConditions;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::annotation::{self, PREPARED};
use tko_core::{Answer, Effect, Package, PrepareCall, Preparer, Resource, Result, Subscription};

/// Prepares `Placement`; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct PlacementPreparer {
    nesting: Nesting,
    conditions: MergeConditions,
}

impl PlacementPreparer {
    /// A preparer with these bounds.
    pub fn new(nesting: Nesting) -> Self {
        Self {
            nesting,
            conditions: MergeConditions::default(),
        }
    }

    /// Sets how conditions of merges are evaluated.
    #[must_use]
    pub fn with_conditions(mut self, conditions: MergeConditions) -> Self {
        self.conditions = conditions;
        self
    }

    /// Checks on the first call that everything exists, before anything is created. Returns an answer
    /// if something is missing.
    async fn begin(
        &self,
        call: &PrepareCall<'_>,
        plan: &PlacementPlan,
        named: &mut NamedSites,
    ) -> Result<Option<Answer>> {
        let mut templates = Vec::new();
        for entry in &plan.entries {
            match entry.template(call.data).await? {
                Ok(id) => templates.push(id),
                Err(missing) => return Ok(Some(missing.into())),
            }
        }
        if let Some(missing) = named.first_missing(call.data, plan).await? {
            return Ok(Some(missing.into()));
        }
        self.nesting.check(call, &templates).await?;
        Ok(None)
    }
}

/// The stage of preparing a Placement.
enum PlacementStage {
    Placing(PlacementCursor),
    Counting(Census),
}

impl PlacementStage {
    fn read(progress: &Value) -> Self {
        match progress.get("counting") {
            Some(census) => Self::Counting(Census::read(census)),
            None => Self::Placing(PlacementCursor::read(progress)),
        }
    }

    /// The progress to commit, with what [`Children::resume`] reads.
    fn to_value(&self, children: &Children<'_>) -> Value {
        let mut value = match self {
            Self::Placing(cursor) => cursor.to_value(),
            Self::Counting(census) => json!({"counting": census.to_value()}),
        };
        value["namespace"] = json!(children.namespace());
        value
    }
}

#[async_trait]
impl Preparer for PlacementPreparer {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let placement = target(&call)?;
        let plan = match plan::plan(&call, placement, &self.conditions)? {
            PlanResult::Ready(plan) => plan,
            PlanResult::Waits(reason) => {
                return Ok(Answer::NotYet {
                    reason,
                    waits_for: vec![own_changes(&call)?],
                });
            }
        };
        let mut children = Children::of(&call)?;
        if annotation::is_true(placement, PREPARED) {
            return tracking::follow(&call, placement, &plan, &mut children).await;
        }
        let first = call.progress.is_none();
        let mut named = NamedSites::default();
        if first && let Some(answer) = self.begin(&call, &plan, &mut named).await? {
            return Ok(answer);
        }
        let mut stage = PlacementStage::Placing(PlacementCursor::default());
        if let Some(progress) = call.progress {
            stage = PlacementStage::read(progress);
            children.resume(progress);
        }
        if let PlacementStage::Placing(cursor) = stage {
            let (any, leaving) = if first {
                children.existing().await?
            } else {
                (true, 0)
            };
            if leaving > 0 {
                // Their removal enqueues this deployment.
                return Ok(Answer::NotYet {
                    reason: format!("waiting until {leaving} of its former children are deleted"),
                    waits_for: vec![own_changes(&call)?],
                });
            }
            let alone = !any;
            let filled = cursor::fill(&call, &plan, &children, &mut named, cursor).await?;
            let (effects, next) = match filled {
                FillResult::Chunk(effects, next) => (effects, next),
                FillResult::Waits(missing) => return Ok(missing.into()),
            };
            if alone && next.is_none() {
                return at_once(&call, placement, effects);
            }
            let goes_on = next.is_some();
            stage = next.map_or(
                PlacementStage::Counting(Census::default()),
                PlacementStage::Placing,
            );
            if goes_on || !effects.is_empty() {
                return Ok(Answer::More {
                    effects,
                    progress: stage.to_value(&children),
                });
            }
        }
        let PlacementStage::Counting(mut census) = stage else {
            unreachable!("a placement that goes on has been answered above")
        };
        if census.count(&children).await? {
            return Ok(Answer::Done {
                package: finished(call.package, placement, census.status())?,
                effects: Vec::new(),
            });
        }
        Ok(Answer::More {
            effects: Vec::new(),
            progress: PlacementStage::Counting(census).to_value(&children),
        })
    }

    fn tracks(&self, package: &Package, target: &Resource) -> Vec<Subscription> {
        tracking::subscriptions(package, target)
    }

    fn depends_on(&self, target: &Resource, effects: &[Effect]) -> bool {
        let [end, short_end] = children::ends_of_keys(target.identifier());
        effects.iter().any(|effect| match effect {
            // Its own child, or that of another Placement of this name.
            Effect::Deployment(new) => new
                .idempotency_key
                .as_deref()
                .is_some_and(|key| key.ends_with(&end) || key.ends_with(&short_end)),
            Effect::Site(_) | Effect::Delete(_) => true,
        })
    }
}

/// Creates all children in one step with the finished Placement. There were none before, so their
/// ids are known.
fn at_once(
    call: &PrepareCall<'_>,
    placement: &Arc<Resource>,
    mut effects: Vec<Effect>,
) -> Result<Answer> {
    let mut census = Census::default();
    for effect in &mut effects {
        if let Effect::Deployment(new) = effect {
            census.add(new.id.get_or_insert_with(|| call.ids.next()));
        }
    }
    Ok(Answer::Done {
        package: finished(call.package, placement, census.status())?,
        effects,
    })
}
