//! [`AttentionIndex`]: the deployments that fail, are being deleted, or are blocked, in the order
//! of their ids. No backend has an index to find them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tko_core::view::DeploymentState;
use tko_core::{Deployment, DeploymentId, Select, SiteId, TemplateId};

/// Maximum number of deployments in the index. If there are more, it has those with the first ids
/// until it is filled again. If so many need attention, examining deployments one by one finds them
/// soon.
const MAX_INDEXED: usize = 100_000;

/// Maximum number of rows that are examined in one call, because other callers wait for the index
/// meanwhile.
const MAX_LOOKED_AT: usize = 5_000;

/// A deployment in the index.
#[derive(Clone, Debug)]
pub(crate) struct AttentionRow {
    state: DeploymentState,
    /// The message of the obstacle; `None` if it is not kept, or there is no obstacle.
    reason: Option<Arc<str>>,
    template: Option<TemplateId>,
    site: Option<SiteId>,
}

/// A filter for lists that the index answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionFilter<'a> {
    pub(crate) state: Option<DeploymentState>,
    /// A part of the reason.
    pub(crate) reason: Option<&'a str>,
    /// Other filters; those that the index cannot decide are ignored.
    pub(crate) select: &'a Select,
}

impl AttentionFilter<'_> {
    /// Whether the index has all deployments that this filter can match.
    pub(crate) fn is_indexed(&self) -> bool {
        let by_state = matches!(
            self.state,
            Some(DeploymentState::Failing | DeploymentState::Deleting)
        );
        (by_state || self.reason.is_some()) && self.select.is_watchable()
    }

    fn matches(&self, id: &str, row: &AttentionRow) -> bool {
        let texts = |patterns: &[tko_core::Pattern], text: Option<&str>| {
            patterns.is_empty()
                || text.is_some_and(|text| patterns.iter().all(|one| one.matches(text)))
        };
        self.state.is_none_or(|state| row.state == state)
            && (row.state != DeploymentState::Deleting || self.state == Some(row.state))
            && self.reason.is_none_or(|part| {
                let reason = row.reason.as_deref();
                reason.is_none_or(|reason| reason.contains(part))
            })
            && texts(&self.select.ids, Some(id))
            && texts(
                &self.select.template_ids,
                row.template.as_ref().map(TemplateId::as_str),
            )
            && texts(&self.select.site_ids, row.site.as_ref().map(SiteId::as_str))
    }
}

/// A part of the content of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttentionIds {
    pub(crate) ids: Vec<DeploymentId>,
    /// The last id that was examined.
    pub(crate) last: Option<DeploymentId>,
    /// How the listing continues.
    pub(crate) end: AttentionEnd,
}

impl AttentionIds {
    /// Nothing is known of deployments after this id.
    pub(crate) fn unknown(after: Option<DeploymentId>) -> Self {
        Self {
            ids: Vec::new(),
            last: after.clone(),
            end: AttentionEnd::Unknown(after),
        }
    }
}

/// The end of a part of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttentionEnd {
    /// Nothing else matches.
    All,
    /// More may follow the last id that was examined.
    More,
    /// The index does not know deployments after this id, or any at all.
    Unknown(Option<DeploymentId>),
}

/// An obstacle of a deployment: its message, if it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Obstacle<'a>(pub(super) Option<&'a Arc<str>>);

/// The index.
#[derive(Debug, Default)]
pub(crate) struct AttentionIndex {
    rows: BTreeMap<DeploymentId, AttentionRow>,
    /// The last id up to which the index has everything; `None` if it has everything.
    until: Option<DeploymentId>,
}

impl AttentionIndex {
    /// Records the current state of a deployment.
    pub(super) fn put(
        &mut self,
        id: &DeploymentId,
        state: DeploymentState,
        obstacle: Option<Obstacle<'_>>,
        deployment: &Deployment,
    ) {
        self.put_within(MAX_INDEXED, id, state, obstacle, deployment);
    }

    fn put_within(
        &mut self,
        most: usize,
        id: &DeploymentId,
        state: DeploymentState,
        obstacle: Option<Obstacle<'_>>,
        deployment: &Deployment,
    ) {
        let is_indexed = obstacle.is_some()
            || matches!(state, DeploymentState::Failing | DeploymentState::Deleting);
        if !is_indexed || self.until.as_ref().is_some_and(|until| id > until) {
            self.rows.remove(id);
            return;
        }
        let row = AttentionRow {
            state,
            reason: obstacle.and_then(|Obstacle(reason)| reason.cloned()),
            template: deployment.template.clone(),
            site: deployment.site.clone(),
        };
        self.rows.insert(id.clone(), row);
        if self.rows.len() > most {
            self.rows.pop_last();
            self.until = self.rows.last_key_value().map(|(id, _)| id.clone());
        }
    }

