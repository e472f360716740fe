//! How a selection is answered: what drives the listing, and what each row is held against.
//!
//! Every index that can drive has its rows in the order of ids, so a page may end anywhere and the
//! next goes on from there, and a literal start of the ids narrows every driver. Which one is
//! taken depends on the selection, not on statistics, except that several that name one value
//! exactly are tried first ([`choose`]).

use super::text::{after_prefix, like, longest_prefix};
use crate::facet::{indexed, prefix};
use crate::metrics::{Measures, Purpose, Sending};
use crate::row::number;
use sqlx::PgConnection;
use tko_core::pattern::Pattern;
use tko_core::{Key, Kind, PluginId, PluginType, Result, Select, SiteId, TemplateId};

/// Most values whose rows are merged.
pub(super) const MAX_VALUES: i64 = 256;

/// Lists are compared by how far so many entries reach.
const STRIDE: i64 = 256;

/// A column that is matched by patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Id,
    Template,
    Site,
}

/// What has values, and rows for each value in the order of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Index {
    Template,
    Site,
    /// Of a metadata key, in its indexed form.
    Metadata(String),
}

/// Which values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// These.
    Given(Vec<String>),
    /// From a text on, to one that is not among them any more, and like this.
    Range {
        from: String,
        to: Option<String>,
        like: Option<String>,
    },
}

/// What gives ids in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// These.
    Ids(Vec<String>),
    Parent(String),
    Concerning(String),
    /// One value.
    Exactly(Index, String),
    /// Several values, merged.
    Merged(Index, Values),
    Unprepared,
    /// Prepared and not approved.
    Unapproved,
    /// All of the kind.
    All,
}

impl Driver {
    /// Whether it names one value exactly.
    pub(super) fn names_one(&self) -> bool {
        matches!(self, Self::Exactly(..))
    }
}

/// What SQL holds rows against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    NotDeleting,
    Prepared(bool),
    Approved(bool),
    Parent(String),
    Concerning(String),
    Is(Column, String),
    Like(Column, String),
    /// Key and value, as they are indexed.
    Has(String, String),
}

/// How a selection is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kind: i16,
    /// Ids are not less than this.
    pub(super) low: String,
    /// Ids are less than this.
    pub(super) high: Option<String>,
    /// The best one last.
    pub(super) drivers: Vec<Driver>,
    pub(super) conditions: Vec<Condition>,
    /// What SQL lets through is what is selected.
    pub(super) decided: bool,
}

impl Plan {
    /// `None`: nothing can match.
    pub(super) fn new(select: &Select) -> Option<Self> {
        let mut plan = Self {
            kind: number(select.kind),
            low: String::new(),
            high: None,
            drivers: Vec::new(),
            conditions: Vec::new(),
            decided: select.is_watchable()
                && select.plugin_type.is_none()
                && select.executor.is_none()
                && select.trigger.is_none(),
        };
        if !select.deleting {
            plan.conditions.push(Condition::NotDeleting);
        }
        // From the worst to the best.
        plan.drivers.push(Driver::All);
        plan.booleans(select)?;
        plan.metadata(select);
        plan.named(select)?;
        plan.relatives(select)?;
        plan.ids(select)?;
        Some(plan)
    }

    /// Adds what only rows of a kind can have: other kinds have nothing that matches.
    fn of_deployments(&mut self, select: &Select, condition: Condition) -> Option<()> {
        self.conditions.push(condition);
        (select.kind == Kind::Deployment).then_some(())
    }

    fn booleans(&mut self, select: &Select) -> Option<()> {
        if let Some(prepared) = select.prepared {
            self.of_deployments(select, Condition::Prepared(prepared))?;
        }
        if let Some(approved) = select.approved {
            self.of_deployments(select, Condition::Approved(approved))?;
        }
        match (select.prepared, select.approved) {
            (Some(false), _) => self.drivers.push(Driver::Unprepared),
            (Some(true), Some(false)) => self.drivers.push(Driver::Unapproved),
            _ => {}
        }
        Some(())
    }

