//! Placements that go on: what begins to match, and what ceases to.
//!
//! Called whenever a site may have moved. Compares the children that there are with the sites that
//! match now, which are both read page by page; of each, only a hash is kept.

use super::super::{field, finished, named, selection};
use super::MAX_EFFECTS;
use super::children::{Census, Children};
use super::place::Place;
use super::plan::{Plan, is_continuous};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tko_core::{
    Answer, Effect, Kind, Package, PrepareCall, Resource, Result, Subscription, TemplateId,
};

/// The selections that a Placement follows for good; none if it does not.
pub(super) fn interests(package: &Package, placement: &Resource) -> Vec<Subscription> {
    // What is wrong with it is said when it is prepared.
    if !is_continuous(placement).unwrap_or(false) {
        return Vec::new();
    }
    let templates = field::spec(placement, "templates").and_then(Value::as_array);
    let names = templates
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("sites")?.as_array())
        .flatten()
        .filter_map(Value::as_str);
    let mut interests = Vec::new();
    for name in names {
        let selected = named(package, "Sites", name)
            .ok()
            .flatten()
            .and_then(|sites| selection::selection(sites).ok().flatten());
        if let Some(metadata) = selected {
            interests.push(Subscription::Selection {
                kind: Kind::Site,
                metadata,
                persistent: true,
            });
        }
    }
    interests
}

/// Makes what is missing, and deletes what is left over if the Placement says so.
pub(super) async fn follow(
    call: &PrepareCall<'_>,
    placement: &Arc<Resource>,
    plan: &Plan,
    children: &Children<'_>,
) -> Result<Answer> {
    let mut census = Census::default();
    let mut there = HashSet::new();
    let mut after = None;
    loop {
        let (page, next) = children.page(after).await?;
        for child in &page {
            census.add(&child.id);
            there.insert(short(child.entry, &child.site));
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    let (mut effects, wanted) = match missing(call, plan, children, there).await? {
        Missing::All(effects, wanted) => (effects, wanted),
        Missing::Some(effects) => return Ok(more(call, effects)),
        Missing::Waits(answer) => return Ok(answer),
    };
    if plan.deletes {
        loop {
            let (page, next) = children.page(after).await?;
            let left = page
                .into_iter()
                .filter(|child| !wanted.contains(&short(child.entry, &child.site)))
                .map(|child| Effect::Delete(child.id));
            effects.extend(left.take(MAX_EFFECTS - effects.len()));
            after = next;
            if after.is_none() || effects.len() >= MAX_EFFECTS {
                break;
            }
        }
    }
    if !effects.is_empty() {
        return Ok(more(call, effects));
    }
    Ok(Answer::Done {
        package: finished(call.package, placement, census.status())?,
        effects,
    })
}

enum Missing {
    /// All of what is missing, and hashes of what is wanted.
    All(Vec<Effect>, HashSet<u128>),
    /// As much as one step takes.
    Some(Vec<Effect>),
    /// A template is not there.
    Waits(Answer),
}

async fn missing(
    call: &PrepareCall<'_>,
    plan: &Plan,
    children: &Children<'_>,
    mut there: HashSet<u128>,
) -> Result<Missing> {
    let mut wanted = HashSet::new();
    let mut effects = Vec::new();
    let mut place = Place::default();
    let mut template: Option<(usize, TemplateId)> = None;
    loop {
        let at = place.entry;
        let Some(sites) = place.next(call, plan, MAX_EFFECTS).await? else {
            return Ok(Missing::All(effects, wanted));
        };
        for site in sites {
            let hash = short(at, site.as_str());
            if plan.deletes {
                wanted.insert(hash);
            }
            if !there.insert(hash) {
                continue;
            }
            let chosen = match template.take().filter(|(entry, _)| *entry == at) {
                Some((_, chosen)) => chosen,
                None => match plan.entries[at].template(call.data).await? {
                    Ok(chosen) => chosen,
                    Err(missing) => return Ok(Missing::Waits(missing.into())),
                },
            };
            effects.push(children.create(&plan.entries[at], at, &chosen, &site));
            template = Some((at, chosen));
            if effects.len() >= MAX_EFFECTS {
                return Ok(Missing::Some(effects));
            }
        }
    }
}

fn more(call: &PrepareCall<'_>, effects: Vec<Effect>) -> Answer {
    let turn = call.progress.and_then(Value::as_u64).unwrap_or(0) + 1;
    Answer::More {
        effects,
        progress: json!(turn),
    }
}

/// 128 bits of who it is: that two sites share them will not happen.
fn short(entry: usize, site: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, entry, site).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}
