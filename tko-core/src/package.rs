//! Packages: ordered lists of shared resources.
//!
//! A package is the unit that templates hold and deployments deliver. It is immutable: each change
//! makes a new package, which shares the unchanged resources. The order of resources is kept in
//! every format, and matters when packages are compared.

mod difference;
mod index;

pub use difference::ResourceDifference;
pub use index::PackageIndex;
pub(crate) use index::ResourcePlaces;

use crate::encoding::{self, Dialect, Format, InputPlace, Limits};
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::resource::{Gvk, Identifier, Resource};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// An ordered list of resources with distinct identifiers.
///
/// Cloning copies one pointer. A changed copy shares every resource that did not change.
#[derive(Clone, Default)]
pub struct Package(Arc<Inner>);

/// The shared content of all clones of a package.
#[derive(Default)]
struct Inner {
    /// The resources, in order; no two have the same identifier.
    resources: Vec<Arc<Resource>>,
    /// The hash of the package, once it has been requested.
    hash: OnceLock<ContentHash>,
}

impl Package {
    /// Creates a package from resources.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: two resources have the same identifier; the message names it.
    pub fn new(resources: Vec<Arc<Resource>>) -> Result<Self> {
        let mut seen = HashSet::with_capacity(resources.len());
        for resource in &resources {
            if !seen.insert(resource.identifier()) {
                return Err(Error::bad(
                    "package",
                    format!(
                        "{} ({}) is there twice",
                        resource.identifier(),
                        resource.gvk()
                    ),
                ));
            }
        }
        Ok(Self::unchecked(resources))
    }

    /// Creates a package from resources whose identifiers are known to be distinct.
    pub(crate) fn unchecked(resources: Vec<Arc<Resource>>) -> Self {
        Self(Arc::new(Inner {
            resources,
            hash: OnceLock::new(),
        }))
    }

    /// Creates a package from the contents of its resources.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: a value is not a resource, with its position from 1; or two have the
    /// same identifier.
    pub fn from_values(values: impl IntoIterator<Item = Value>) -> Result<Self> {
        Self::placed(values.into_iter().map(|value| (value, None)), Resource::new)
    }

    /// Decodes a package; empty input yields an empty package.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the text is malformed, with the place and the reason; it exceeds the
    /// limits; or as [`Package::from_values`].
    pub fn decode(bytes: &[u8], format: Format, dialect: Dialect, limits: &Limits) -> Result<Self> {
        let decoded = encoding::decode_placed(bytes, format, dialect, limits)
            .map_err(|error| Error::bad("package", crate::error::chain(&error)))?;
        let values = decoded
            .into_iter()
            .map(|decoded| (decoded.value, Some(decoded.at)));
        // The reader has counted the levels, by the limits of the caller.
        Self::placed(values, Resource::stored)
    }

    /// Creates a package from values, each with its place in the decoded text, if known.
    fn placed(
        values: impl Iterator<Item = (Value, Option<InputPlace>)>,
        resource: fn(Value) -> Result<Resource>,
    ) -> Result<Self> {
        let resources = values
            .enumerate()
            .map(|(index, (value, place))| match resource(value) {
                Ok(resource) => Ok(Arc::new(resource)),
                Err(Error::BadArgument { message, .. }) => {
                    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
                    Err(Error::bad(
                        "package",
                        format!("resource {}{place} {message}", index + 1),
                    ))
                }
                Err(other) => Err(other),
            })
            .collect::<Result<Vec<_>>>()?;
        Self::new(resources)
    }

    /// Encodes the package. An empty one becomes an empty list in JSON and CBOR, and no bytes in
    /// YAML.
    pub fn encode(&self, format: Format) -> Vec<u8> {
        encoding::encode(self.iter().map(|resource| resource.value()), format)
    }

