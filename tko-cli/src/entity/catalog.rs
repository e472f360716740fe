//! `tko catalog` and `tko inventory`: manage the sources of templates and sites.

use super::removal::{self, RemovalArgs};
use super::{list, show};
use crate::console::Console;
use crate::filter::{ListArgs, pair};
use crate::services::catalog::CatalogStartArgs;
use crate::services::time;
use clap::{Args, Subcommand};
use std::time::Duration;
use tko_catalog::provenance::{SYNC_ACCEPTED, SYNC_DONE, SYNC_REQUESTED};
use tko_catalog::report::{COMPLETE, MASS_DISAPPEARANCE, SYNCED};
use tko_core::{
    DataApi, Entity, EntityUpdate, Error, Expect, Key, Kind, Metadata, NewPlugin, PluginId,
    PluginType, Result, Select, Want,
};

/// Maximum number of attempts to change an entry if there are conflicts.
const TRIES: usize = 5;

/// The pause between two checks whether a sync has finished.
const PAUSE: Duration = Duration::from_millis(200);

/// Manage catalogs: templates from folders, git, OCI registries and web servers
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Register a catalog; its templates are registered by the server
    Add(CatalogAddArgs),
    /// List catalogs
    List(ListArgs),
    /// Show a catalog: its properties and conditions
    #[command(visible_alias = "get")]
    Show(EntryName),
    /// Sync a catalog now, and wait for the result
    Sync(SyncArgs),
    /// Remove a catalog; its templates stay
    #[command(visible_alias = "delete")]
    Remove(EntryName),
    /// Start a controller for the catalogs and inventories of a data service
    Start(Box<CatalogStartArgs>),
}

/// Manage inventories: sites from folders, Ansible, Kubernetes, NetBox and programs
#[derive(Debug, Subcommand)]
pub(crate) enum InventoryCommand {
    /// Register an inventory; its sites are registered by the server
    Add(AddArgs),
    /// List inventories
    List(ListArgs),
    /// Show an inventory: its properties and conditions
    #[command(visible_alias = "get")]
    Show(EntryName),
    /// Sync an inventory now, and wait for the result
    Sync {
        #[command(flatten)]
        sync: SyncArgs,
        /// Accept the disappearance of sites or metadata that stopped the last sync
        #[arg(long, visible_alias = "confirm")]
        accept: bool,
    },
    /// Remove an inventory; its sites stay
    #[command(visible_alias = "delete")]
    Remove(EntryName),
}

/// The argument that names an entry.
#[derive(Debug, Args)]
pub(crate) struct EntryName {
    /// Name, such as core
    name: String,
}

/// The flags of `catalog add` and `inventory add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Name, such as core
    name: String,
    /// Kind of source; for a catalog: directory, git, http or oci, by default derived from the URL;
    /// for an inventory: directory, git, ansible, kubernetes, netbox or command
    #[arg(short, long, value_name = "EXECUTOR")]
    executor: Option<String>,
    /// Address of the source: a URL or an absolute path
    #[arg(short, long, value_name = "URL")]
    url: Option<String>,
    /// Interval between syncs, such as 5m
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// Folders that are packages, such as packages/* (catalogs)
    #[arg(long, value_name = "PATTERN")]
    path: Option<String>,
    /// Build each id from this pattern for catalogs, such as nf/{path}:{version}, or from this
    /// expression for inventories, such as "{{ name }}"
    #[arg(long, value_name = "TEXT")]
    id: Option<String>,
    /// Set a property; may be repeated
    #[arg(short = 'r', long = "property", value_name = "KEY=VALUE", value_parser = pair)]
    properties: Vec<(String, String)>,
    /// Arguments for the executor; for command: the program and its arguments
    #[arg(value_name = "ARG", last = true)]
    arguments: Vec<String>,
    /// Replace an entry of this name
    #[arg(long)]
    replace: bool,
}

/// The flags of `catalog add`.
#[derive(Debug, Args)]
pub(crate) struct CatalogAddArgs {
    #[command(flatten)]
    add: AddArgs,
    /// Allow a version to change its content
    #[arg(long)]
    mutable: bool,
    /// Remove versions that vanished, once no deployment and no site refers to them
    #[arg(long)]
    prune: bool,
}