    /// Removes a deployment that no longer exists.
    pub(super) fn remove(&mut self, id: &DeploymentId) {
        self.rows.remove(id);
    }

    /// At most `most` matching deployments after an id.
    pub(crate) fn after(
        &self,
        after: Option<&DeploymentId>,
        filter: AttentionFilter<'_>,
        most: usize,
    ) -> AttentionIds {
        if let (Some(until), Some(after)) = (&self.until, after)
            && after >= until
        {
            return AttentionIds::unknown(Some(after.clone()));
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.rows.range::<DeploymentId, _>((from, Bound::Unbounded));
        let (mut ids, mut last) = (Vec::new(), after);
        for (looked_at, (id, row)) in rows.enumerate() {
            let is_enough = looked_at == MAX_LOOKED_AT;
            let is_match = !is_enough && filter.matches(id.as_str(), row);
            if is_enough || (is_match && ids.len() == most) {
                return AttentionIds {
                    ids,
                    last: last.cloned(),
                    end: AttentionEnd::More,
                };
            }
            if is_match {
                ids.push(id.clone());
            }
            last = Some(id);
        }
        AttentionIds {
            ids,
            last: last.cloned(),
            end: match &self.until {
                None => AttentionEnd::All,
                until => AttentionEnd::Unknown(until.clone()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AttentionEnd, AttentionFilter, AttentionIndex, Obstacle};
    use std::sync::Arc;
    use tko_core::view::DeploymentState;
    use tko_core::{Deployment, DeploymentId, Kind, Pattern, Select, TemplateId};

    fn id(text: &str) -> DeploymentId {
        DeploymentId::new(text).expect("an id")
    }

    fn ids(found: &[DeploymentId]) -> Vec<&str> {
        found.iter().map(DeploymentId::as_str).collect()
    }

    fn index(most: usize, names: &[&str]) -> AttentionIndex {
        let mut index = AttentionIndex::default();
        let reason: Arc<str> = "no pool left".into();
        for name in names {
            let template = if *name < "c" { "nf/a" } else { "nf/b" };
            let deployment = Deployment::default().template(TemplateId::new(template).ok());
            let state = DeploymentState::Failing;
            let obstacle = Some(Obstacle(Some(&reason)));
            index.put_within(most, &id(name), state, obstacle, &deployment);
        }
        index
    }

    #[test]
    fn matching_ids_come_in_order_and_in_parts() {
        let mut index = index(10, &["d", "a", "c", "b"]);
        index.put_within(
            10,
            &id("e"),
            DeploymentState::Deleting,
            None,
            &Deployment::default(),
        );
        let select = Select::all(Kind::Deployment);
        let failing = AttentionFilter {
            state: Some(DeploymentState::Failing),
            reason: None,
            select: &select,
        };
        assert!(failing.is_indexed());
        let first = index.after(None, failing, 3);
        assert_eq!(
            (ids(&first.ids), first.end),
            (vec!["a", "b", "c"], AttentionEnd::More)
        );
        let next = index.after(Some(&id("c")), failing, 3);
        assert_eq!((ids(&next.ids), next.end), (vec!["d"], AttentionEnd::All));
        let pattern = Pattern::id("nf/b").expect("a pattern");
        let of_template = Select::all(Kind::Deployment).template_id(pattern);
        let of_template = AttentionFilter {
            reason: Some("pool"),
            state: None,
            select: &of_template,
        };
        assert_eq!(ids(&index.after(None, of_template, 9).ids), ["c", "d"]);
        let scheduled = Deployment::default();
        index.put_within(10, &id("c"), DeploymentState::Scheduled, None, &scheduled);
        index.remove(&id("d"));
        assert!(index.after(None, of_template, 9).ids.is_empty());
    }

    #[test]
    fn beyond_its_size_the_index_says_how_far_it_knows() {
        let index = index(2, &["c", "a", "d", "b"]);
        let select = Select::all(Kind::Deployment);
        let filter = AttentionFilter {
            state: Some(DeploymentState::Failing),
            reason: None,
            select: &select,
        };
        let found = index.after(None, filter, 9);
        assert_eq!(ids(&found.ids), ["a", "b"]);
        assert_eq!(found.end, AttentionEnd::Unknown(Some(id("b"))));
        let later = index.after(Some(&id("c")), filter, 9);
        assert_eq!(later.end, AttentionEnd::Unknown(Some(id("c"))));
    }
}
