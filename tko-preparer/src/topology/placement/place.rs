//! How far a Placement has come, and the next children.

use super::MAX_EFFECTS;
use super::children::Children;
use super::plan::{Missing, Places, Plan};
use serde_json::{Value, json};
use std::collections::HashSet;
use tko_core::{
    Cursor, Effect, Key, Kind, List, PrepareCall, Result, Select, SiteId, TemplateId, Want,
};

/// Most pages of sites that are looked at in one call: pages may be short.
const PAGES: usize = 50;

/// The next child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into `templates`.
    pub(super) entry: usize,
    /// Index into `sites` of that.
    pub(super) name: usize,
    /// Of a Sites: after this one.
    pub(super) after: Option<SiteId>,
}

impl Place {
    /// As it was committed. What is not in its form counts as the start, which costs time only.
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

    /// The next sites, at most `most` or one, or a part of them; `None`: there are no more. The
    /// place moves behind them.
    pub(super) async fn next(
        &mut self,
        call: &PrepareCall<'_>,
        plan: &Plan,
        most: usize,
    ) -> Result<Option<Vec<SiteId>>> {
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
            Some(Places::One(site)) => {
                self.name += 1;
                Ok(Some(vec![site.clone()]))
            }
            Some(Places::Many(metadata)) => {
                let list = List {
                    select: Select {
                        metadata: metadata.clone(),
                        ..Select::all(Kind::Site)
                    },
                    after: self.after.take().map(|id| Cursor(Key::Site(id))),
                    limit: most,
                    want: Want::ROW,
                };
                let page = call.data.list(&list).await?;
                match page.next {
                    Some(Cursor(Key::Site(id))) => self.after = Some(id),
                    _ => self.name += 1,
                }
                let sites = page.items.iter();
                Ok(Some(
                    sites
                        .filter_map(|site| site.entity.key.site().cloned())
                        .collect(),
                ))
            }
        }
    }
}

/// The next children.
pub(super) enum Filled {
    /// These, and where to go on; `None`: they are the last.
    Chunk(Vec<Effect>, Option<Place>),
    /// A template went away.
    Waits(Missing),
}

/// At most [`MAX_EFFECTS`] children, from this place on.
pub(super) async fn fill(
    call: &PrepareCall<'_>,
    plan: &Plan,
    children: &Children<'_>,
    mut place: Place,
) -> Result<Filled> {
    let mut effects = Vec::new();
    let mut made = HashSet::new();
    let mut template: Option<(usize, TemplateId)> = None;
    for _ in 0..PAGES.max(plan.entries.len() + MAX_EFFECTS) {
        if effects.len() >= MAX_EFFECTS {
            break;
        }
        let at = place.entry;
        let before = place.clone();
        let Some(sites) = place.next(call, plan, MAX_EFFECTS - effects.len()).await? else {
            return Ok(Filled::Chunk(effects, None));
        };
        if sites.is_empty() {
            continue;
        }
        let chosen = match template.take().filter(|(entry, _)| *entry == at) {
            Some((_, chosen)) => chosen,
            None => match plan.entries[at].template(call.data).await? {
                Ok(chosen) => chosen,
                Err(missing) if effects.is_empty() => return Ok(Filled::Waits(missing)),
                // What there is first; then it is asked again.
                Err(_) => return Ok(Filled::Chunk(effects, Some(before))),
            },
        };
        for site in sites {
            if made.insert((at, site.clone())) {
                effects.push(children.create(&plan.entries[at], at, &chosen, &site));
            }
        }
        template = Some((at, chosen));
    }
    Ok(Filled::Chunk(effects, Some(place)))
}

#[cfg(test)]
mod tests {
    use super::Place;
    use serde_json::json;
    use tko_core::SiteId;

    #[test]
    fn a_place_is_read_as_it_was_written_and_else_is_the_start() {
        let place = Place {
            entry: 2,
            name: 1,
            after: Some(SiteId::new("a/b:c").expect("an id")),
        };
        assert_eq!(Place::read(&place.to_value()), place);
        for other in [
            json!(null),
            json!({"entry": -1, "name": 0}),
            json!({"name": 3}),
        ] {
            assert_eq!(Place::read(&other), Place::default(), "{other}");
        }
    }
}
