//! Facets, and terms: the values by which rows are found.

use std::borrow::Cow;
use tko_core::{DeploymentId, Entity, Facts, Key, Kind, SiteId};

/// A property by which rows are found. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowFacet {
    /// The value of a metadata key.
    Metadata = 0,
    /// The template's id, of sites and deployments.
    Template = 1,
    /// The site that a deployment is assigned to.
    Site = 2,
    /// The site that a deployment is placed on, if it is not the one that it is assigned to.
    Elsewhere = 3,
    /// The parent of a deployment.
    Parent = 4,
    /// The preparation and approval of a deployment, unless both are complete; see [`unfinished`].
    Unfinished = 5,
    /// The type of a plugin.
    PluginType = 6,
    /// The executor of a plugin.
    Executor = 7,
    /// Each trigger of a plugin, as text.
    Trigger = 8,
    /// Rows that are being deleted; the value is empty.
    Deleting = 9,
}

/// One value of one facet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Term<'a> {
    pub(crate) facet: RowFacet,
    /// The metadata key; empty for other facets.
    pub(crate) name: Cow<'a, str>,
    pub(crate) value: Cow<'a, str>,
}

impl<'a> Term<'a> {
    /// A value of a facet other than metadata.
    pub(crate) fn of(facet: RowFacet, value: impl Into<Cow<'a, str>>) -> Self {
        Self {
            facet,
            name: Cow::Borrowed(""),
            value: value.into(),
        }
    }
}

/// The value of [`RowFacet::Unfinished`]; `None` if a deployment is prepared and approved.
pub(crate) fn unfinished(prepared: bool, approved: bool) -> Option<&'static str> {
    match (prepared, approved) {
        (false, false) => Some("new"),
        (true, false) => Some("prepared"),
        (false, true) => Some("approved"),
        (true, true) => None,
    }
}

/// All terms of a row, without duplicates.
pub(crate) fn terms(entity: &Entity) -> Vec<Term<'_>> {
    let mut terms: Vec<Term<'_>> = entity
        .metadata
        .iter()
        .map(|(name, value)| Term {
            facet: RowFacet::Metadata,
            name: Cow::Borrowed(name),
            value: Cow::Borrowed(value),
        })
        .collect();
    if let Some(template) = entity.template() {
        terms.push(Term::of(RowFacet::Template, template.as_str()));
    }
    match (&entity.facts, &entity.key) {
        (Facts::Deployment(d), _) => {
            let elsewhere = d.placed.as_ref().map(|(site, _)| site);
            let elsewhere = elsewhere.filter(|place| d.site.as_ref() != Some(place));
            let named = [
                (RowFacet::Site, d.site.as_ref().map(SiteId::as_str)),
                (RowFacet::Elsewhere, elsewhere.map(SiteId::as_str)),
                (
                    RowFacet::Parent,
                    d.parent.as_ref().map(DeploymentId::as_str),
                ),
                (RowFacet::Unfinished, unfinished(d.prepared, d.approved)),
            ];
            let named = named.into_iter();
            terms.extend(named.filter_map(|(facet, value)| Some(Term::of(facet, value?))));
        }
        (Facts::Plugin(plugin), Key::Plugin(id)) => {
            terms.push(Term::of(RowFacet::PluginType, id.plugin_type().as_str()));
            terms.push(Term::of(RowFacet::Executor, plugin.executor.as_str()));
            for trigger in &plugin.triggers {
                let term = Term::of(RowFacet::Trigger, trigger.to_string());
                if !terms.contains(&term) {
                    terms.push(term);
                }
            }
        }
        _ => {}
    }
    if entity.deleting {
        terms.push(Term::of(RowFacet::Deleting, ""));
    }
    terms
}

/// The kinds and facets of rows that may refer to a key.
pub(crate) fn referrers(key: &Key) -> &'static [(Kind, RowFacet)] {
    match key {
        Key::Template(_) => &[
            (Kind::Site, RowFacet::Template),
            (Kind::Deployment, RowFacet::Template),
        ],
        Key::Site(_) => &[
            (Kind::Deployment, RowFacet::Site),
            (Kind::Deployment, RowFacet::Elsewhere),
        ],
        Key::Deployment(_) => &[(Kind::Deployment, RowFacet::Parent)],
        Key::Plugin(_) => &[],
    }
}
