//! Rows of the table `entity`, and what they stand for.
//!
//! What is selected by is a column, and so is what nearly every row has; what is only read with the
//! row is JSON in `rest`, so that it can grow without a migration and be looked at with `psql`. The
//! same [`Row`] is read from columns, and from the JSON that the feed keeps of a row as it was.

use crate::columns::Columns;
use crate::skeleton::Skeletons;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};
use tko_core::deployment_resource::DeploymentResource;
use tko_core::{
    Condition, ContentHash, Deployment, DeploymentId, Entity, Error, Facts, Generation, Gvk, Key,
    Kind, Metadata, Plugin, Resource, Result, SiteId, TemplateId, Timestamp, Version,
};

/// The columns of a [`Row`], of the table named or aliased `e`, in the order of [`Row::read`].
pub(crate) const COLUMNS: &str = "e.kind, e.body_at, e.id, e.version, e.generation, e.created, \
     e.updated, e.skeleton, e.deleting, e.prepared, e.approved, e.template, e.site, e.parent, \
     e.place, e.body, e.metadata, e.rest";

/// Those of a row whose kind is known and whose body is not looked for, in the order of
/// [`Row::listed`]: each column takes time, of the server most of all.
pub(crate) const LISTED: &str = "e.id, e.version, e.generation, e.created, e.updated, e.skeleton, \
     e.deleting, e.prepared, e.approved, e.template, e.site, e.parent, e.place, e.body, \
     e.metadata, e.rest";

/// One row; of texts that lie elsewhere, or its own.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Row<'a> {
    pub(crate) kind: i16,
    pub(crate) id: Cow<'a, str>,
    pub(crate) version: i64,
    pub(crate) generation: i64,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    /// Not known of a listed row: 0.
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
    pub(crate) rest: Rest,
}

/// `bytea` as PostgreSQL writes it in JSON: `\x` and hexadecimal digits.
fn hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContentHash, D::Error> {
    let text = <Cow<'de, str>>::deserialize(deserializer)?;
    let digits = text.strip_prefix("\\x").unwrap_or_default().as_bytes();
    let digit = |at: usize| {
        let digit = char::from(*digits.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        let (high, low) = (digit(2 * at), digit(2 * at + 1));
        let Some((high, low)) = high.zip(low) else {
            return Err(serde::de::Error::custom("no hash in hexadecimal digits"));
        };
        *byte = high << 4 | low;
    }
    Ok(ContentHash(hash))
}

/// What is only read with the row. Fields are left out where they say nothing; fields that a newer
/// version adds are ignored by an older one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Rest {
    #[serde(with = "lines", skip_serializing_if = "is_empty")]
    inherited: Metadata,
    #[serde(with = "lines", skip_serializing_if = "is_empty")]
    given: Metadata,
    #[serde(with = "said", skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<u64>,
    /// Of the placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    placed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    once: Option<String>,
    /// Where the Deployment resource is in the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<usize>,
    /// What the Deployment resource names as template and site, if not what the row does.
    #[serde(skip_serializing_if = "Option::is_none")]
    named: Option<(Option<String>, Option<String>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<Box<Described>>,
}

fn is_empty(metadata: &Metadata) -> bool {
    metadata.is_empty()
}

/// Metadata as a text in JSON.
mod lines {
    use super::{Deserialize, Deserializer, Metadata, Serializer};
    use serde::de::Error;

    pub(super) fn serialize<S: Serializer>(
        metadata: &Metadata,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&metadata.to_lines())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Metadata, D::Error> {
        let lines = String::deserialize(deserializer)?;
        Metadata::from_lines(&lines).map_err(D::Error::custom)
    }
}

/// Conditions as JSON.
mod said {
    use super::{Condition, Deserialize, Deserializer, Said, Serializer};

    pub(super) fn serialize<S: Serializer>(
        conditions: &[Condition],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(conditions.iter().map(Said::of))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Condition>, D::Error> {
        let said = <Vec<Said>>::deserialize(deserializer)?;
        Ok(said.into_iter().map(Said::condition).collect())
    }
}

/// In the place of a Deployment resource that is yet to be read, which no selection looks at.
static BLANK: LazyLock<Arc<Resource>> = LazyLock::new(|| {
    let blank = json!({"apiVersion": "v1", "kind": "Blank", "metadata": {"name": "blank"}});
    Arc::new(Resource::new(blank).expect("it has kind and name"))
});

/// A condition.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Said {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<bool>,
    reason: String,
    message: String,
    observed: u64,
    since: i64,
}

/// A plugin.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Described {
    executor: String,
    arguments: Vec<String>,
    properties: BTreeMap<String, String>,
    /// Group, version, kind.
    triggers: Vec<(String, String, String)>,
}

/// The number of a kind.
pub(crate) fn number(kind: Kind) -> i16 {
    match kind {
        Kind::Template => 0,
        Kind::Site => 1,
        Kind::Deployment => 2,
        Kind::Plugin => 3,
    }
}

/// The key of a kind's number and an id, as they were stored.
pub(crate) fn key(kind: i16, id: &str) -> Result<Key> {
    let kind = Kind::ALL
        .into_iter()
        .find(|known| number(*known) == kind)
        .ok_or_else(|| broken(format!("{id} has the unknown kind {kind}")))?;
    Key::new(kind, id).map_err(|error| Error::internal("read what is stored", error))
}

/// What is stored is not what was written.
pub(crate) fn broken(what: String) -> Error {
    Error::internal("read what is stored", what)
}

