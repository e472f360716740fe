//! Decodes entities.

use super::{DEPLOYMENT, GIVEN, INHERITED, METADATA, PLUGIN, SITE, unpack_condition};
use crate::proto::v1alpha2 as wire;
use crate::wire::fields::{Field, FieldReader};
use crate::wire::scalar::{generation, required, unpack_gvk, unpack_kind, unpack_timestamp};
use crate::wire::table::Unpacker;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;
use tko_core::deployment_resource::DeploymentResource;
use tko_core::{
    ContentHash, Deployment, Entity, Error, Facts, Generation, Key, Kind, Metadata, Plugin, Result,
    SiteId, TemplateId, Version,
};

/// Decodes an entity from its fields.
pub(super) fn entity(bytes: &[u8], table: &Unpacker) -> Result<Entity> {
    let (mut key, mut created, mut updated, mut facts) = (None, None, None, None);
    let (mut version, mut generation, mut deleting) = (0, 0, false);
    let mut conditions = Vec::new();
    let mut body = None;
    let mut maps = MapRanges::new(bytes);
    let mut fields = FieldReader(bytes);
    loop {
        let start = fields.0.len();
        let Some(field) = fields.next() else {
            break;
        };
        let field = field?;
        match field.tag {
            1 => key = Some(entity_key(field.fields()?)?),
            2 => version = field.number()?,
            3 => generation = field.number()?,
            4 => created = Some(field.whole()?),
            5 => updated = Some(field.whole()?),
            6 => deleting = field.number()? != 0,
            INHERITED..=METADATA => maps.found(field.tag, start, fields.0.len()),
            10 => conditions.push(unpack_condition(field.whole()?)?),
            11 => body = Some(field.bytes()?),
            SITE..=PLUGIN => facts = Some(field),
            _ => {}
        }
    }
    let key = required("key", key)?;
    let body = body.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let given = maps.read(GIVEN)?;
    let facts = facts_of(&key, facts, table)?;
    Ok(Entity::new(key, facts)
        .version(Version(version))
        .generation(Generation(generation))
        .created(unpack_timestamp(created.as_ref())?)
        .updated(unpack_timestamp(updated.as_ref())?)
        .deleting(deleting)
        .inherited(maps.read(INHERITED)?)
        // Equal maps share memory.
        .metadata(if maps.are_same(METADATA, GIVEN) {
            given.clone()
        } else {
            maps.read(METADATA)?
        })
        .given(given)
        .conditions(conditions)
        .body(ContentHash(body.ok_or_else(|| {
            Error::bad("body", "the content hash does not have 32 bytes")
        })?)))
}

fn entity_key(fields: FieldReader<'_>) -> Result<Key> {
    let (mut number, mut id) = (0, "");
    for field in fields {
        let field = field?;
        match field.tag {
            1 => number = field.number()?,
            2 => id = field.text()?,
            _ => {}
        }
    }
    Key::new(unpack_kind(i32::try_from(number).unwrap_or(i32::MAX))?, id)
}

/// The positions of the metadata maps in an entity.
///
/// The pairs of one map usually follow one another; fields between them are skipped.
struct MapRanges<'a> {
    bytes: &'a [u8],
    places: [Range<usize>; 3],
}

impl<'a> MapRanges<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            places: [0..0, 0..0, 0..0],
        }
    }

    fn place(map: u32) -> usize {
        (map - INHERITED) as usize
    }

    /// Records a pair by the bytes that remained before and after it.
    fn found(&mut self, map: u32, before: usize, after: usize) {
        let place = &mut self.places[Self::place(map)];
        if place.end == 0 {
            place.start = self.bytes.len() - before;
        }
        place.end = self.bytes.len() - after;
    }

    /// The pairs of a map, in the order of the message.
    fn pairs(&self, map: u32) -> impl Iterator<Item = Field<'a>> {
        let place = self.places[Self::place(map)].clone();
        FieldReader(&self.bytes[place])
            .filter_map(Result::ok)
            .filter(move |field| field.tag == map)
    }

    /// Whether two maps have equal pairs.
    fn are_same(&self, one: u32, other: u32) -> bool {
        let bytes = |map| self.pairs(map).map(|pair| pair.bytes().ok());
        bytes(one).eq(bytes(other))
    }

    fn read(&self, map: u32) -> Result<Metadata> {
        self.pairs(map)
            .map(|pair| {
                let (mut key, mut value) = ("", "");
                for part in pair.fields()? {
                    let part = part?;
                    match part.tag {
                        1 => key = part.text()?,
                        2 => value = part.text()?,
                        _ => {}
                    }
                }
                Ok((key, value))
            })
            .collect()
    }
}

