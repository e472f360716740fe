//! Package tables: packages that several parts of a message share are sent and decoded once.

use super::fields::FieldWriter;
use super::scalar::required;
use crate::proto::v1alpha2 as wire;
use bytes::{Bytes, BytesMut};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tko_core::{ContentHash, Dialect, Error, Format, Limits, Package, Resource, Result};

/// The package table of a message being written, in CBOR, and the buffer for its entities.
#[derive(Default)]
pub(crate) struct Packer {
    packages: Vec<wire::Package>,
    places: HashMap<ContentHash, u32>,
    /// Packages of a single resource, by the hash of the resource; many deployments share them.
    alone: HashMap<ContentHash, u32>,
    /// The buffer of the next entity.
    buffer: BytesMut,
    bytes: usize,
}

/// Capacity of the buffer in bytes: at first, and at most.
const ROOM: std::ops::RangeInclusive<usize> = 1_024..=65_536;

impl Packer {
    /// Adds a package; returns its index.
    pub(crate) fn add(&mut self, package: &Package) -> u32 {
        *self.places.entry(package.hash()).or_insert_with(|| {
            let place =
                u32::try_from(self.packages.len()).expect("memory ends before 2^32 packages");
            let packed = pack(package);
            self.bytes += packed.content.len();
            self.packages.push(packed);
            place
        })
    }

    /// Adds a package of a single resource; returns its index.
    pub(crate) fn resource(&mut self, resource: &Arc<Resource>) -> u32 {
        if let Some(place) = self.alone.get(&resource.hash()) {
            return *place;
        }
        let package =
            Package::new(vec![resource.clone()]).expect("a single resource has no duplicate");
        let place = self.add(&package);
        self.alone.insert(resource.hash(), place);
        place
    }

    /// Encodes an entity with `write`.
    pub(super) fn entity(&mut self, write: impl FnOnce(&mut FieldWriter<'_>, &mut Self)) -> Bytes {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() < *ROOM.start() {
            // Grow with the message, so that long listings need few allocations.
            buffer.reserve(self.bytes.clamp(*ROOM.start(), *ROOM.end()));
        }
        write(&mut FieldWriter(&mut buffer), self);
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

/// Decodes the only package of a message; absent means empty.
pub(crate) fn unpack(package: Option<&wire::Package>, limits: &Limits) -> Result<Package> {
    package.map_or_else(
        || Ok(Package::default()),
        |package| decode(&package.format, &package.content, limits),
    )
}

/// Decodes a package. An empty one needs no format.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): the format is unknown, or as [`Package::decode`].
pub(crate) fn decode(format: &str, content: &[u8], limits: &Limits) -> Result<Package> {
    if content.is_empty() {
        return Ok(Package::default());
    }
    Package::decode(content, self::format(format)?, Dialect::Programs, limits)
}

/// Parses the name of a format.
pub(crate) fn format(name: &str) -> Result<Format> {
    name.parse()
        .map_err(|error: tko_core::encoding::UnknownFormat| {
            Error::bad("package format", error.to_string())
        })
}

/// The package table of a message that was read.
pub(crate) struct Unpacker(Vec<Package>);

impl Unpacker {
    /// Decodes a table. The limits apply to all packages together.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): as [`decode`].
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

    /// The package at this index.
    pub(crate) fn at(&self, place: u32) -> Result<Package> {
        let package = usize::try_from(place).ok().and_then(|at| self.0.get(at));
        package.cloned().ok_or_else(|| {
            Error::bad(
                "package",
                format!(
                    "index {place} is out of range for a table of {}",
                    self.0.len()
                ),
            )
        })
    }

    /// The package at this index, if there is an index.
    pub(crate) fn maybe(&self, place: Option<u32>) -> Result<Option<Package>> {
        place.map(|place| self.at(place)).transpose()
    }

    /// The only resource of the package at this index.
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
