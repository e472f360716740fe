//! Placements that continue: children for sites that enter or leave a selection.
//!
//! Called when a site may have entered or left. Compares the existing children with the sites that
//! match now. Both are read page by page, and only a hash of each is kept.

use super::super::lookup::PackageLookup;
use super::super::resources::finished;
use super::super::{field, selection};
use super::children::{Census, Child, Children};
use super::cursor::PlacementCursor;
use super::plan::{MissingEntity, NamedSites, PlacementPlan, is_continuous};
use serde_json::{Map, Value, json};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use tko_core::api::MAX_EFFECTS;
use tko_core::{
    Answer, Effect, Kind, Package, PrepareCall, Resource, Result, SiteId, Subscription, TemplateId,
};

/// Maximum number of children, and of missing entities, that a reason names.
const MAX_SHOWN: usize = 3;
/// Maximum number of missing entities that one Placement waits for. Each is a subscription in the
/// metadata of the deployment, whose size is limited.
const MAX_MISSING: usize = 100;

/// The persistent subscriptions of a Placement; none unless it continues.
pub(super) fn subscriptions(package: &Package, placement: &Resource) -> Vec<Subscription> {
    // Mistakes are reported when the Placement is prepared.
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
    let mut lookup = PackageLookup::new(package);
    let mut subscriptions = Vec::new();
    for name in names {
        let selected = lookup
            .named("Sites", name)
            .ok()
            .flatten()
            .and_then(|sites| selection::selection(&sites).ok().flatten());
        if let Some(metadata) = selected {
            subscriptions.push(Subscription::Selection {
                kind: Kind::Site,
                metadata,
                persistent: true,
            });
        }
    }
    subscriptions
}

/// The children that exist, of one Placement.
#[derive(Default)]
struct ExistingChildren {
    /// Those that are not being deleted.
    census: Census,
    /// The hashes of all.
    hashes: HashSet<u128>,
    /// The number of children of another template than the Placement names.
    outdated: u64,
}