fn facts_of(key: &Key, facts: Option<Field<'_>>, table: &Unpacker) -> Result<Facts> {
    match (key.kind(), facts.map(|field| (field.tag, field))) {
        (Kind::Template, None) => Ok(Facts::Template),
        (Kind::Site, Some((SITE, facts))) => {
            let site: wire::SiteFacts = facts.whole()?;
            Ok(Facts::Site {
                template: site.template.as_deref().map(str::parse).transpose()?,
                origin: site.origin.map(Version),
            })
        }
        (Kind::Deployment, Some((DEPLOYMENT, facts))) => {
            let deployment = deployment_of(facts.fields()?, table)?;
            Ok(Facts::Deployment(Box::new(deployment)))
        }
        (Kind::Plugin, Some((PLUGIN, facts))) => {
            let plugin: wire::PluginFacts = facts.whole()?;
            Ok(Facts::Plugin(Arc::new(
                Plugin::new(plugin.executor)
                    .arguments(plugin.arguments)
                    .properties(plugin.properties)
                    .triggers(plugin.triggers.iter().map(unpack_gvk).collect()),
            )))
        }
        _ => Err(Error::bad(
            "facts",
            format!("the facts do not belong to {key}"),
        )),
    }
}

fn deployment_of(fields: FieldReader<'_>, table: &Unpacker) -> Result<Deployment> {
    let (mut parent, mut template, mut site, mut once) = (None, None, None, None);
    let (mut prepared, mut approved) = (false, false);
    let (mut origin, mut placed, mut head) = (None, None, None);
    for field in fields {
        let field = field?;
        match field.tag {
            1 => parent = Some(field.text()?.parse()?),
            2 => template = Some(field.text()?.parse()?),
            3 => origin = Some(Version(field.number()?)),
            4 => site = Some(field.text()?.parse()?),
            5 => prepared = field.number()? != 0,
            6 => approved = field.number()? != 0,
            7 => {
                let placement: wire::Placement = field.whole()?;
                placed = Some((placement.site.parse()?, generation(placement.generation)));
            }
            8 => once = Some(field.text()?.into()),
            9 => head = Some(field.fields()?),
            _ => {}
        }
    }
    Ok(Deployment::new(resource_of(
        required("head", head)?,
        template.as_ref(),
        site.as_ref(),
        table,
    )?)
    .parent(parent)
    .template(template)
    .origin(origin)
    .site(site)
    .prepared(prepared)
    .approved(approved)
    .placed(placed)
    .idempotency_key(once))
}

/// Decodes the Deployment resource. It usually names the deployment's own template and site.
fn resource_of(
    fields: FieldReader<'_>,
    template: Option<&TemplateId>,
    site: Option<&SiteId>,
    table: &Unpacker,
) -> Result<DeploymentResource> {
    let (mut skeleton, mut at) = (0, 0);
    let (mut named_template, mut named_site) = (None, None);
    for field in fields {
        let field = field?;
        match field.tag {
            1 => skeleton = field.number()?,
            2 => at = field.number()?,
            3 => named_template = Some(named(field.text()?, template, TemplateId::as_str)?),
            4 => named_site = Some(named(field.text()?, site, SiteId::as_str)?),
            _ => {}
        }
    }
    Ok(DeploymentResource::new(
        table.resource(u32::try_from(skeleton).unwrap_or(u32::MAX))?,
        usize::try_from(at).unwrap_or(usize::MAX),
    )
    .template(named_template)
    .site(named_site))
}

/// Parses an id; shares the known one if they are equal, which is usual.
fn named<T: Clone + FromStr<Err = Error>>(
    text: &str,
    known: Option<&T>,
    as_str: fn(&T) -> &str,
) -> Result<T> {
    match known {
        Some(known) if as_str(known) == text => Ok(known.clone()),
        _ => text.parse(),
    }
}