    /// The resources, in order.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.0.resources
    }

    /// Iterates over the resources, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Resource>> {
        self.0.resources.iter()
    }

    /// Whether the package has no resources.
    pub fn is_empty(&self) -> bool {
        self.0.resources.is_empty()
    }

    /// The bytes of all resources as compact JSON.
    pub fn size(&self) -> usize {
        self.iter().map(|resource| resource.size()).sum()
    }

    /// The number of resources.
    pub fn len(&self) -> usize {
        self.0.resources.len()
    }

    /// The resource with exactly this identifier.
    ///
    /// This searches from the start, as the other lookups do; a [`PackageIndex`] does not.
    pub fn find(&self, identifier: &Identifier) -> Option<&Arc<Resource>> {
        self.iter().find(|r| is_named(r, identifier))
    }

    /// Iterates over the resources of this kind, in order.
    pub fn of<'a>(&'a self, gvk: &'a Gvk) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.iter().filter(move |r| r.gvk() == gvk)
    }

    /// Finds the resource that a reference denotes.
    ///
    /// A reference with a namespace denotes exactly that resource. A reference without a namespace
    /// denotes the resource without a namespace, or else the only one in any namespace.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the reference has no namespace, and several namespaces have such a
    /// resource.
    pub fn resolve(&self, reference: &Identifier) -> Result<Option<&Arc<Resource>>> {
        Ok(self.position(reference)?.map(|at| &self.0.resources[at]))
    }

    /// Finds the index of the resource that [`resolve`](Self::resolve) finds.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn position(&self, reference: &Identifier) -> Result<Option<usize>> {
        let mut other = None;
        let mut ambiguous = false;
        for (at, resource) in self.iter().enumerate() {
            let identifier = resource.identifier();
            if identifier.name != reference.name || identifier.gvk != reference.gvk {
                continue;
            }
            if identifier.namespace == reference.namespace {
                return Ok(Some(at));
            }
            ambiguous |= other.replace(at).is_some();
        }
        match (&reference.namespace, ambiguous) {
            (Some(_), _) => Ok(None),
            (None, false) => Ok(other),
            (None, true) => Err(ambiguous_reference(reference)),
        }
    }

    /// Creates a copy with `resource` in the place of the one with its identifier, or at the end.
    ///
    /// Takes time proportional to the number of resources, and copies pointers only.
    #[must_use]
    pub fn with(&self, resource: Arc<Resource>) -> Self {
        let mut resources = self.0.resources.clone();
        match resources
            .iter_mut()
            .find(|r| is_named(r, resource.identifier()))
        {
            Some(place) => *place = resource,
            None => resources.push(resource),
        }
        Self::unchecked(resources)
    }

    /// Creates a copy without the resource with exactly this identifier.
    ///
    /// Without such a resource the copy has the same resources.
    #[must_use]
    pub fn without(&self, identifier: &Identifier) -> Self {
        let mut resources = self.0.resources.clone();
        resources.retain(|r| r.identifier() != identifier);
        Self::unchecked(resources)
    }

    /// The hash of the resources, in order.
    ///
    /// It depends on their order. The first call computes it, and clones share the result.
    pub fn hash(&self) -> ContentHash {
        *self
            .0
            .hash
            .get_or_init(|| ContentHash::of_all(self.iter().map(|r| r.hash())))
    }

    /// Whether both packages are the same value in memory.
    ///
    /// This takes constant time. Equal packages that were built separately do not share.
    pub fn shares(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The error for a reference without a namespace that several resources match.
pub(crate) fn ambiguous_reference(reference: &Identifier) -> Error {
    Error::bad(
        "reference",
        format!("ambiguous reference: {reference} is in several namespaces; add the namespace"),
    )
}

/// Whether a resource has exactly this identifier. In most packages the names differ most.
fn is_named(resource: &Resource, identifier: &Identifier) -> bool {
    let own = resource.identifier();
    own.name == identifier.name && own == identifier
}

/// Compares the contents by their hashes. Resources that are the same value in memory are equal
/// without hashing.
impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        if let (Some(own), Some(other)) = (self.0.hash.get(), other.0.hash.get()) {
            return own == other;
        }
        // An `Arc` of an `Eq` compares the pointers first.
        self.shares(other) || self.0.resources == other.0.resources
    }
}

impl Eq for Package {}

impl<'a> IntoIterator for &'a Package {
    type Item = &'a Arc<Resource>;
    type IntoIter = std::slice::Iter<'a, Arc<Resource>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Formats the identifiers only, because contents may be large.
impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|r| r.identifier().to_string()))
            .finish()
    }
}
