//! The properties of a catalog.

use super::layout::IdTemplate;
use crate::export::layout::TEMPLATE_DESCRIPTOR;
use crate::properties::Properties;
use crate::settings::CatalogSettings;
use std::collections::BTreeMap;
use std::time::Duration;
use tko_core::{Entity, Error, Pattern, PluginType, Result};

/// The names of all properties of catalogs.
const NAMES: [&str; 18] = [
    "url",
    "interval",
    "path",
    "root",
    "id",
    "tags",
    "branch",
    "alias",
    "mutable",
    "prune",
    "user",
    "token",
    "secret",
    "ca",
    "version",
    "key",
    "hosts",
    "descriptors",
];

/// A catalog as it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogEntry {
    pub(crate) name: String,
    pub(crate) executor: String,
    pub(crate) url: String,
    pub(crate) interval: Duration,
    /// Patterns of the folders that are packages. If empty, these are the folders with a Kptfile,
    /// or if there are none, those with YAML files.
    pub(crate) paths: Vec<Pattern>,
    /// The folder that contains the packages, and to which their paths are relative.
    pub(crate) root: String,
    pub(crate) id: IdTemplate,
    /// The tags that are versions; `None` leaves the choice to the executor.
    pub(crate) tags: Option<Pattern>,
    /// The branch to follow.
    pub(crate) branch: Option<String>,
    /// The version of the template that always has the newest content; empty for none.
    pub(crate) alias: Option<String>,
    /// Whether the versions of packages on a branch are commits rather than content digests.
    pub(crate) by_commit: bool,
    /// Whether the content of a version may change.
    pub(crate) mutable: bool,
    /// Whether versions that vanished are removed once nothing refers to them.
    pub(crate) prune: bool,
    /// The name of the descriptors, if the catalog reads them: a folder with one is a package that
    /// says its own id.
    pub(crate) descriptors: Option<&'static str>,
    pub(crate) properties: BTreeMap<String, String>,
}

impl CatalogEntry {
    /// Reads the properties of a plugin.
    ///
    /// # Errors
    /// `BadArgument`: a property is missing, unknown or not valid.
    pub(crate) fn read(entity: &Entity, settings: &CatalogSettings) -> Result<Self> {
        let (Some(plugin), tko_core::Key::Plugin(id)) = (entity.plugin(), &entity.key) else {
            return Err(Error::bad("catalog", "it is not a plugin"));
        };
        if id.plugin_type() != PluginType::Catalog {
            return Err(Error::bad("catalog", format!("{id} is not a catalog")));
        }
        let properties = Properties(&plugin.properties);
        check_names(properties, &NAMES)?;
        let url = properties.required("url")?.to_owned();
        let pattern = |name: &str, text: &str| {
            Pattern::id(text).map_err(|error| Error::bad(name.to_owned(), error.to_string()))
        };
        let paths = properties
            .text("path")
            .into_iter()
            .flat_map(|text| text.split(','))
            .map(|text| pattern("path", text.trim().trim_matches('/')))
            .collect::<Result<_>>()?;
        let interval = properties.time("interval", settings.interval)?;
        let root = properties.text("root").unwrap_or_default();
        Ok(Self {
            name: id.name().to_owned(),
            executor: plugin.executor.clone(),
            interval: interval.max(settings.min_interval),
            paths,
            root: root.trim_matches('/').to_owned(),
            id: IdTemplate::parse(properties.text("id").unwrap_or(IdTemplate::DEFAULT))?,
            tags: properties
                .text("tags")
                .map(|text| pattern("tags", text))
                .transpose()?,
            branch: properties.text("branch").map(branch).transpose()?,
            alias: plugin
                .properties
                .get("alias")
                .map(|text| text.trim().to_owned()),
            by_commit: by_commit(properties.text("version"))?,
            mutable: properties.flag("mutable")?,
            prune: properties.flag("prune")?,
            descriptors: properties
                .flag("descriptors")?
                .then_some(TEMPLATE_DESCRIPTOR),
            url,
            properties: plugin.properties.clone(),
        })
    }

    /// The URL without a user and password.
    pub(crate) fn public_url(&self) -> String {
        public_url(&self.url)
    }
}

/// Refuses unknown properties: most are typing errors.
pub(crate) fn check_names(properties: Properties<'_>, names: &[&str]) -> Result<()> {
    let known = |name: &&String| !names.iter().any(|known| matches_name(known, name));
    match properties.0.keys().find(known) {
        None => Ok(()),
        Some(name) => Err(Error::bad(
            name.clone(),
            format!("unknown property; expected one of {}", names.join(", ")),
        )),
    }
}

/// Whether a property has this name; a name that ends in `.` stands for all that begin with it.
fn matches_name(known: &str, name: &str) -> bool {
    known == name || (known.ends_with('.') && name.starts_with(known) && name.len() > known.len())
}

/// The version scheme of a branch: `content` or `commit`.
fn by_commit(text: Option<&str>) -> Result<bool> {
    match text {
        None | Some("content") => Ok(false),
        Some("commit") => Ok(true),
        Some(other) => Err(Error::bad(
            "version",
            format!("{other:?} is neither content nor commit"),
        )),
    }
}

/// Checks that git cannot mistake the name of a branch for an option or another refspec.
pub(crate) fn branch(text: &str) -> Result<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    if text.starts_with(['-', '/', '.']) || text.contains("..") || !text.chars().all(fine) {
        return Err(Error::bad(
            "branch",
            format!("{text:?} is not the name of a branch"),
        ));
    }
    Ok(text.to_owned())
}

/// A URL without a user, a password and a query.
pub(crate) fn public_url(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::{branch, public_url};

    #[test]
    fn no_url_shows_its_secrets() {
        for (url, shown) in [
            ("https://u:p@h:1/a/b.git", "https://h:1/a/b.git"),
            ("https://h/a.zip?sig=1", "https://h/a.zip"),
            ("https://token@h", "https://h"),
            ("git@h:a/b.git", "git@h:a/b.git"),
            ("/here", "/here"),
        ] {
            assert_eq!(public_url(url), shown);
        }
    }

    #[test]
    fn a_branch_is_no_option() {
        assert!(branch("release/v1.2").is_ok());
        for bad in [
            "--upload-pack=x",
            "a..b",
            "+a:b",
            "a b",
            "/a",
            ".a",
            "a:b",
            "a^{}",
        ] {
            assert!(
                branch(bad).is_err() || bad == "+a:b" && branch(bad).is_err(),
                "{bad}"
            );
        }
    }
}