impl CatalogAddArgs {
    /// The same flags, with the executor derived from the URL, and the switches as properties.
    fn resolved(mut self) -> AddArgs {
        if self.add.executor.is_none() {
            let url = self.add.url.as_deref();
            let executor = url.and_then(tko_catalog::catalog_executor_of);
            self.add.executor = executor.map(str::to_owned);
        }
        for (name, is_set) in [("mutable", self.mutable), ("prune", self.prune)] {
            if is_set {
                let property = (name.to_owned(), "true".to_owned());
                self.add.properties.push(property);
            }
        }
        self.add
    }
}

/// The flags of `sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    #[command(flatten)]
    name: EntryName,
    /// Longest wait for the result; 0 requests the sync without waiting
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5m")]
    wait: Duration,
}

impl CatalogCommand {
    pub(crate) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let plugin_type = PluginType::Catalog;
        match self {
            Self::Add(add) => add.resolved().run(plugin_type, data, console).await,
            Self::List(listed) => list_entries(plugin_type, &listed, data, console).await,
            Self::Show(entry) => show(data, &entry.key(plugin_type)?, console).await,
            Self::Sync(sync) => sync.run(plugin_type, false, data, console).await,
            Self::Remove(entry) => entry.remove(plugin_type, data, console).await,
            // The caller starts it, because it needs no client.
            Self::Start(_) => anyhow::bail!("tko catalog start is not run here"),
        }
    }
}

impl InventoryCommand {
    pub(crate) async fn run(
        self,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let plugin_type = PluginType::Inventory;
        match self {
            Self::Add(add) => add.run(plugin_type, data, console).await,
            Self::List(listed) => list_entries(plugin_type, &listed, data, console).await,
            Self::Show(entry) => show(data, &entry.key(plugin_type)?, console).await,
            Self::Sync { sync, accept } => sync.run(plugin_type, accept, data, console).await,
            Self::Remove(entry) => entry.remove(plugin_type, data, console).await,
        }
    }
}

async fn list_entries(
    plugin_type: PluginType,
    listed: &ListArgs,
    data: &dyn DataApi,
    console: &mut Console<'_>,
) -> anyhow::Result<()> {
    let select = Select::all(Kind::Plugin).plugin_type(plugin_type);
    list(data, select, &listed.window, listed.state(), console).await
}

impl EntryName {
    fn key(&self, plugin_type: PluginType) -> Result<Key> {
        Ok(PluginId::new(plugin_type, &self.name)?.into())
    }

    async fn remove(
        &self,
        plugin_type: PluginType,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        // Adding it again restores everything, so no confirmation is needed.
        let args = RemovalArgs::default();
        removal::delete(data, &self.key(plugin_type)?, &args, console).await
    }
}

impl AddArgs {
    async fn run(
        self,
        plugin_type: PluginType,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let id = PluginId::new(plugin_type, &self.name)?;
        let Some(executor) = self.executor else {
            let why = match plugin_type {
                PluginType::Catalog => {
                    "the URL does not tell the kind of source; name it: directory, git, http or oci"
                }
                _ => {
                    "name the kind of source: directory, git, ansible, kubernetes, netbox or command"
                }
            };
            return Err(Error::bad("--executor", why).into());
        };
        let named = [
            ("url", self.url),
            ("interval", self.interval),
            ("path", self.path),
            ("id", self.id),
        ];
        let mut properties: std::collections::BTreeMap<String, String> =
            self.properties.into_iter().collect();
        for (name, value) in named {
            if let Some(value) = value {
                properties.insert(name.to_owned(), value);
            }
        }
        let expect = if self.replace {
            Expect::Any
        } else {
            Expect::Absent
        };
        let new = NewPlugin::new(id.clone(), executor)
            .arguments(self.arguments)
            .properties(properties)
            .expect(expect);
        match data.register_plugin(new).await {
            Err(Error::AlreadyExists(key)) => {
                return Err(anyhow::Error::from(Error::AlreadyExists(key))
                    .context("add --replace to replace it"));
            }
            added => added?,
        };
        console.done(&format!("added {plugin_type} {}", self.name));
        Ok(())
    }
}

