//! Plans: the index that drives a listing, and the filters for its rows.
//!
//! Every driving index returns its rows in the order of ids. So a page can end anywhere, and the
//! next page continues there. A literal prefix of the ids narrows every driver. The selection
//! determines the driver, statistics do not. Only drivers with one exact value are compared, by
//! [`choose`].
//!
//! [`choose`]: super::choose::choose

use super::text::{after_prefix, like, longest_prefix};
use crate::codes::kind_number;
use crate::facet::{indexed, prefix};
use tko_core::pattern::Pattern;
use tko_core::{Key, Kind, PluginId, PluginType, Select, SiteId, TemplateId};

/// The limit of values whose lists are merged.
pub(super) const MAX_VALUES: i64 = 256;

/// A column that patterns can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternColumn {
    Id,
    Template,
    Site,
}

/// An index by value, with the rows of each value in the order of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueIndex {
    Template,
    Site,
    /// The values of a metadata key, which is in its indexed form.
    Metadata(String),
}

/// The values of an index whose lists are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IndexValues {
    /// Given values.
    Given(Vec<String>),
    /// All values from `from` up to but excluding `to` that match the `LIKE` operand.
    Range {
        from: String,
        to: Option<String>,
        like: Option<String>,
    },
}

/// The source of ids, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IndexDriver {
    /// Given ids.
    Ids(Vec<String>),
    Parent(String),
    Concerning(String),
    /// The list of one value.
    Exactly(ValueIndex, String),
    /// The merged lists of several values.
    Merged(ValueIndex, IndexValues),
    Unprepared,
    /// Prepared and not approved.
    Unapproved,
    /// All rows of the kind.
    All,
}

impl IndexDriver {
    /// Whether it is the list of one value.
    pub(super) fn is_one_value(&self) -> bool {
        matches!(self, Self::Exactly(..))
    }
}

/// A filter that SQL applies to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowFilter {
    NotDeleting,
    Prepared(bool),
    Approved(bool),
    Parent(String),
    Concerning(String),
    Is(PatternColumn, String),
    Like(PatternColumn, String),
    /// A pair of metadata, in indexed form.
    Has(String, String),
}

/// The plan for a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListPlan {
    pub(super) kind: i16,
    /// The lower bound of ids, inclusive.
    pub(super) low: String,
    /// The upper bound of ids, exclusive.
    pub(super) high: Option<String>,
    /// The possible drivers, the best one last.
    pub(super) drivers: Vec<IndexDriver>,
    pub(super) filters: Vec<RowFilter>,
    /// Whether the filters select exactly the selected rows. If not, they select more.
    pub(super) is_exact: bool,
}

impl ListPlan {
    /// Plans a selection. Returns `None` if nothing can match.
    pub(super) fn new(select: &Select) -> Option<Self> {
        let mut plan = Self {
            kind: kind_number(select.kind),
            low: String::new(),
            high: None,
            drivers: Vec::new(),
            filters: Vec::new(),
            is_exact: select.is_watchable()
                && select.plugin_type.is_none()
                && select.executor.is_none()
                && select.trigger.is_none(),
        };
        if !select.deleting {
            plan.filters.push(RowFilter::NotDeleting);
        }
        // In ascending order of preference.
        plan.drivers.push(IndexDriver::All);
        plan.booleans(select)?;
        plan.metadata(select);
        plan.related(select)?;
        plan.relatives(select)?;
        plan.ids(select)?;
        Some(plan)
    }

    /// Adds a filter that only deployments can match. Returns `None` for other kinds.
    fn deployment_filter(&mut self, select: &Select, filter: RowFilter) -> Option<()> {
        self.filters.push(filter);
        (select.kind == Kind::Deployment).then_some(())
    }

