//! Ids of entities, and [`Key`], the id of one entity of any kind.
//!
//! Ids are compared and sorted by their bytes. They are case-sensitive, and are never trimmed or
//! normalized.
//!
//! An id is checked when it is created, and never again: a function that has one may rely on it.
//! The text is shared, so a clone copies no text. The ids of templates, sites, deployments and
//! plugins are distinct types, so that one cannot be passed in place of another.
//!
//! The allowed characters need no quoting in a shell, and exclude `*`, which patterns use. The one
//! exception is the `|` of a plugin's id.
//!
//! ```
//! use tko_core::{Key, Kind, SiteId};
//!
//! let site = SiteId::new("india/bangalore/south-100")?;
//! let key = Key::from(&site);
//! assert_eq!((key.kind(), key.id()), (Kind::Site, site.as_str()));
//! assert!(SiteId::new("no spaces").is_err());
//! # Ok::<(), tko_core::Error>(())
//! ```

use crate::error::{Error, Result};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum number of bytes of an id. PostgreSQL can still index it, and it still fits into a path.
///
/// Every allowed character is ASCII, so this is also the number of characters. For a plugin it is
/// the limit of the name: the whole id may have 9 bytes more, for type and `|`.
pub const MAX_ID: usize = 1_024;

/// Checks the text of an id: 1 to [`MAX_ID`] bytes, all of them `fine`.
///
/// `what` names the argument in errors, and `allowed` describes the allowed characters. The first
/// character that is not allowed is shown.
fn check(what: &'static str, text: &str, allowed: &str, fine: impl Fn(char) -> bool) -> Result<()> {
    if text.is_empty() {
        return Err(Error::bad(what, format!("is empty; it takes {allowed}")));
    }
    if text.len() > MAX_ID {
        return Err(Error::bad(
            what,
            format!("is {} bytes long; at most {MAX_ID} are allowed", text.len()),
        ));
    }
    // Every allowed character is ASCII, so checking bytes is enough, and faster.
    if text.bytes().all(|byte| fine(char::from(byte))) {
        return Ok(());
    }
    match text.chars().find(|c| !fine(*c)) {
        Some(c) => Err(Error::bad(
            what,
            format!("{text:?} has the character {c:?}; it takes {allowed}"),
        )),
        None => Ok(()),
    }
}

/// Whether the id of a template or site, or the name of a plugin, may contain this character.
///
/// Empty segments, `.` and `..` are allowed, so an id is not safe as a file path.
fn in_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':')
}

/// Defines an id type: its name in errors, a description of its characters, and their test.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $fine:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Creates an id from its text.
            ///
            /// # Errors
            /// [`Error::BadArgument`]: the text is empty, longer than [`MAX_ID`], or contains a
            /// character that this id does not allow.
            pub fn new(text: &str) -> Result<Self> {
                check($what, text, $allowed, $fine)?;
                Ok(Self(text.into()))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Ids hash and compare like their text, so a set of ids can be searched by text.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        /// The same as `new`, for `str::parse`.
        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        /// The text of the id, which `FromStr` reads back.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// The text of the id, without quotes or the name of the type: short in logs.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// The id of a template, such as `nf/free5gc/upf:v1.0.0`.
    TemplateId,
    "template id",
    "ASCII letters, digits and _ . - / :",
    in_path
);
id!(
    /// The id of a site, such as `india/bangalore/south-100`.
    SiteId,
    "site id",
    "ASCII letters, digits and _ . - / :",
    in_path
);
id!(
    /// The id of a deployment, made by [`Ids`](crate::Ids). The order of ids is the order of
    /// creation, as far as the clocks of the creating processes agree.
    ///
    /// It has no separators, so it is a single segment for patterns.
    DeploymentId,
    "deployment id",
    "ASCII letters and digits",
    |c| c.is_ascii_alphanumeric()
);