/// Creates missing children, and deletes surplus ones if the Placement says so.
pub(super) async fn follow(
    call: &PrepareCall<'_>,
    placement: &Arc<Resource>,
    plan: &PlacementPlan,
    children: &mut Children<'_>,
) -> Result<Answer> {
    // By the namespace in their keys.
    let mut found: BTreeMap<String, ExistingChildren> = BTreeMap::new();
    let mut after = None;
    loop {
        let (page, next) = children.page(after).await?;
        for child in &page {
            let existing = found.entry(child.namespace.clone()).or_default();
            existing.census.add_child(child);
            existing.hashes.insert(hash_of(child.entry, &child.site));
            existing.outdated += u64::from(is_outdated(plan, child));
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    children.settle(&found);
    let existing = found.remove(children.namespace()).unwrap_or_default();
    let ExistingChildren {
        census,
        hashes,
        outdated,
    } = existing;
    let known = json!([hashes.len(), census.deployments()]);
    let MissingChildren {
        mut effects,
        wanted,
        awaited,
    } = missing(call, plan, children, hashes).await?;
    // `missing` stops once the step is full. `wanted` is incomplete then, and a later turn deletes.
    if plan.deletes && effects.len() < MAX_EFFECTS {
        loop {
            let (page, next) = children.page(after).await?;
            let left = page
                .into_iter()
                .filter(|child| children.contains(child) && !child.is_leaving)
                .filter(|child| !wanted.contains(&hash_of(child.entry, &child.site)))
                .map(|child| Effect::Delete(child.id));
            effects.extend(left.take(MAX_EFFECTS - effects.len()));
            after = next;
            if after.is_none() || effects.len() >= MAX_EFFECTS {
                break;
            }
        }
    }
    if !effects.is_empty() {
        return Ok(more(call, effects, known, awaited));
    }
    if !awaited.is_empty() {
        return Ok(not_yet(None, awaited));
    }
    let mut status = census.status();
    if outdated > 0 || placement.get(&["status", OUTDATED]).is_some() {
        status.insert(OUTDATED.to_owned(), json!(outdated));
    }
    Ok(Answer::Done {
        package: finished(call.package, placement, status)?,
        effects,
    })
}

/// The field of `status` that counts the children of another template than the Placement names.
pub(crate) const OUTDATED: &str = "outdatedDeployments";

/// Whether a child was made from another template than the Placement names now.
fn is_outdated(plan: &PlacementPlan, child: &Child) -> bool {
    let named = plan
        .entries
        .get(child.entry)
        .and_then(|entry| entry.fixed_template());
    match (named, &child.template) {
        (Some(named), Some(template)) => named != template && !child.is_leaving,
        _ => false,
    }
}

/// The missing children of a Placement.
#[derive(Default)]
struct MissingChildren {
    /// Effects that create missing children: all whose template and site exist, or the first
    /// [`MAX_EFFECTS`] of them.
    effects: Vec<Effect>,
    /// The hashes of all wanted children, if surplus ones are deleted and `effects` has fewer than
    /// [`MAX_EFFECTS`].
    wanted: HashSet<u128>,
    /// The missing templates and sites of the other missing children, each once; at most
    /// [`MAX_MISSING`].
    awaited: Vec<MissingEntity>,
}

/// Finds the missing children. An entry whose template is missing does not block the others, nor
/// does a named site that was deleted.
async fn missing(
    call: &PrepareCall<'_>,
    plan: &PlacementPlan,
    children: &Children<'_>,
    mut existing: HashSet<u128>,
) -> Result<MissingChildren> {
    let mut found = MissingChildren::default();
    let mut cursor = PlacementCursor::default();
    let mut named = NamedSites::default();
    // The template of the current entry, so that it is looked up once; `None` if it is missing.
    let mut template: Option<(usize, Option<TemplateId>)> = None;
    loop {
        let at = cursor.entry;
        let Some(sites) = cursor.next(call, plan, MAX_EFFECTS).await? else {
            return Ok(found);
        };
        for site in sites {
            let hash = hash_of(at, &children.site_in_key(at, &site.id));
            if plan.deletes {
                found.wanted.insert(hash);
            }
            if site.is_gone || !existing.insert(hash) {
                continue;
            }
            if site.is_named
                && let Some(missing) = named.missing(call.data, &site.id).await?
            {
                found.add_awaited(missing);
                continue;
            }
            let chosen = match template.take().filter(|(entry, _)| *entry == at) {
                Some((_, chosen)) => chosen,
                None => match plan.entries[at].template(call.data).await? {
                    Ok(chosen) => Some(chosen),
                    Err(missing) => {
                        found.add_awaited(missing);
                        None
                    }
                },
            };
            if let Some(chosen) = &chosen {
                let effect = children.create(&plan.entries[at], at, chosen, &site.id);
                found.effects.push(effect);
            }
            template = Some((at, chosen));
            if found.effects.len() >= MAX_EFFECTS {
                return Ok(found);
            }
        }
    }
}

impl MissingChildren {
    /// Adds a missing template or site, unless it was added before.
    fn add_awaited(&mut self, missing: MissingEntity) {
        let is_known = self
            .awaited
            .iter()
            .any(|known| known.subscription == missing.subscription);
        if !is_known && self.awaited.len() < MAX_MISSING {
            self.awaited.push(missing);
        }
    }
}

/// Continues with these effects. `known` describes the children that existed before; `awaited` are
/// missing.
///
/// If the same effects changed nothing in the last turn, another turn would not change anything
/// either. Other effects are committed although some of them had no effect before: one child that
/// cannot be created must not keep others from being created.
fn more(
    call: &PrepareCall<'_>,
    effects: Vec<Effect>,
    known: Value,
    awaited: Vec<MissingEntity>,
) -> Answer {
    let progress = Value::Object(Map::from_iter([
        ("known".to_owned(), known),
        ("effects".to_owned(), json!(hash_of_effects(&effects))),
    ]));
    if call.progress == Some(&progress) {
        return not_yet(Some(without_effect(&effects)), awaited);
    }
    Answer::More { effects, progress }
}

/// Waits for all of these templates and sites; `other` is a further reason to wait.
fn not_yet(other: Option<String>, awaited: Vec<MissingEntity>) -> Answer {
    let hidden = awaited.len().saturating_sub(MAX_SHOWN);
    let mut reasons: Vec<String> = other.into_iter().collect();
    let mut waits_for = Vec::new();
    for missing in awaited {
        if waits_for.len() < MAX_SHOWN {
            reasons.push(missing.reason);
        }
        waits_for.push(missing.subscription);
    }
    if hidden > 0 {
        reasons.push(format!("and {hidden} more"));
    }
    Answer::NotYet {
        reason: reasons.join("; "),
        waits_for,
    }
}

/// The reason why these effects, which changed nothing, are not tried again.
fn without_effect(effects: &[Effect]) -> String {
    let shown = effects.iter().take(MAX_SHOWN).map(|effect| match effect {
        Effect::Deployment(new) => {
            let site = new.site.as_ref().map_or("", SiteId::as_str);
            let key = new.idempotency_key.as_deref().unwrap_or_default();
            format!(
                "cannot create the child for site {site}, because another deployment has its \
                 idempotency key {key}"
            )
        }
        Effect::Site(new) => format!("cannot register site {}", new.id),
        Effect::Delete(id) => format!("cannot delete child {id}"),
    });
    let mut reasons: Vec<String> = shown.collect();
    if effects.len() > MAX_SHOWN {
        reasons.push(format!("and {} more", effects.len() - MAX_SHOWN));
    }
    format!(
        "{}; trying again when the sites or the children change",
        reasons.join("; ")
    )
}

/// A hash of the entities that the effects create or delete.
fn hash_of_effects(effects: &[Effect]) -> String {
    let mut hasher = DefaultHasher::new();
    for effect in effects {
        match effect {
            Effect::Deployment(new) => new.idempotency_key.hash(&mut hasher),
            Effect::Site(new) => new.id.hash(&mut hasher),
            Effect::Delete(id) => id.hash(&mut hasher),
        }
    }
    format!("{:x}", hasher.finish())
}

/// A hash of 128 bits. A collision of two sites is practically impossible.
fn hash_of(entry: usize, site: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, entry, site).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}
