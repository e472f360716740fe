//! Rows of the table `entity`, and their conversion to and from entities.
//!
//! Values that statements filter by have columns, and so do values that nearly every row has. The
//! other values are JSON in the column `rest`: it grows without a migration, and `psql` shows it.
//! An [`EntityRow`] is read from columns, or from the JSON that the feed keeps of an earlier state.

mod rest;

use crate::codes::{broken, key_of, kind_number, signed};
use crate::columns::RowColumns;
use crate::skeletons::Skeletons;
use rest::{PluginJson, RestJson, hash, lines};
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use tko_core::deployment_resource::DeploymentResource;
use tko_core::{
    ContentHash, Deployment, DeploymentId, Entity, Facts, Generation, Kind, Metadata, Resource,
    Result, SiteId, TemplateId, Timestamp, Version,
};

/// Columns of a listed row, of the alias `e`. A macro, so that [`COLUMNS`] can contain it.
macro_rules! listed {
    () => {
        "e.id, e.version, e.generation, e.created, e.updated, e.skeleton, e.deleting, \
         e.prepared, e.approved, e.template, e.site, e.parent, e.place, e.body, e.metadata, e.rest"
    };
}

/// The columns that [`EntityRow::read`] reads, in order, of the table or alias `e`.
pub(crate) const COLUMNS: &str = concat!("e.kind, e.body_at, ", listed!());

/// The columns that [`EntityRow::listed`] reads, in order, if the kind is known and the key of the
/// body is not needed. Every column costs time, most of all in the server.
pub(crate) const LISTED: &str = listed!();

/// A row of the table `entity`. Its texts are borrowed where possible.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EntityRow<'a> {
    pub(crate) kind: i16,
    pub(crate) id: Cow<'a, str>,
    pub(crate) version: i64,
    pub(crate) generation: i64,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    /// The key of the body: the version that wrote it. 0 in a listed row, and for an empty package.
    pub(crate) body_at: i64,
    pub(crate) skeleton: Option<i32>,
    pub(crate) deleting: bool,
    pub(crate) prepared: bool,
    pub(crate) approved: bool,
    pub(crate) template: Option<Cow<'a, str>>,
    pub(crate) site: Option<Cow<'a, str>>,
    pub(crate) parent: Option<Cow<'a, str>>,
    pub(crate) place: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "hash")]
    pub(crate) body: ContentHash,
    #[serde(with = "lines")]
    pub(crate) metadata: Metadata,
    pub(crate) rest: RestJson,
}

/// A placeholder for a skeleton that is still to be read. No selection looks at it.
static BLANK: LazyLock<Arc<Resource>> = LazyLock::new(|| {
    let blank = json!({"apiVersion": "v1", "kind": "Blank", "metadata": {"name": "blank"}});
    Arc::new(Resource::new(blank).expect("it has kind and name"))
});

/// The hash by which an idempotency key is indexed.
pub(crate) fn idempotency_hash(key: &str) -> Vec<u8> {
    blake3::hash(key.as_bytes()).as_bytes()[..16].to_vec()
}

/// Decodes rows to entities. Consecutive rows share equal template ids and skeletons.
#[derive(Default)]
pub(crate) struct RowDecoder<'a> {
    skeletons: Option<&'a Skeletons>,
    templates: HashSet<TemplateId>,
    /// The last skeleton, with its number.
    last: Option<(i32, Arc<Resource>)>,
}

impl<'a> RowDecoder<'a> {
    /// The limit of shared template ids.
    const TEMPLATES: usize = 1_024;

    /// A decoder that puts cached skeletons into deployments.
    pub(crate) fn with_skeletons(skeletons: &'a Skeletons) -> Self {
        Self {
            skeletons: Some(skeletons),
            ..Self::default()
        }
    }

    fn template(&mut self, id: &str) -> Result<TemplateId> {
        if let Some(template) = self.templates.get(id) {
            return Ok(template.clone());
        }
        let template = TemplateId::new(id)?;
        if self.templates.len() == Self::TEMPLATES {
            self.templates.clear();
        }
        self.templates.insert(template.clone());
        Ok(template)
    }

    /// The skeleton with this number, if it is cached.
    fn resource(&mut self, number: Option<i32>) -> Option<Arc<Resource>> {
        let number = number?;
        match &self.last {
            Some((last, resource)) if *last == number => Some(resource.clone()),
            _ => {
                let resource = self.skeletons?.cached(number)?;
                Some(self.last.insert((number, resource)).1.clone())
            }
        }
    }
}

impl<'a> EntityRow<'a> {
    /// Reads a row from its [`COLUMNS`].
    pub(crate) fn read(columns: &mut RowColumns<'a>) -> Result<Self, sqlx::Error> {
        let (kind, body_at) = (columns.next()?, columns.next()?);
        let listed = Self::listed(kind, columns)?;
        Ok(Self { body_at, ..listed })
    }

    /// Reads a row of this kind from its [`LISTED`] columns.
    pub(crate) fn listed(kind: i16, columns: &mut RowColumns<'a>) -> Result<Self, sqlx::Error> {
        Ok(Self {
            kind,
            body_at: 0,
            id: Cow::Borrowed(columns.next()?),
            version: columns.next()?,
            generation: columns.next()?,
            created: columns.next()?,
            updated: columns.next()?,
            skeleton: columns.optional()?,
            deleting: columns.next()?,
            prepared: columns.next()?,
            approved: columns.next()?,
            template: columns.optional()?.map(Cow::Borrowed),
            site: columns.optional()?.map(Cow::Borrowed),
            parent: columns.optional()?.map(Cow::Borrowed),
            place: columns.optional()?.map(Cow::Borrowed),
            body: ContentHash(columns.next()?),
            metadata: columns.next()?,
            rest: columns.json()?.unwrap_or_default(),
        })
    }