/// The type of a plugin: the kind of handler that it provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginType {
    /// It prepares resources of deployments.
    Prepare,
    /// It schedules sites.
    Schedule,
    /// It validates packages.
    Validate,
    /// It registers templates from outside.
    Catalog,
    /// It registers sites from outside.
    Inventory,
}

impl PluginType {
    /// All plugin types, in order.
    pub const ALL: [Self; 5] = [
        Self::Prepare,
        Self::Schedule,
        Self::Validate,
        Self::Catalog,
        Self::Inventory,
    ];

    /// The text of the type in ids: `prepare`, `schedule`, `validate`, `catalog` or `inventory`.
    ///
    /// The texts differ in their first letter, by which [`PluginId::plugin_type`] finds the type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Schedule => "schedule",
            Self::Validate => "validate",
            Self::Catalog => "catalog",
            Self::Inventory => "inventory",
        }
    }
}

impl fmt::Display for PluginType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the exact text of [`PluginType::as_str`].
impl FromStr for PluginType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|t| t.as_str() == text)
            .ok_or_else(|| {
                Error::bad(
                    "plugin type",
                    format!(
                        "unknown plugin type {text:?}; expected prepare, schedule, validate, \
                         catalog or inventory"
                    ),
                )
            })
    }
}

/// The id of a plugin: type, `|`, name, such as `prepare|gateway`. The name allows the characters of
/// a template's id.
///
/// Ids sort by type, then by name. The `|` cannot occur in a name, so the parts are unambiguous.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId(Arc<str>);

impl PluginId {
    /// Creates an id from its two parts.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the name is not allowed; see [`TemplateId::new`].
    pub fn new(plugin: PluginType, name: &str) -> Result<Self> {
        check(
            "plugin name",
            name,
            "ASCII letters, digits and _ . - / :",
            in_path,
        )?;
        Ok(Self(format!("{plugin}|{name}").into()))
    }

    /// The text of the id: type, `|`, name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The type of the plugin.
    ///
    /// It is read from the text; the id stores no second copy.
    pub fn plugin_type(&self) -> PluginType {
        match self.0.as_bytes().first() {
            Some(b'p') => PluginType::Prepare,
            Some(b's') => PluginType::Schedule,
            Some(b'c') => PluginType::Catalog,
            Some(b'i') => PluginType::Inventory,
            _ => PluginType::Validate,
        }
    }

    /// The name of the plugin, without the type.
    pub fn name(&self) -> &str {
        self.0.split_once('|').map_or("", |(_, name)| name)
    }
}

/// Reads the text of [`PluginId::as_str`]: a type, `|`, and a name that is allowed.
impl FromStr for PluginId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (plugin, name) = text.split_once('|').ok_or_else(|| {
            Error::bad(
                "plugin id",
                format!("{text:?} is not of the form TYPE|NAME"),
            )
        })?;
        Self::new(plugin.parse()?, name)
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A kind of entity, in the order of [`Key`].
///
/// The set is closed: backends match it exhaustively, so a new kind is a deliberate change of every
/// backend.
///
/// The order and numbers of the kinds are part of stored data; see [`codec`](crate::codec).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A package from which deployments and sites are made.
    Template,
    /// A place where deployments run, such as a cluster.
    Site,
    /// A package that is prepared for a site and placed there.
    Deployment,
    /// A registered program that prepares, schedules or validates.
    Plugin,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 4] = [Self::Template, Self::Site, Self::Deployment, Self::Plugin];

    /// The name of the kind: `template`, `site`, `deployment` or `plugin`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Site => "site",
            Self::Deployment => "deployment",
            Self::Plugin => "plugin",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the exact name of [`Kind::as_str`]. Plurals and capitals are refused.
impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.as_str() == text)
            .ok_or_else(|| {
                Error::bad(
                    "kind",
                    format!("unknown kind {text:?}; expected template, site, deployment or plugin"),
                )
            })
    }
}

