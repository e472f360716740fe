//! [`Scope`]: patterns that restrict a role to some of the entities.

use crate::builder::chainable;
use crate::entity::Entity;
use crate::id::{Kind, SiteId, TemplateId};
use crate::metadata::Metadata;
use crate::pattern::Pattern;
use crate::select::{MetadataPatterns, Select, metadata_match};
use std::fmt;

/// Patterns that restrict a role: it covers the entities that match all of them.
///
/// The patterns mean the same as in a [`Select`]. The template pattern applies to the id of a
/// template, and to the template of a site or deployment. The site pattern applies to the id of a
/// site, and to the site of a deployment. A pattern for something that the entity does not have
/// does not match, so a restricted role never covers plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scope {
    /// The pattern for the template's id.
    pub template: Option<Pattern>,
    /// The pattern for the site's id.
    pub site: Option<Pattern>,
    /// The patterns for metadata values, by key.
    pub metadata: MetadataPatterns,
}

impl Scope {
    /// A scope that covers every template, site and deployment.
    pub fn new() -> Self {
        Self::default()
    }

    chainable! {
        /// Sets the pattern for the template's id.
        template: into Option<Pattern>;
        /// Sets the pattern for the site's id.
        site: into Option<Pattern>;
    }

    /// Sets the pattern for the value of one metadata key.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, pattern: Pattern) -> Self {
        self.metadata.insert(key.into(), pattern);
        self
    }

    /// Whether the scope covers an entity.
    pub fn covers(&self, entity: &Entity) -> bool {
        let mut select = Select::all(entity.key.kind());
        select.deleting = true;
        self.narrow(&select)
            .is_ok_and(|select| select.matches(entity))
    }

    /// Whether the scope covers an entity that is about to be created with this template, site and
    /// metadata.
    pub fn covers_new(
        &self,
        template: Option<&TemplateId>,
        site: Option<&SiteId>,
        metadata: &Metadata,
    ) -> bool {
        self.covers_relations(template, site) && self.covers_metadata(metadata)
    }

    /// Whether the scope covers an entity with this metadata, whatever its template and site.
    pub fn covers_metadata(&self, metadata: &Metadata) -> bool {
        metadata_match(&self.metadata, metadata)
    }

    /// Whether the scope covers a deployment of this template and site, whatever its metadata.
    pub fn covers_relations(&self, template: Option<&TemplateId>, site: Option<&SiteId>) -> bool {
        matches(self.template.as_ref(), template.map(TemplateId::as_str))
            && matches(self.site.as_ref(), site.map(SiteId::as_str))
    }

    /// The selection, narrowed to the entities that the scope covers.
    ///
    /// # Errors
    /// Why this cannot be one selection: the scope covers no entity of that kind, or both have a
    /// pattern for the same metadata key.
    pub fn narrow(&self, select: &Select) -> Result<Select, NarrowError> {
        let mut select = select.clone();
        match (select.kind, &self.template, &self.site) {
            (Kind::Plugin, ..) | (Kind::Template, _, Some(_)) => return Err(NarrowError::Nothing),
            (Kind::Template, template, None) => select.ids.extend(template.clone()),
            (Kind::Site, template, site) => {
                select.ids.extend(site.clone());
                select.template_ids.extend(template.clone());
            }
            (Kind::Deployment, template, site) => {
                select.template_ids.extend(template.clone());
                select.site_ids.extend(site.clone());
            }
        }
        for (key, pattern) in &self.metadata {
            let given = select.metadata.insert(key.clone(), pattern.clone());
            if given.is_some_and(|given| given != *pattern) {
                return Err(NarrowError::Overlap(key.clone()));
            }
        }
        Ok(select)
    }
}

fn matches(pattern: Option<&Pattern>, id: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| id.is_some_and(|id| pattern.matches(id)))
}

/// Why a [`Scope`] and a selection cannot be combined into one selection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NarrowError {
    /// The scope covers no entity of the kind.
    Nothing,
    /// Both have a pattern for this metadata key.
    Overlap(String),
}

/// Lists the patterns.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, pattern) in [("template", &self.template), ("site", &self.site)] {
            if let Some(pattern) = pattern {
                write!(f, "{separator}{name} {pattern}")?;
                separator = ", ";
            }
        }
        for (key, pattern) in &self.metadata {
            write!(f, "{separator}metadata {key}={pattern}")?;
            separator = ", ";
        }
        if separator.is_empty() {
            f.write_str("templates, sites and deployments")?;
        }
        Ok(())
    }
}
