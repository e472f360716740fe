//! Checks catalogs and inventories before they are stored: a secret that a sync refuses would
//! already be visible to everybody who may read plugins.

use crate::catalog::directory::local_path;
use crate::catalog::entry::CatalogEntry;
use crate::catalog::{CATALOG_EXECUTORS, git, oci};
use crate::executor::check_executor;
use crate::http::web_url;
use crate::inventory::{INVENTORY_EXECUTORS, entry::InventoryEntry};
use crate::properties::{Properties, check_reference};
use crate::settings::CatalogSettings;
use std::sync::Arc;
use tko_core::{Entity, Error, Facts, NewPlugin, Plugin, PluginType, Result};

/// The properties that refer to secrets.
const REFERENCES: [&str; 5] = ["token", "secret", "ca", "key", "hosts"];

/// Checks a catalog or an inventory before it is stored. Plugins of other types pass.
///
/// A data service calls it in its [`Admission`](tko_core::Admission). It reads no secret, no file
/// and no network. A path is admitted, because only the controller knows whether it may read local
/// files; if not, the sync reports it.
///
/// # Errors
/// `BadArgument`: a property is missing, unknown or not valid, contains a secret, or does not suit
/// the executor; or the executor is unknown.
pub fn check_plugin(new: &NewPlugin) -> Result<()> {
    let plugin_type = new.id.plugin_type();
    if !matches!(plugin_type, PluginType::Catalog | PluginType::Inventory) {
        return Ok(());
    }
    let properties = Properties(&new.properties);
    // Secrets come first, because other errors quote values.
    for name in REFERENCES {
        if let Some(reference) = properties.text(name) {
            check_reference(name, reference)?;
        }
    }
    if let Some(url) = properties.text("url") {
        check_user(url)?;
    }
    let facts = Plugin::new(new.executor.as_str())
        .arguments(new.arguments.clone())
        .properties(new.properties.clone());
    let entity = Entity::new(new.id.clone(), Facts::Plugin(Arc::new(facts)));
    let settings = CatalogSettings::default().with_local(true);
    if plugin_type == PluginType::Catalog {
        check_executor(&new.executor, "a catalog", &CATALOG_EXECUTORS)?;
        CatalogEntry::read(&entity, &settings)?;
    } else {
        check_executor(&new.executor, "an inventory", &INVENTORY_EXECUTORS)?;
        InventoryEntry::read(&entity, &settings)?;
    }
    check_address(&new.executor, properties, &settings)
}

/// Refuses a URL with a password, or with a user who may be a token.
fn check_user(url: &str) -> Result<()> {
    let has_user = match url.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
            let user = authority.rsplit_once('@').map(|(user, _)| user);
            user.is_some_and(|user| !scheme.eq_ignore_ascii_case("ssh") || user.contains(':'))
        }
        // USER@HOST:PATH has no password.
        None => url
            .split_once('@')
            .is_some_and(|(user, _)| user.contains(':') && !user.contains('/')),
    };
    if has_user {
        let why = "the URL has a user or a password; write user and token as properties, the token \
                   as env:NAME, file:PATH or secret:NAME";
        return Err(Error::bad("url", why));
    }
    Ok(())
}

/// Checks that the executor can read a URL of this form.
fn check_address(
    executor: &str,
    properties: Properties<'_>,
    settings: &CatalogSettings,
) -> Result<()> {
    if executor == "command" {
        return Ok(());
    }
    let url = properties.required("url")?;
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    match executor {
        "git" => git::check_url(url, settings),
        "oci" => oci::check_url(url),
        "http" | "netbox" => web_url(url).map(|_| ()),
        "ansible" | "kubernetes" if is_web => web_url(url).map(|_| ()),
        _ => local_path(url, settings).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_plugin;
    use tko_core::{NewPlugin, PluginId, Result};

    fn check(id: &str, executor: &str, properties: &[(&str, &str)]) -> Result<()> {
        let id: PluginId = id.parse().expect("an id");
        let properties = properties.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        check_plugin(&NewPlugin::new(id, executor).properties(properties.collect()))
    }

    #[test]
    fn what_a_sync_can_read_is_admitted() {
        for (id, executor, url) in [
            ("catalog|a", "git", "https://h/r.git"),
            ("catalog|a", "git", "ssh://git@h:22/r.git"),
            ("catalog|a", "git", "git@h:r.git"),
            ("catalog|a", "git", "/srv/r@2.git"),
            ("catalog|a", "http", "https://h/a@2.zip?sig=1"),
            ("catalog|a", "oci", "oci://h:5000/nf/upf"),
            ("catalog|a", "directory", "/srv/packages"),
            ("inventory|a", "ansible", "/etc/hosts.json"),
            ("inventory|a", "kubernetes", "https://h"),
            ("inventory|a", "netbox", "https://h"),
        ] {
            let token = ("token", "secret:token");
            let properties = [("url", url), ("interval", "5m"), token];
            check(id, executor, &properties).expect(url);
        }
        check("inventory|a", "command", &[]).expect("no URL");
        let seconds = [("interval", "90"), ("grace", "3600")];
        check("inventory|a", "command", &seconds).expect("times in seconds");
        check("prepare|a", "any", &[("token", "abc")]).expect("another type");
    }

    #[test]
    fn no_secret_passes_and_no_error_shows_one() {
        for (executor, name, value) in [
            ("git", "url", "https://u:hunter2@h/r.git"),
            ("git", "url", "https://hunter2@h/r.git"),
            ("git", "url", "HTTPS://u:hunter2@h/r.git"),
            ("git", "url", "ssh://u:hunter2@h/r.git"),
            ("git", "url", "u:hunter2@h:r.git"),
            ("git", "url", "https:u:hunter2@h/r.git"),
            ("http", "url", "https://u:hunter2@h/a.zip"),
            ("oci", "url", "oci://u:hunter2@h/nf/upf"),
            ("git", "token", "hunter2"),
            ("git", "key", "hunter2"),
            ("git", "secret", "secret:"),
        ] {
            let mut properties = vec![("url", "https://h/r.git")];
            properties.retain(|(other, _)| *other != name);
            properties.push((name, value));
            let error = check("catalog|a", executor, &properties).expect_err(value);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let password = [("url", "https://u:p/w@h/r.git")];
        assert!(check("catalog|a", "git", &password).is_err());
        let password = [("url", "https://u:p@h/")];
        assert!(check("inventory|a", "netbox", &password).is_err());
    }

    #[test]
    fn what_no_sync_could_use_is_refused() {
        let url = ("url", "/srv/r");
        for (id, executor, properties) in [
            ("catalog|a", "magic", vec![url]),
            ("inventory|a", "oci", vec![url]),
            ("catalog|a", "git", vec![]),
            ("catalog|a", "directory", vec![("url", "packages")]),
            ("catalog|a", "directory", vec![url, ("intervall", "5m")]),
            ("catalog|a", "directory", vec![url, ("interval", "5 min")]),
            ("catalog|a", "directory", vec![url, ("id", "{path}")]),
            ("inventory|a", "directory", vec![url, ("id", "{{ name")]),
            (
                "inventory|a",
                "directory",
                vec![url, ("metadata.nephio.org/x", "1")],
            ),
        ] {
            let checked = check(id, executor, &properties);
            assert!(checked.is_err(), "{id} {executor} {properties:?}");
        }
    }
}