    fn metadata(&mut self, select: &Select) {
        let mut exact = Vec::new();
        for (key, pattern) in &select.metadata {
            let key = indexed(key).into_owned();
            if let Some(literal) = pattern.as_literal() {
                let value = indexed(literal).into_owned();
                exact.push(Driver::Exactly(Index::Metadata(key.clone()), value.clone()));
                self.conditions.push(Condition::Has(key, value));
                continue;
            }
            self.decided = false;
            let from = prefix(pattern.literal_prefix()).into_owned();
            let values = Values::Range {
                to: after_prefix(&from),
                from,
                like: Some(like(pattern).0).filter(|like| !like.contains('\0')),
            };
            self.drivers
                .push(Driver::Merged(Index::Metadata(key), values));
        }
        // Those with a long start first: they have fewer values.
        self.drivers.sort_by_key(|driver| match driver {
            Driver::Merged(_, Values::Range { from, .. }) => from.len() + 1,
            _ => 0,
        });
        self.drivers.extend(exact);
    }

    /// Templates and sites by their ids.
    fn named(&mut self, select: &Select) -> Option<()> {
        for (column, index, patterns) in [
            (Column::Template, Index::Template, &select.template_ids),
            (Column::Site, Index::Site, &select.site_ids),
        ] {
            // What starts like no id is the start of none.
            let is_id = |text: &str| match column {
                Column::Site => SiteId::new(text).is_ok(),
                _ => TemplateId::new(text).is_ok(),
            };
            if patterns.is_empty() {
                continue;
            }
            if select.kind != Kind::Deployment
                && (select.kind != Kind::Site || column == Column::Site)
            {
                return None;
            }
            self.matched(column, patterns)?;
            if let Some(literal) = patterns.iter().find_map(Pattern::as_literal) {
                if !is_id(literal) {
                    return None;
                }
                self.drivers
                    .push(Driver::Exactly(index, literal.to_owned()));
                continue;
            }
            let from = longest_prefix(patterns).to_owned();
            if !from.is_empty() && !is_id(&from) {
                return None;
            }
            // What names one value exactly stays better.
            let at = self
                .drivers
                .iter()
                .position(Driver::names_one)
                .unwrap_or(self.drivers.len());
            let values = Values::Range {
                to: after_prefix(&from),
                from,
                like: patterns.first().map(|pattern| like(pattern).0),
            };
            self.drivers.insert(at, Driver::Merged(index, values));
        }
        Some(())
    }

    fn relatives(&mut self, select: &Select) -> Option<()> {
        if let Some(site) = &select.concerning {
            let site = site.as_str().to_owned();
            self.of_deployments(select, Condition::Concerning(site.clone()))?;
            self.drivers.push(Driver::Concerning(site));
        }
        if let Some(parent) = &select.parent {
            let parent = parent.as_str().to_owned();
            self.of_deployments(select, Condition::Parent(parent.clone()))?;
            self.drivers.push(Driver::Parent(parent));
        }
        Some(())
    }

    fn ids(&mut self, select: &Select) -> Option<()> {
        let literal = select.ids.iter().find_map(Pattern::as_literal);
        if select.kind == Kind::Plugin {
            // The patterns are for the name, which is not what their ids start with.
            self.decided &= select.ids.is_empty();
            if let Some(name) = literal {
                let ids = PluginType::ALL
                    .into_iter()
                    .filter_map(|plugin| PluginId::new(plugin, name).ok())
                    .map(|id| id.as_str().to_owned())
                    .collect();
                self.drivers.push(Driver::Ids(ids));
            }
            return Some(());
        }
        self.matched(Column::Id, &select.ids)?;
        if let Some(literal) = literal {
            Key::new(select.kind, literal).ok()?;
            self.drivers.push(Driver::Ids(vec![literal.to_owned()]));
            return Some(());
        }
        let prefix = longest_prefix(&select.ids);
        if !prefix.is_empty() {
            Key::new(select.kind, prefix).ok()?;
            prefix.clone_into(&mut self.low);
            self.high = after_prefix(prefix);
        }
        Some(())
    }

    fn matched(&mut self, column: Column, patterns: &[Pattern]) -> Option<()> {
        for pattern in patterns {
            if let Some(literal) = pattern.as_literal() {
                (!literal.contains('\0')).then_some(())?;
                self.conditions
                    .push(Condition::Is(column, literal.to_owned()));
                continue;
            }
            let (like, exact) = like(pattern);
            // No id has what no text of the database has.
            (!like.contains('\0')).then_some(())?;
            self.decided &= exact;
            self.conditions.push(Condition::Like(column, like));
        }
        Some(())
    }