    /// Returns the row of an entity. `skeleton` is the number of its skeleton, if it has one.
    pub(crate) fn of(entity: &'a Entity, body_at: i64, skeleton: Option<i32>) -> Self {
        let mut row = Self {
            kind: kind_number(entity.key.kind()),
            id: Cow::Borrowed(entity.key.id()),
            version: signed(entity.version.0),
            generation: signed(entity.generation.0),
            created: entity.created.0,
            updated: entity.updated.0,
            body_at,
            skeleton,
            deleting: entity.deleting,
            prepared: false,
            approved: false,
            template: None,
            site: None,
            parent: None,
            place: None,
            body: entity.body,
            metadata: entity.metadata.clone(),
            rest: RestJson {
                inherited: entity.inherited.clone(),
                given: entity.given.clone(),
                conditions: entity.conditions.clone(),
                ..RestJson::default()
            },
        };
        row.facts(&entity.facts);
        row
    }

    fn facts(&mut self, facts: &'a Facts) {
        let text = |id: &str| id.to_owned();
        match facts {
            Facts::Template => {}
            Facts::Site { template, origin } => {
                self.template = template.as_ref().map(|id| Cow::Borrowed(id.as_str()));
                self.rest.origin = origin.map(|version| version.0);
            }
            Facts::Deployment(d) => {
                let head = &d.resource;
                self.template = d.template.as_ref().map(|id| Cow::Borrowed(id.as_str()));
                self.site = d.site.as_ref().map(|id| Cow::Borrowed(id.as_str()));
                self.parent = d.parent.as_ref().map(|id| Cow::Borrowed(id.as_str()));
                self.prepared = d.prepared;
                self.approved = d.approved;
                self.place = d
                    .placed
                    .as_ref()
                    .map(|(site, _)| Cow::Borrowed(site.as_str()));
                self.rest.placed = d.placed.as_ref().map(|(_, generation)| generation.0);
                self.rest.origin = d.origin.map(|version| version.0);
                self.rest.once = d.idempotency_key.as_deref().map(str::to_owned);
                self.rest.head = Some(head.at);
                if head.template != d.template || head.site != d.site {
                    self.rest.named = Some((
                        head.template.as_ref().map(|id| text(id.as_str())),
                        head.site.as_ref().map(|id| text(id.as_str())),
                    ));
                }
            }
            Facts::Plugin(plugin) => {
                self.rest.plugin = Some(Box::new(PluginJson::of(plugin)));
            }
        }
    }

    /// The idempotency key.
    pub(crate) fn idempotency_key(&self) -> Option<&str> {
        self.rest.once.as_deref()
    }

    /// Returns the entity, and whether its skeleton is missing.
    ///
    /// The caller reads missing skeletons later ([`SkeletonMap`](crate::entity::SkeletonMap)),
    /// when it holds no connection.
    pub(crate) fn entity(self, decoder: &mut RowDecoder<'_>) -> Result<(Arc<Entity>, bool)> {
        let key = key_of(self.kind, &self.id)?;
        let rest = self.rest;
        let template = self.template.as_deref().map(|id| decoder.template(id));
        let template = template.transpose()?;
        let origin = rest.origin.map(Version);
        let mut is_missing = false;
        let facts = match key.kind() {
            Kind::Template => Facts::Template,
            Kind::Site => Facts::Site { template, origin },
            Kind::Plugin => Facts::Plugin(Arc::new(
                rest.plugin
                    .ok_or_else(|| broken(format!("{key} has no plugin")))?
                    .plugin(),
            )),
            Kind::Deployment => {
                let site = self.site.as_deref().map(SiteId::new).transpose()?;
                let place = match (self.place.as_deref(), &site) {
                    // The usual case: share the text.
                    (Some(place), Some(site)) if site.as_str() == place => Some(site.clone()),
                    (place, _) => place.map(SiteId::new).transpose()?,
                };
                let (named_template, named_site) = match rest.named {
                    None => (template.clone(), site.clone()),
                    Some((template, site)) => (
                        template.as_deref().map(TemplateId::new).transpose()?,
                        site.as_deref().map(SiteId::new).transpose()?,
                    ),
                };
                Facts::Deployment(Box::new(
                    Deployment::new(
                        DeploymentResource::new(
                            decoder.resource(self.skeleton).unwrap_or_else(|| {
                                is_missing = true;
                                BLANK.clone()
                            }),
                            rest.head.unwrap_or_default(),
                        )
                        .template(named_template)
                        .site(named_site),
                    )
                    .parent(self.parent.as_deref().map(DeploymentId::new).transpose()?)
                    .template(template)
                    .origin(origin)
                    .site(site)
                    .prepared(self.prepared)
                    .approved(self.approved)
                    .placed(place.zip(rest.placed.map(Generation)))
                    .idempotency_key(rest.once.map(Into::into)),
                ))
            }
        };
        let entity = Arc::new(
            Entity::new(key, facts)
                .version(Version(self.version.unsigned_abs()))
                .generation(Generation(self.generation.unsigned_abs()))
                .created(Timestamp(self.created))
                .updated(Timestamp(self.updated))
                .deleting(self.deleting)
                .inherited(rest.inherited)
                .given(rest.given)
                .metadata(self.metadata)
                .conditions(rest.conditions)
                .body(self.body),
        );
        Ok((entity, is_missing))
    }
}
