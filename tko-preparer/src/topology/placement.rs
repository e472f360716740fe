//! `Placement`: makes a deployment for every template and each of its sites.
//!
//! It waits until every site that it names is known and every resource that it merges is prepared;
//! then it creates the children, all at once if there are at most [`MAX_EFFECTS`], else in chunks,
//! each committed with the place that it got to. A child is known by parent, Placement, place in
//! `templates`, and site: at most one living deployment has that key, so whatever fails, and
//! however often, none is doubled; a lost place costs time only.
//!
//! `status.deployments` counts the children, `status.deploymentIds` lists the first 1,000 by id.
//!
//! With `spec.track: Continuous` it goes on once it is prepared: when a site begins to match one
//! of its `Sites`, its child is created; when one ceases to match, or is deleted,
//! `spec.onLeave: Delete` deletes the child, and `Keep` (the default) leaves it. What a site has
//! by another name or selection of the same entry stays.
//!
//! A template is never placed within itself, nor deeper than a bound: see [`Nesting`].

mod children;
mod nesting;
mod place;
mod plan;
mod tracking;

pub use nesting::Nesting;

use self::children::{Census, Children};
use self::place::{Filled, Place};
use self::plan::{Plan, Planned};
use super::merging::this_package;
use super::{finished, target};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::annotation::{self, PREPARED};
use tko_core::api::MAX_EFFECTS;
use tko_core::{Answer, Effect, Package, PrepareCall, Preparer, Resource, Result, Subscription};

/// Prepares `Placement`. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Placement {
    nesting: Nesting,
}

impl Placement {
    /// With these bounds.
    pub fn new(nesting: Nesting) -> Self {
        Self { nesting }
    }

    /// The first call: whether everything is there, before anything is made.
    async fn begin(&self, call: &PrepareCall<'_>, plan: &Plan) -> Result<Option<Answer>> {
        let mut templates = Vec::new();
        for entry in &plan.entries {
            match entry.template(call.data).await? {
                Ok(id) => templates.push(id),
                Err(missing) => return Ok(Some(missing.into())),
            }
        }
        self.nesting.check(call, &templates).await?;
        Ok(None)
    }
}

/// Where a Placement is.
enum Stage {
    Placing(Place),
    Counting(Census),
}

impl Stage {
    fn read(progress: &Value) -> Self {
        match progress.get("counting") {
            Some(census) => Self::Counting(Census::read(census)),
            None => Self::Placing(Place::read(progress)),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Placing(place) => place.to_value(),
            Self::Counting(census) => json!({"counting": census.to_value()}),
        }
    }
}

#[async_trait]
impl Preparer for Placement {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let placement = target(&call)?;
        let plan = match plan::plan(&call, placement)? {
            Planned::Ready(plan) => plan,
            Planned::Waits(reason) => {
                return Ok(Answer::NotYet {
                    reason,
                    waits_for: vec![this_package(&call)?],
                });
            }
        };
        let children = Children::of(&call)?;
        if annotation::is_true(placement, PREPARED) {
            return tracking::follow(&call, placement, &plan, &children).await;
        }
        let first = call.progress.is_none();
        if first && let Some(answer) = self.begin(&call, &plan).await? {
            return Ok(answer);
        }
        let mut stage = call
            .progress
            .map_or(Stage::Placing(Place::default()), Stage::read);
        if let Stage::Placing(place) = stage {
            let alone = first && children.are_none().await?;
            let (effects, next) = match place::fill(&call, &plan, &children, place).await? {
                Filled::Chunk(effects, next) => (effects, next),
                Filled::Waits(missing) => return Ok(missing.into()),
            };
            if alone && next.is_none() {
                return at_once(&call, placement, effects);
            }
            let goes_on = next.is_some();
            stage = next.map_or(Stage::Counting(Census::default()), Stage::Placing);
            if goes_on || !effects.is_empty() {
                return Ok(Answer::More {
                    effects,
                    progress: stage.to_value(),
                });
            }
        }
        let Stage::Counting(mut census) = stage else {
            unreachable!("what goes on placing has answered above")
        };
        if census.count(&children).await? {
            return Ok(Answer::Done {
                package: finished(call.package, placement, census.status())?,
                effects: Vec::new(),
            });
        }
        Ok(Answer::More {
            effects: Vec::new(),
            progress: Stage::Counting(census).to_value(),
        })
    }

    fn tracks(&self, package: &Package, target: &Resource) -> Vec<Subscription> {
        tracking::interests(package, target)
    }
}

/// All children in one step with the finished Placement: there were none, so their ids are known.
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