    fn booleans(&mut self, select: &Select) -> Option<()> {
        if let Some(prepared) = select.prepared {
            self.deployment_filter(select, RowFilter::Prepared(prepared))?;
        }
        if let Some(approved) = select.approved {
            self.deployment_filter(select, RowFilter::Approved(approved))?;
        }
        match (select.prepared, select.approved) {
            (Some(false), _) => self.drivers.push(IndexDriver::Unprepared),
            (Some(true), Some(false)) => self.drivers.push(IndexDriver::Unapproved),
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
                exact.push(IndexDriver::Exactly(
                    ValueIndex::Metadata(key.clone()),
                    value.clone(),
                ));
                self.filters.push(RowFilter::Has(key, value));
                continue;
            }
            self.is_exact = false;
            let from = prefix(pattern.literal_prefix()).into_owned();
            let values = IndexValues::Range {
                to: after_prefix(&from),
                from,
                like: Some(like(pattern).0).filter(|like| !like.contains('\0')),
            };
            self.drivers
                .push(IndexDriver::Merged(ValueIndex::Metadata(key), values));
        }
        // By length of the prefix: a longer prefix has fewer values.
        self.drivers.sort_by_key(|driver| match driver {
            IndexDriver::Merged(_, IndexValues::Range { from, .. }) => from.len() + 1,
            _ => 0,
        });
        self.drivers.extend(exact);
    }

    /// Adds filters and drivers for the ids of templates and sites.
    fn related(&mut self, select: &Select) -> Option<()> {
        for (column, index, patterns) in [
            (
                PatternColumn::Template,
                ValueIndex::Template,
                &select.template_ids,
            ),
            (PatternColumn::Site, ValueIndex::Site, &select.site_ids),
        ] {
            // A prefix of an id is an id itself.
            let is_id = |text: &str| match column {
                PatternColumn::Site => SiteId::new(text).is_ok(),
                _ => TemplateId::new(text).is_ok(),
            };
            if patterns.is_empty() {
                continue;
            }
            if select.kind != Kind::Deployment
                && (select.kind != Kind::Site || column == PatternColumn::Site)
            {
                return None;
            }
            self.matched(column, patterns)?;
            if let Some(literal) = patterns.iter().find_map(Pattern::as_literal) {
                if !is_id(literal) {
                    return None;
                }
                self.drivers
                    .push(IndexDriver::Exactly(index, literal.to_owned()));
                continue;
            }
            let from = longest_prefix(patterns).to_owned();
            if !from.is_empty() && !is_id(&from) {
                return None;
            }
            // Drivers with one value are still preferred.
            let at = self
                .drivers
                .iter()
                .position(IndexDriver::is_one_value)
                .unwrap_or(self.drivers.len());
            let values = IndexValues::Range {
                to: after_prefix(&from),
                from,
                like: patterns.first().map(|pattern| like(pattern).0),
            };
            self.drivers.insert(at, IndexDriver::Merged(index, values));
        }
        Some(())
    }

    fn relatives(&mut self, select: &Select) -> Option<()> {
        if let Some(site) = &select.concerning {
            let site = site.as_str().to_owned();
            self.deployment_filter(select, RowFilter::Concerning(site.clone()))?;
            self.drivers.push(IndexDriver::Concerning(site));
        }
        if let Some(parent) = &select.parent {
            let parent = parent.as_str().to_owned();
            self.deployment_filter(select, RowFilter::Parent(parent.clone()))?;
            self.drivers.push(IndexDriver::Parent(parent));
        }
        Some(())
    }

    fn ids(&mut self, select: &Select) -> Option<()> {
        let literal = select.ids.iter().find_map(Pattern::as_literal);
        if select.kind == Kind::Plugin {
            // Patterns match the name, but ids start with the type of plugin.
            self.is_exact &= select.ids.is_empty();
            if let Some(name) = literal {
                let ids = PluginType::ALL
                    .into_iter()
                    .filter_map(|plugin| PluginId::new(plugin, name).ok())
                    .map(|id| id.as_str().to_owned())
                    .collect();
                self.drivers.push(IndexDriver::Ids(ids));
            }
            return Some(());
        }
        self.matched(PatternColumn::Id, &select.ids)?;
        if let Some(literal) = literal {
            Key::new(select.kind, literal).ok()?;
            self.drivers
                .push(IndexDriver::Ids(vec![literal.to_owned()]));
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

    fn matched(&mut self, column: PatternColumn, patterns: &[Pattern]) -> Option<()> {
        for pattern in patterns {
            if let Some(literal) = pattern.as_literal() {
                (!literal.contains('\0')).then_some(())?;
                self.filters.push(RowFilter::Is(column, literal.to_owned()));
                continue;
            }
            let (like, exact) = like(pattern);
            // PostgreSQL accepts no NUL in a text, so no stored id has one.
            (!like.contains('\0')).then_some(())?;
            self.is_exact &= exact;
            self.filters.push(RowFilter::Like(column, like));
        }
        Some(())
    }

    /// Continues after this key. Returns false if nothing follows.
    pub(super) fn after(&mut self, after: &Key) -> bool {
        let kind = kind_number(after.kind());
        if kind == self.kind {
            self.after_id(after.id());
        }
        kind <= self.kind
    }

    /// Continues after this id.
    pub(super) fn after_id(&mut self, id: &str) {
        // No id contains a lower character.
        let next = format!("{id}\u{1}");
        if self.low < next {
            self.low = next;
        }
    }

    /// Whether every row of the driver is selected, except rows that are being deleted.
    ///
    /// Those are few, and the reader drops them. So a page needs no limit of visited entries in
    /// addition to its limit of rows.
    pub(super) fn is_plain(&self) -> bool {
        let driver = self.driver();
        self.is_exact
            && !matches!(driver, IndexDriver::Merged(..))
            && self.filters.iter().all(|filter| match filter {
                RowFilter::NotDeleting => true,
                RowFilter::Prepared(false) => *driver == IndexDriver::Unprepared,
                RowFilter::Parent(id) => *driver == IndexDriver::Parent(id.clone()),
                RowFilter::Concerning(id) => *driver == IndexDriver::Concerning(id.clone()),
                RowFilter::Is(PatternColumn::Template, id) => {
                    *driver == IndexDriver::Exactly(ValueIndex::Template, id.clone())
                }
                RowFilter::Is(PatternColumn::Site, id) => {
                    *driver == IndexDriver::Exactly(ValueIndex::Site, id.clone())
                }
                RowFilter::Has(key, value) => {
                    *driver
                        == IndexDriver::Exactly(ValueIndex::Metadata(key.clone()), value.clone())
                }
                RowFilter::Prepared(true)
                | RowFilter::Approved(_)
                | RowFilter::Is(PatternColumn::Id, _)
                | RowFilter::Like(..) => false,
            })
    }

    /// The best driver.
    pub(super) fn driver(&self) -> &IndexDriver {
        self.drivers.last().unwrap_or(&IndexDriver::All)
    }

    /// Removes the best driver.
    pub(super) fn drop_driver(&mut self) {
        self.drivers.pop();
    }
}
