//! Kubernetes-style resources: immutable maps with an identity, shared between packages.
//!
//! The content of a resource is JSON data, whatever format it came in. Its `apiVersion`, `kind`,
//! name and namespace identify it. All other content is kept unchanged, and annotations are read
//! and set by name. A change makes a new resource, so packages can share resources without locks.

use crate::builder::chainable;
use crate::encoding::Limits;
use crate::error::{Error, Result};
use crate::hash::ContentHash;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The levels of maps and lists that a resource may have. The readers of
/// [`encoding`](crate::encoding) accept as many by default, so every client can read it.
const MAX_LEVELS: usize = Limits::new().depth;

/// The type of a resource: group, version and kind.
///
/// ```
/// use tko_core::Gvk;
///
/// let gvk = Gvk::of("apps/v1", "Deployment");
/// assert_eq!(gvk, Gvk::new("apps", "v1", "Deployment"));
/// assert_eq!(gvk.to_string(), "apps/v1/Deployment");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvk {
    /// The group; empty for the core group.
    pub group: Arc<str>,
    /// The version, such as `v1alpha1`.
    pub version: Arc<str>,
    /// The kind, such as `Deployment`.
    pub kind: Arc<str>,
}

impl Gvk {
    /// Creates a type from its parts, which are not checked.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// Creates a type from an `apiVersion`, which is `group/version` or `version`, and a kind.
    ///
    /// The first slash separates the two. The parts are not checked; [`Resource::new`] refuses an
    /// `apiVersion` with a second slash.
    pub fn of(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// The `apiVersion`: `group/version`, or `version` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Checks that this type can trigger a plugin.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the version or the kind is empty.
    pub fn check_trigger(&self) -> Result<()> {
        if self.version.is_empty() || self.kind.is_empty() {
            return Err(Error::bad(
                "trigger",
                format!("{self}: version and kind must not be empty"),
            ));
        }
        Ok(())
    }
}

/// Formats the type as `group/version/Kind`, or `version/Kind` for the core group.
impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{}/{}", self.version, self.kind)
    }
}

/// The identity of a resource within its package; also a reference to one.
///
/// A reference without a namespace means the resource without a namespace, or else the only one in
/// any namespace; see [`Package::resolve`](crate::Package::resolve).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    /// The type of the resource.
    pub gvk: Gvk,
    /// The name, `metadata.name`.
    pub name: Arc<str>,
    /// The namespace, `metadata.namespace`, if the resource has one.
    pub namespace: Option<Arc<str>>,
}

impl Identifier {
    /// Creates an identifier without a namespace.
    pub fn new(gvk: Gvk, name: &str) -> Self {
        Self {
            gvk,
            name: name.into(),
            namespace: None,
        }
    }

    chainable! {
        /// Sets the namespace.
        namespace: into Option<Arc<str>>;
    }

    /// Parses an object reference: a map with `apiVersion`, `kind`, `name` and, optionally,
    /// `namespace`.
    ///
    /// A namespace that is empty or not text counts as absent. Other keys are ignored.
    ///
    /// # Errors
    /// [`Error::BadArgument`] for `argument`: the value is not a map, or a part is missing, empty
    /// or not text.
    pub fn from_reference(argument: &'static str, value: &Value) -> Result<Self> {
        let text = |name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| {
                    Error::bad(
                        argument,
                        format!("{value} is not a reference: {name} is missing; expected apiVersion, kind, name and optionally namespace"),
                    )
                })
        };
        Ok(Self {
            gvk: Gvk::of(text("apiVersion")?, text("kind")?),
            name: text("name")?.into(),
            namespace: value
                .get("namespace")
                .and_then(Value::as_str)
                .filter(|n| !n.is_empty())
                .map(Arc::from),
        })
    }
}

/// Formats the identifier as `Kind name`, or `Kind namespace/name`.
impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.gvk.kind, self.name),
            None => write!(f, "{} {}", self.gvk.kind, self.name),
        }
    }
}

/// One resource: an immutable map with `apiVersion`, `kind` and `metadata.name`.
///
/// The content hash is computed once, on demand. Resources are equal if their contents are equal,
/// including the order of keys.
#[derive(Debug)]
pub struct Resource {
    /// The identity, copied from the content when the resource is created.
    identifier: Identifier,
    /// The content: a map that never changes, so that the identity and the hash stay valid.
    value: Value,
    /// The hash of the content and its size as compact JSON, once they have been requested.
    hash: OnceLock<(ContentHash, usize)>,
}

impl Resource {
    /// Creates a resource from its content.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the content is not a map; `apiVersion`, `kind` or `metadata.name` is
    /// missing, empty or not text; or the content has more levels of maps and lists than
    /// [`Limits::depth`] allows by default.
    pub fn new(value: Value) -> Result<Self> {
        let resource = Self::stored(value)?;
        if !fits(&resource.value, MAX_LEVELS) {
            return Err(Error::bad(
                "resource",
                format!(
                    "{} is nested more than {MAX_LEVELS} levels deep; nest it less",
                    resource.identifier
                ),
            ));
        }
        Ok(resource)
    }