impl SyncArgs {
    /// Asks for a sync and waits until a controller has answered.
    async fn run(
        self,
        plugin_type: PluginType,
        accept: bool,
        data: &dyn DataApi,
        console: &mut Console<'_>,
    ) -> anyhow::Result<()> {
        let key = self.name.key(plugin_type)?;
        let request = uuid::Uuid::now_v7().to_string();
        ask(data, &key, &request, accept).await?;
        if self.wait.is_zero() {
            console.done(&format!("asked for a sync of {key}"));
            return Ok(());
        }
        let message = || format!("waiting for the sync of {key}");
        let waiting = tokio::time::timeout(self.wait, answered(data, &key, &request));
        let Ok(entity) = console.during(message, waiting).await else {
            let why = format!(
                "no controller answered within {:?}; is tko up or tko catalog start running?",
                self.wait
            );
            return Err(Error::unavailable(format!("sync {key}"), why).into());
        };
        let entity = entity?;
        said(&entity, console)
    }
}

/// Writes the request into the entry.
async fn ask(data: &dyn DataApi, key: &Key, request: &str, accept: bool) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        let entity = data.get(key, Want::ROW).await?.entity;
        let mut given = entity.given.clone();
        given.insert(SYNC_REQUESTED, request);
        if accept {
            given.insert(SYNC_ACCEPTED, disappearance(&entity)?);
        }
        let update = EntityUpdate::new(key.clone(), entity.version).metadata(given);
        match data.update_entity(update).await {
            Err(Error::Conflict(_)) => {}
            updated => return Ok(updated.map(|_| ())?),
        }
    }
    Err(Error::Conflict(vec![key.clone()]).into())
}

/// The digest of the disappearance that stopped the last sync.
fn disappearance(entity: &Entity) -> Result<&str> {
    let digest = entity
        .condition(SYNCED)
        .filter(|condition| condition.reason == MASS_DISAPPEARANCE)
        .and_then(|condition| condition.message.rsplit_once("(disappearance "))
        .and_then(|(_, digest)| digest.strip_suffix(')'));
    digest.ok_or_else(|| {
        let why = format!("no disappearance of sites stopped {}", entity.key);
        Error::bad("--accept", why)
    })
}

/// Returns the entry once a controller has answered the request.
async fn answered(data: &dyn DataApi, key: &Key, request: &str) -> Result<std::sync::Arc<Entity>> {
    loop {
        let entity = data.get(key, Want::ROW).await?.entity;
        if is_answered(&entity.given, request) {
            return Ok(entity);
        }
        if entity.given.get(SYNC_REQUESTED).is_none() {
            // The entry was registered again, which removes requests.
            return Err(Error::Conflict(vec![key.clone()]));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a sync that began after the request has ended.
///
/// A later request replaces this one, and controllers answer only the latest.
fn is_answered(given: &Metadata, request: &str) -> bool {
    let (requested, done) = (given.get(SYNC_REQUESTED), given.get(SYNC_DONE));
    done == Some(request) || (requested.is_some_and(|other| other != request) && done == requested)
}

/// Prints the messages of the conditions; a failure is an error.
fn said(entity: &Entity, console: &Console<'_>) -> anyhow::Result<()> {
    for kind in [SYNCED, COMPLETE] {
        let Some(condition) = entity.condition(kind) else {
            continue;
        };
        if condition.status != Some(true) {
            anyhow::bail!(
                "{}: {}: {}",
                entity.key,
                condition.reason,
                condition.message
            );
        }
        console.done(&format!("{}: {}", entity.key, condition.message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_answered;
    use tko_catalog::provenance::{SYNC_DONE, SYNC_REQUESTED};
    use tko_core::Metadata;

    #[test]
    fn a_request_that_another_replaced_is_answered_with_it() {
        let given = |requested, done| {
            let pairs = [(SYNC_REQUESTED, requested), (SYNC_DONE, done)];
            Metadata::from_iter(pairs)
        };
        assert!(is_answered(&given("mine", "mine"), "mine"));
        assert!(is_answered(&given("theirs", "theirs"), "mine"));
        // Mine was answered before theirs was.
        assert!(is_answered(&given("theirs", "mine"), "mine"));
        for (requested, done) in [("mine", "before"), ("theirs", "before")] {
            assert!(!is_answered(&given(requested, done), "mine"), "{requested}");
        }
        assert!(!is_answered(&Metadata::default(), "mine"));
    }
}