/// The key of one entity: its kind and its id.
///
/// Keys are ordered by kind, then by the bytes of the id. Every listing has this order.
///
/// A key says nothing about existence: it may name an entity that was never created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A template.
    Template(TemplateId),
    /// A site.
    Site(SiteId),
    /// A deployment.
    Deployment(DeploymentId),
    /// A plugin.
    Plugin(PluginId),
}

impl Key {
    /// Creates a key from a kind and the text of an id.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the text is not an id of this kind.
    pub fn new(kind: Kind, id: &str) -> Result<Self> {
        Ok(match kind {
            Kind::Template => Self::Template(id.parse()?),
            Kind::Site => Self::Site(id.parse()?),
            Kind::Deployment => Self::Deployment(id.parse()?),
            Kind::Plugin => Self::Plugin(id.parse()?),
        })
    }

    /// The kind of the entity.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Template(_) => Kind::Template,
            Self::Site(_) => Kind::Site,
            Self::Deployment(_) => Kind::Deployment,
            Self::Plugin(_) => Kind::Plugin,
        }
    }

    /// The text of the id.
    ///
    /// Without the kind, it is ambiguous: a template and a site may have the same id.
    pub fn id(&self) -> &str {
        match self {
            Self::Template(id) => id.as_str(),
            Self::Site(id) => id.as_str(),
            Self::Deployment(id) => id.as_str(),
            Self::Plugin(id) => id.as_str(),
        }
    }

    /// The deployment's id, if it is the key of a deployment.
    pub fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::Deployment(id) => Some(id),
            _ => None,
        }
    }

    /// The site's id, if it is the key of a site.
    pub fn site(&self) -> Option<&SiteId> {
        match self {
            Self::Site(id) => Some(id),
            _ => None,
        }
    }
}

/// Formats the key as `kind id`, for people.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.id())
    }
}

/// Defines the conversions of each id type into a [`Key`], from a value and from a reference.
///
/// So a function that takes `impl Into<Key>` accepts every id without conversion.
macro_rules! into_key {
    ($($id:ident => $kind:ident),*) => { $(
        impl From<$id> for Key {
            fn from(id: $id) -> Self {
                Self::$kind(id)
            }
        }

        impl From<&$id> for Key {
            fn from(id: &$id) -> Self {
                Self::$kind(id.clone())
            }
        }
    )* };
}
into_key!(TemplateId => Template, SiteId => Site, DeploymentId => Deployment, PluginId => Plugin);

/// Clones the key, for functions that take `impl Into<Key>`.
impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{DeploymentId, Key, Kind, MAX_ID, PluginId, PluginType, TemplateId};

    #[test]
    fn ids_take_their_characters_and_no_others() {
        for fine in ["nf/free5gc/upf:v1.0.0", "a", "_.-/:"] {
            assert_eq!(TemplateId::new(fine).expect("allowed").as_str(), fine);
        }
        for bad in [
            "",
            " a",
            "a b",
            "ä",
            "a|b",
            "a\0",
            "a*",
            &"x".repeat(MAX_ID + 1),
        ] {
            assert!(TemplateId::new(bad).is_err(), "{bad:?}");
        }
        assert!(DeploymentId::new("0a1B").is_ok());
        assert!(DeploymentId::new("0a-1").is_err());
    }

    #[test]
    fn a_plugin_id_gives_back_its_parts() {
        for plugin in PluginType::ALL {
            let id = PluginId::new(plugin, "a/b").expect("allowed");
            assert_eq!((id.plugin_type(), id.name()), (plugin, "a/b"));
            assert_eq!(
                Key::new(Kind::Plugin, id.as_str()).expect("allowed"),
                Key::from(id)
            );
        }
        assert!("prepare".parse::<PluginId>().is_err());
        assert!("other|x".parse::<PluginId>().is_err());
        assert!("prepare|a|b".parse::<PluginId>().is_err());
    }
}