    /// Creates a resource from content that was stored, which may be nested more deeply than that
    /// of a new one.
    ///
    /// Backends call this, so that they can read everything that was ever stored.
    ///
    /// # Errors
    /// As [`Resource::new`], except for the levels.
    pub fn stored(value: Value) -> Result<Self> {
        let identifier = identify(&value)?;
        Ok(Self {
            identifier,
            value,
            hash: OnceLock::new(),
        })
    }

    /// The identity of the resource in its package.
    pub fn identifier(&self) -> &Identifier {
        &self.identifier
    }

    /// The group, version and kind.
    pub fn gvk(&self) -> &Gvk {
        &self.identifier.gvk
    }

    /// The content, which is always a map.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Returns the content without copying it.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The value at this path of map keys, such as `["spec", "siteId"]`.
    ///
    /// `None` if a key is absent, or is looked up in anything but a map. Lists have no keys.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        path.iter()
            .try_fold(&self.value, |value, key| value.get(key))
    }

    /// The text of an annotation; `None` if it is absent, null or empty, so that its default
    /// applies. A boolean or number is returned as text.
    pub fn annotation(&self, name: &str) -> Option<Cow<'_, str>> {
        match self.value.get("metadata")?.get("annotations")?.get(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Null => None,
            other => Some(Cow::Owned(other.to_string())),
        }
    }

    /// The hash of the content.
    ///
    /// The first call computes it; later calls return the same.
    pub fn hash(&self) -> ContentHash {
        self.hash_and_size().0
    }

    /// The bytes of the content as compact JSON. Computed together with the hash.
    pub fn size(&self) -> usize {
        self.hash_and_size().1
    }

    fn hash_and_size(&self) -> (ContentHash, usize) {
        *self
            .hash
            .get_or_init(|| ContentHash::with_size(&self.value))
    }

    /// Creates a copy with its content changed by `edit`.
    ///
    /// # Errors
    /// As [`Resource::new`], for the changed content.
    pub fn edited(&self, edit: impl FnOnce(&mut Map<String, Value>)) -> Result<Self> {
        Self::new(self.edited_value(edit))
    }

    /// Creates a copy with its content changed by `edit`, which adds no levels below the fourth.
    ///
    /// The levels are not counted: a stored resource may have more than a new one.
    ///
    /// # Errors
    /// As [`Resource::stored`], for the changed content.
    pub(crate) fn edited_shallowly(
        &self,
        edit: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Self> {
        Self::stored(self.edited_value(edit))
    }

    fn edited_value(&self, edit: impl FnOnce(&mut Map<String, Value>)) -> Value {
        let mut value = self.value.clone();
        if let Value::Object(map) = &mut value {
            edit(map);
        }
        value
    }

    /// Creates a copy with this annotation set to this text.
    ///
    /// Missing `annotations` are created, and anything but a map there is replaced. The identity
    /// stays the same.
    #[must_use]
    pub fn annotated(&self, name: &str, text: &str) -> Self {
        self.edited_shallowly(|content| {
            let metadata = map_in(content, "metadata");
            map_in(metadata, "annotations").insert(name.to_owned(), Value::String(text.to_owned()));
        })
        .expect("an annotation does not touch what identifies the resource")
    }
}

/// Returns the map under `key`; replaces anything else there by an empty map.
pub fn map_in<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let place = map.entry(key).or_insert(Value::Null);
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    match place {
        Value::Object(map) => map,
        _ => unreachable!("made a map above"),
    }
}

/// Compares content hashes, which are computed once for each resource.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl Eq for Resource {}

/// Whether a value has at most this many levels of maps and lists.
fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|value| fits(value, levels - 1)),
        _ => true,
    }
}

/// Reads the identity from the content of a resource.
///
/// A namespace that is empty or not text counts as absent.
///
/// # Errors
/// `BadArgument`:
/// - the value is not a map;
/// - `apiVersion`, `kind` or `metadata.name` is missing, empty or not text;
/// - `apiVersion` has no version, or more than one slash.
fn identify(value: &Value) -> Result<Identifier> {
    if !value.is_object() {
        return Err(Error::bad(
            "resource",
            "is not a map with apiVersion, kind and metadata.name",
        ));
    }
    let missing = |what: &str| {
        let named = ["kind", "apiVersion"]
            .iter()
            .filter_map(|key| value.get(key)?.as_str())
            .collect::<Vec<_>>()
            .join(" of ");
        let of = if named.is_empty() {
            String::new()
        } else {
            format!(" ({named})")
        };
        Error::bad(
            "resource",
            format!("has no {what}{of}; it must be text that is not empty"),
        )
    };
    let text = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
    };
    let api_version = text(value.get("apiVersion")).ok_or_else(|| missing("apiVersion"))?;
    let kind = text(value.get("kind")).ok_or_else(|| missing("kind"))?;
    let metadata = value.get("metadata");
    let name =
        text(metadata.and_then(|m| m.get("name"))).ok_or_else(|| missing("metadata.name"))?;
    let gvk = Gvk::of(&api_version, &kind);
    if gvk.version.is_empty() || gvk.version.contains('/') {
        return Err(Error::bad(
            "resource",
            format!(
                "{kind} {name}: apiVersion {api_version:?} is neither VERSION nor GROUP/VERSION"
            ),
        ));
    }
    Ok(Identifier {
        gvk,
        name: name.into(),
        namespace: text(metadata.and_then(|m| m.get("namespace"))).map(Arc::from),
    })
}