    /// Goes on after this key. False: nothing comes after it.
    pub(super) fn after(&mut self, after: &Key) -> bool {
        let kind = number(after.kind());
        if kind == self.kind {
            self.after_id(after.id());
        }
        kind <= self.kind
    }

    /// Goes on after this id.
    pub(super) fn after_id(&mut self, id: &str) {
        // No id has a character as low.
        let next = format!("{id}\u{1}");
        if self.low < next {
            self.low = next;
        }
    }

    /// Whether every row that the driver gives is wanted, but for those that are being deleted.
    /// There are few of these, and whoever reads the rows leaves them out: then a page needs no
    /// limit of what is looked at beside that of its rows.
    pub(super) fn is_plain(&self) -> bool {
        let driver = self.driver();
        self.decided
            && !matches!(driver, Driver::Merged(..))
            && self.conditions.iter().all(|condition| match condition {
                Condition::NotDeleting => true,
                Condition::Prepared(false) => *driver == Driver::Unprepared,
                Condition::Parent(id) => *driver == Driver::Parent(id.clone()),
                Condition::Concerning(id) => *driver == Driver::Concerning(id.clone()),
                Condition::Is(Column::Template, id) => {
                    *driver == Driver::Exactly(Index::Template, id.clone())
                }
                Condition::Is(Column::Site, id) => {
                    *driver == Driver::Exactly(Index::Site, id.clone())
                }
                Condition::Has(key, value) => {
                    *driver == Driver::Exactly(Index::Metadata(key.clone()), value.clone())
                }
                Condition::Prepared(true)
                | Condition::Approved(_)
                | Condition::Is(Column::Id, _)
                | Condition::Like(..) => false,
            })
    }

    /// What drives.
    pub(super) fn driver(&self) -> &Driver {
        self.drivers.last().unwrap_or(&Driver::All)
    }

    /// Does without the best driver.
    pub(super) fn give_up_driver(&mut self) {
        self.drivers.pop();
    }
}

/// Of several drivers that name one value exactly, lets that be the best whose next entries reach
/// furthest, or end: it has the fewest where the page begins.
pub(super) async fn choose(
    measures: &Measures,
    connection: &mut PgConnection,
    plan: &mut Plan,
) -> Result<()> {
    let best = plan.drivers.len();
    let first = plan
        .drivers
        .iter()
        .position(Driver::names_one)
        .unwrap_or(best);
    let named = &mut plan.drivers[first..];
    if named.len() < 2 || !named.iter().all(Driver::names_one) {
        return Ok(());
    }
    let (mut columns, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for driver in named.iter() {
        if let Driver::Exactly(index, value) = driver {
            let (column, key) = match index {
                Index::Metadata(key) => (0_i16, key.as_str()),
                Index::Template => (1, ""),
                Index::Site => (2, ""),
            };
            columns.push(column);
            keys.push(key);
            values.push(value.as_str());
        }
    }
    let reaches: Vec<Option<String>> = sqlx::query_scalar(
        "SELECT CASE n.which \
         WHEN 0 THEN (SELECT f.id FROM facet f WHERE f.kind = $1 AND f.key = n.key \
             AND f.value = n.value AND f.id >= $6 ORDER BY f.id OFFSET $2 LIMIT 1) \
         WHEN 1 THEN (SELECT e.id FROM entity e WHERE e.kind = $1 AND e.template = n.value \
             AND e.id >= $6 ORDER BY e.id OFFSET $2 LIMIT 1) \
         ELSE (SELECT e.id FROM entity e WHERE e.site = n.value AND e.id >= $6 \
             ORDER BY e.id OFFSET $2 LIMIT 1) \
         END FROM unnest($3::smallint[], $4::text[], $5::text[]) \
         WITH ORDINALITY n(which, key, value, place) ORDER BY n.place",
    )
    .bind(plan.kind)
    .bind(STRIDE)
    .bind(columns)
    .bind(keys)
    .bind(values)
    .bind(plan.low.as_str())
    .fetch_all(connection)
    .sent(measures, Purpose::ChooseDriver)
    .await?;
    // Of equal ones the last stays the best.
    let fewest = reaches.iter().enumerate().max_by_key(|(_, reach)| {
        let ends = reach.is_none();
        (ends, reach.as_deref())
    });
    if let Some((at, _)) = fewest {
        named[at..].rotate_left(1);
    }
    Ok(())
}
