//! The position of a Placement, and its next children.

use super::children::Children;
use super::plan::{MissingEntity, NamedSites, PlacementPlan, PlacementSites};
use serde_json::{Value, json};
use std::collections::HashSet;
use tko_core::api::MAX_EFFECTS;
use tko_core::metadata::INVENTORY_GONE;
use tko_core::{Cursor, Effect, Key, Kind, List, PrepareCall, Result, Select, SiteId, TemplateId};

/// Maximum number of pages of sites that one call reads: pages may be short.
const PAGES: usize = 50;

/// A site of a Placement.
pub(super) struct PlacementSite {
    pub(super) id: SiteId,
    /// Whether it is the site of a `Site`, which may have been deleted since. The sites of a
    /// selection were just read.
    pub(super) is_named: bool,
    /// Whether its inventory no longer has it. Such a site gets no new child, but it still matches:
    /// its child stays until the site is removed.
    pub(super) is_gone: bool,
}

/// The position of the next child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlacementCursor {
    /// Index into `templates`.
    pub(super) entry: usize,
    /// Index into the `sites` of that entry.
    pub(super) name: usize,
    /// Within the selection of a `Sites`: the site to continue after.
    pub(super) after: Option<SiteId>,
}

impl PlacementCursor {
    /// Reads committed progress. Anything malformed counts as the start, which only costs time.
    pub(super) fn read(progress: &Value) -> Self {
        let number = |field: &str| {
            let number = progress.get(field)?.as_u64()?;
            usize::try_from(number).ok()
        };
        let (Some(entry), Some(name)) = (number("entry"), number("name")) else {
            return Self::default();
        };
        let after = progress.get("after").and_then(Value::as_str);
        Self {
            entry,
            name,
            after: after.and_then(|id| SiteId::new(id).ok()),
        }
    }

    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({"entry": self.entry, "name": self.name});
        if let Some(after) = &self.after {
            value["after"] = json!(after.as_str());
        }
        value
    }

    /// The next sites, at most `max`, possibly none; `None` at the end. Moves the cursor past them.
    pub(super) async fn next(
        &mut self,
        call: &PrepareCall<'_>,
        plan: &PlacementPlan,
        max: usize,
    ) -> Result<Option<Vec<PlacementSite>>> {
        let Some(entry) = plan.entries.get(self.entry) else {
            return Ok(None);
        };
        match entry.sites.get(self.name) {
            None => {
                *self = Self {
                    entry: self.entry + 1,
                    ..Self::default()
                };
                Ok(Some(Vec::new()))
            }
            Some(PlacementSites::One(site)) => {
                self.name += 1;
                Ok(Some(vec![PlacementSite {
                    id: site.clone(),
                    is_named: true,
                    is_gone: false,
                }]))
            }
            Some(PlacementSites::Many(metadata)) => {
                let list = List::new(Select::all(Kind::Site).metadata_patterns(metadata.clone()))
                    .after(self.after.take().map(|id| Cursor(Key::Site(id))))
                    .limit(max);
                let page = call.data.list(&list).await?;
                match page.next {
                    Some(Cursor(Key::Site(id))) => self.after = Some(id),
                    _ => self.name += 1,
                }
                let sites = page.items.iter().filter_map(|site| {
                    Some(PlacementSite {
                        id: site.entity.key.site()?.clone(),
                        is_named: false,
                        is_gone: site.entity.given.contains_key(INVENTORY_GONE),
                    })
                });
                Ok(Some(sites.collect()))
            }
        }
    }
}

/// The result of [`fill`].
pub(super) enum FillResult {
    /// These children, and the position to continue at; `None` after the last.
    Chunk(Vec<Effect>, Option<PlacementCursor>),
    /// A template or site is missing.
    Waits(MissingEntity),
}

/// The next children from this position on, at most [`MAX_EFFECTS`]. `named` are the sites that were
/// looked up in this call.
pub(super) async fn fill(
    call: &PrepareCall<'_>,
    plan: &PlacementPlan,
    children: &Children<'_>,
    named: &mut NamedSites,
    mut cursor: PlacementCursor,
) -> Result<FillResult> {
    let mut effects = Vec::new();
    let mut made = HashSet::new();
    let mut template: Option<(usize, TemplateId)> = None;
    for _ in 0..PAGES.max(plan.entries.len() + MAX_EFFECTS) {
        if effects.len() >= MAX_EFFECTS {
            break;
        }
        let at = cursor.entry;
        let before = cursor.clone();
        let Some(sites) = cursor.next(call, plan, MAX_EFFECTS - effects.len()).await? else {
            return Ok(FillResult::Chunk(effects, None));
        };
        let mut present = Vec::new();
        let mut awaited = None;
        for site in sites.into_iter().filter(|site| !site.is_gone) {
            if site.is_named && awaited.is_none() {
                awaited = named.missing(call.data, &site.id).await?;
            }
            present.push(site.id);
        }
        if present.is_empty() {
            continue;
        }
        let known = template.take().filter(|(entry, _)| *entry == at);
        let chosen = match (awaited, known) {
            (Some(missing), _) => Err(missing),
            (None, Some((_, chosen))) => Ok(chosen),
            (None, None) => plan.entries[at].template(call.data).await?,
        };
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(missing) if effects.is_empty() => return Ok(FillResult::Waits(missing)),
            // Create the others first; what is missing is looked up again after that.
            Err(_) => return Ok(FillResult::Chunk(effects, Some(before))),
        };
        for site in present {
            if made.insert((at, site.clone())) {
                effects.push(children.create(&plan.entries[at], at, &chosen, &site));
            }
        }
        template = Some((at, chosen));
    }
    Ok(FillResult::Chunk(effects, Some(cursor)))
}

#[cfg(test)]
mod tests {
    use super::PlacementCursor;
    use serde_json::json;
    use tko_core::SiteId;

    #[test]
    fn a_cursor_survives_storage_and_a_malformed_one_starts_over() {
        let cursor = PlacementCursor {
            entry: 2,
            name: 1,
            after: Some(SiteId::new("a/b:c").expect("an id")),
        };
        assert_eq!(PlacementCursor::read(&cursor.to_value()), cursor);
        for other in [
            json!(null),
            json!({"entry": -1, "name": 0}),
            json!({"name": 3}),
        ] {
            assert_eq!(
                PlacementCursor::read(&other),
                PlacementCursor::default(),
                "{other}"
            );
        }
    }
}