/// As PostgreSQL has it: numbers without a sign do not exist there.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The hash under which a `once` key is found.
pub(crate) fn once_hash(once: &str) -> Vec<u8> {
    blake3::hash(once.as_bytes()).as_bytes()[..16].to_vec()
}

/// What rows before had: those that follow have mostly the same, and share it.
#[derive(Default)]
pub(crate) struct Before<'a> {
    known: Option<&'a Skeletons>,
    templates: HashSet<TemplateId>,
    resource: Option<(i32, Arc<Resource>)>,
}

impl<'a> Before<'a> {
    /// Most templates that are remembered: those of many rows, of few bytes.
    const TEMPLATES: usize = 1_024;

    /// Before all rows, with Deployment resources that are known.
    pub(crate) fn knowing(known: &'a Skeletons) -> Self {
        Self {
            known: Some(known),
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

    /// The Deployment resource with a number, if it is known.
    fn resource(&mut self, number: Option<i32>) -> Option<Arc<Resource>> {
        let number = number?;
        match &self.resource {
            Some((last, resource)) if *last == number => Some(resource.clone()),
            _ => {
                let resource = self.known?.remembered(number)?;
                Some(self.resource.insert((number, resource)).1.clone())
            }
        }
    }
}

impl<'a> Row<'a> {
    /// Of its [`COLUMNS`].
    pub(crate) fn read(columns: &mut Columns<'a>) -> Result<Self, sqlx::Error> {
        let (kind, body_at) = (columns.next()?, columns.next()?);
        let listed = Self::listed(kind, columns)?;
        Ok(Self { body_at, ..listed })
    }

    /// Of this kind's number and what is [`LISTED`].
    pub(crate) fn listed(kind: i16, columns: &mut Columns<'a>) -> Result<Self, sqlx::Error> {
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

    /// The row of an entity.
    pub(crate) fn of(entity: &'a Entity, body_at: i64, skeleton: Option<i32>) -> Self {
        let mut row = Self {
            kind: number(entity.key.kind()),
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
            rest: Rest {
                inherited: entity.inherited.clone(),
                given: entity.given.clone(),
                conditions: entity.conditions.clone(),
                ..Rest::default()
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
                self.rest.plugin = Some(Box::new(Described {
                    executor: plugin.executor.clone(),
                    arguments: plugin.arguments.clone(),
                    properties: plugin.properties.clone(),
                    triggers: plugin
                        .triggers
                        .iter()
                        .map(|t| (text(&t.group), text(&t.version), text(&t.kind)))
                        .collect(),
                }));
            }
        }
    }

    /// Its `once` key.
    pub(crate) fn once(&self) -> Option<&str> {
        self.rest.once.as_deref()
    }

    /// What it stands for, after others; and whether its Deployment resource is not known: then
    /// [`Resources`](crate::record::Resources) put that in, once no connection is held.
    pub(crate) fn entity(self, before: &mut Before<'_>) -> Result<(Arc<Entity>, bool)> {
        let key = key(self.kind, &self.id)?;
        let rest = self.rest;
        let template = self.template.as_deref().map(|id| before.template(id));
        let template = template.transpose()?;
        let origin = rest.origin.map(Version);
        let mut is_lacking = false;
        let facts = match key.kind() {
            Kind::Template => Facts::Template,
            Kind::Site => Facts::Site { template, origin },
            Kind::Plugin => Facts::Plugin(Arc::new(
                rest.plugin
                    .ok_or_else(|| broken(format!("{key} is not described")))?
                    .plugin(),
            )),
            Kind::Deployment => {
                let site = self.site.as_deref().map(SiteId::new).transpose()?;
                let place = match (self.place.as_deref(), &site) {
                    // Mostly it is where it belongs.
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
                Facts::Deployment(Box::new(Deployment {
                    parent: self.parent.as_deref().map(DeploymentId::new).transpose()?,
                    template,
                    origin,
                    site,
                    prepared: self.prepared,
                    approved: self.approved,
                    placed: place.zip(rest.placed.map(Generation)),
                    idempotency_key: rest.once.map(Into::into),
                    resource: DeploymentResource {
                        skeleton: before.resource(self.skeleton).unwrap_or_else(|| {
                            is_lacking = true;
                            BLANK.clone()
                        }),
                        at: rest.head.unwrap_or_default(),
                        template: named_template,
                        site: named_site,
                    },
                }))
            }
        };
        let entity = Arc::new(Entity {
            key,
            version: Version(self.version.unsigned_abs()),
            generation: Generation(self.generation.unsigned_abs()),
            created: Timestamp(self.created),
            updated: Timestamp(self.updated),
            deleting: self.deleting,
            inherited: rest.inherited,
            given: rest.given,
            metadata: self.metadata,
            conditions: rest.conditions,
            facts,
            body: self.body,
        });
        Ok((entity, is_lacking))
    }
}

impl Said {
    fn of(condition: &Condition) -> Self {
        Self {
            kind: condition.kind.clone(),
            status: condition.status,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            observed: condition.observed.0,
            since: condition.since.0,
        }
    }

    fn condition(self) -> Condition {
        Condition {
            kind: self.kind,
            status: self.status,
            reason: self.reason,
            message: self.message,
            observed: Generation(self.observed),
            since: Timestamp(self.since),
        }
    }
}

impl Described {
    fn plugin(self) -> Plugin {
        Plugin {
            executor: self.executor,
            arguments: self.arguments,
            properties: self.properties,
            triggers: self
                .triggers
                .iter()
                .map(|(group, version, kind)| Gvk::new(group, version, kind))
                .collect(),
        }
    }
}
