//! Packages in messages: a table, so that what several parts share is sent, and decoded, once.

use super::fields::Writer;
use super::scalar::required;
use crate::proto::v1alpha2 as wire;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::{ContentHash, Dialect, Error, Format, Limits, Package, Resource, Result};

/// The table of a message that is being written, always CBOR; and where its entities are written.
#[derive(Default)]
pub(crate) struct Packer {
    packages: Vec<wire::Package>,
    places: HashMap<ContentHash, u32>,
    /// Of packages of one resource, by that: very many deployments have the same.
    alone: HashMap<ContentHash, u32>,
    /// Where the next entity is written.
    buffer: BytesMut,
    bytes: usize,
}

/// Room for an entity and a little more, and for many.
const ROOM: std::ops::RangeInclusive<usize> = 1_024..=65_536;

impl Packer {
    /// The place of this package.
    pub(crate) fn add(&mut self, package: &Package) -> u32 {
        *self.places.entry(package.hash()).or_insert_with(|| {
            let place = u32::try_from(self.packages.len()).expect("memory ends before this");
            let packed = pack(package);
            self.bytes += packed.content.len();
            self.packages.push(packed);
            place
        })
    }

    /// The place of a package of this resource alone.
    pub(crate) fn resource(&mut self, resource: &Arc<Resource>) -> u32 {
        if let Some(place) = self.alone.get(&resource.hash()) {
            return *place;
        }
        let package = Package::new(vec![resource.clone()]).expect("one cannot be there twice");
        let place = self.add(&package);
        self.alone.insert(resource.hash(), place);
        place
    }

    /// An entity as `write` writes it.
    pub(super) fn entity(&mut self, write: impl FnOnce(&mut Writer<'_>, &mut Self)) -> Bytes {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() < *ROOM.start() {
            // As much as all that was there yet: where many come, few pieces of memory do.
            buffer.reserve(self.bytes.clamp(*ROOM.start(), *ROOM.end()));
        }
        write(&mut Writer(&mut buffer), self);
        let entity = buffer.split().freeze();
        self.buffer = buffer;
        self.bytes += entity.len();
        entity
    }

    /// Bytes of all entities and packages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// For the message.
    pub(crate) fn finish(self) -> Vec<wire::Package> {
        self.packages
    }
}

/// A package that is alone in its message.
pub(crate) fn pack(package: &Package) -> wire::Package {
    wire::Package {
        format: Format::Cbor.as_str().to_owned(),
        content: package.encode(Format::Cbor).into(),
    }
}

/// A package that is alone in its message; absent: empty.
pub(crate) fn unpack(package: Option<&wire::Package>, limits: &Limits) -> Result<Package> {
    package.map_or_else(
        || Ok(Package::default()),
        |package| decode(&package.format, &package.content, limits),
    )
}

/// Decodes a package. One of no bytes needs no format.
///
/// # Errors
/// `BadArgument`: an unknown format, or what [`Package::decode`] refuses.
pub(crate) fn decode(format: &str, content: &[u8], limits: &Limits) -> Result<Package> {
    if content.is_empty() {
        return Ok(Package::default());
    }
    Package::decode(content, self::format(format)?, Dialect::Programs, limits)
}

/// A format by name.
pub(crate) fn format(name: &str) -> Result<Format> {
    name.parse()
        .map_err(|error: tko_core::encoding::UnknownFormat| {
            Error::bad("package format", error.to_string())
        })
}

/// The table of a message that was read. Its limits hold for all packages together.
pub(crate) struct Unpacker(Vec<Package>);

impl Unpacker {
    /// # Errors
    /// `BadArgument`: as [`decode`].
    pub(crate) fn new(packages: &[wire::Package], limits: &Limits) -> Result<Self> {
        let mut left = limits.clone();
        let mut decoded = Vec::with_capacity(packages.len());
        for packed in packages {
            let package = decode(&packed.format, &packed.content, &left)?;
            left.bytes -= packed.content.len().min(left.bytes);
            left.values -= package
                .iter()
                .map(|resource| values(resource.value()))
                .sum::<usize>()
                .min(left.values);
            decoded.push(package);
        }
        Ok(Self(decoded))
    }

    /// What is at this place.
    pub(crate) fn at(&self, place: u32) -> Result<Package> {
        let package = usize::try_from(place).ok().and_then(|at| self.0.get(at));
        package.cloned().ok_or_else(|| {
            Error::bad(
                "package",
                format!("{place} is no place in a table of {}", self.0.len()),
            )
        })
    }

    /// What is at this place; no place: none.
    pub(crate) fn maybe(&self, place: Option<u32>) -> Result<Option<Package>> {
        place.map(|place| self.at(place)).transpose()
    }

    /// The one resource of the package at this place.
    pub(crate) fn resource(&self, place: u32) -> Result<Arc<Resource>> {
        let package = self.at(place)?;
        required("resource", package.resources().first()).cloned()
    }
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(map) => map.values().map(values).sum(),
        _ => 0,
    }
}
