//! Handlers by the kind of resource that triggers them: native ones and plugins.
//!
//! A registry publishes an immutable table, which is replaced completely when a plugin changes. A
//! call keeps the table with which it started.
//!
//! Terms:
//!
//! - A *handler* prepares, schedules or validates. It is native, or made from a plugin.
//! - A *native* handler is part of the program. It is added when the registry is built, and stays.
//! - A *trigger* is the kind of resource for which a handler is called.
//!
//! [`Registry`] holds the handlers of one type. [`PluginFeed`] reads the plugins of a data service
//! and keeps the registry up to date with them. [`made_by`] makes a handler of one plugin.
//!
//! If that fails, the table contains the reason instead. So a resource that needs the plugin fails
//! visibly, and is not treated as if no plugin were registered.
//!
//! ```
//! use std::sync::Arc;
//! use tko_core::{Answer, Gvk, PrepareCall, Preparer, Registry, Result, async_trait};
//!
//! struct Touch;
//!
//! #[async_trait]
//! impl Preparer for Touch {
//!     async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
//!         Ok(Answer::Done {
//!             package: call.package.clone(),
//!             effects: Vec::new(),
//!         })
//!     }
//! }
//!
//! let gvk = Gvk::new("example.org", "v1", "Touch");
//! let registry = Registry::new().preparer(gvk.clone(), "touch", Arc::new(Touch));
//! assert_eq!(&*registry.table().of(&gvk)[0].name, "touch");
//! ```

use crate::api::{DataApi, Event, Watch};
use crate::clock::Clock;
use crate::entity::{Record, Want};
use crate::error::{Error, Result};
use crate::handler::{Executor, Preparer, Scheduler, Validator};
use crate::id::{Key, Kind, PluginType};
use crate::resource::Gvk;
use crate::retry::Retry;
use crate::revision::Revision;
use crate::select::{List, MAX_PAGE, Select};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

/// A handler with the name by which people know it.
///
/// Clones share the handler.
#[non_exhaustive]
pub struct Handler<T: ?Sized> {
    /// The id of a plugin, or the name that the assembly gave to a native handler.
    pub name: Arc<str>,
    /// The handler, or the reason why it cannot be made, such as an unknown executor.
    pub handler: Result<Arc<T>, Arc<str>>,
}

impl<T: ?Sized> Handler<T> {
    /// A handler that works.
    pub fn new(name: impl Into<Arc<str>>, handler: Arc<T>) -> Self {
        Self {
            name: name.into(),
            handler: Ok(handler),
        }
    }

    /// A handler that cannot be made, with the reason.
    pub fn unavailable(name: impl Into<Arc<str>>, reason: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            handler: Err(reason.into()),
        }
    }
}

/// Written by hand, because a derived one would require that `T` is `Clone`.
impl<T: ?Sized> Clone for Handler<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            handler: self.handler.clone(),
        }
    }
}

/// The handlers of a registry at one moment.
///
/// A table never changes: a change of plugins makes a new one.
pub struct Table<T: ?Sized> {
    /// The handlers of each trigger: native ones, then plugins.
    by_gvk: HashMap<Gvk, Vec<Handler<T>>>,
    /// The native handlers without a trigger, in the order in which they were added.
    everywhere: Vec<Handler<T>>,
}

impl<T: ?Sized> Table<T> {
    /// The handlers that this kind of resource triggers: native ones first, then plugins in the
    /// order of their ids.
    ///
    /// Native handlers have the order in which they were added. Group, version and kind must all
    /// match. Handlers that are called for everything are not repeated here.
    pub fn of(&self, gvk: &Gvk) -> &[Handler<T>] {
        self.by_gvk.get(gvk).map_or(&[], Vec::as_slice)
    }

    /// The handlers without a trigger, which are called for everything.
    ///
    /// All of them are native: a plugin without triggers is never called.
    pub fn everywhere(&self) -> &[Handler<T>] {
        &self.everywhere
    }
}

/// The handlers of one type, such as `Registry<dyn Preparer>`.
///
/// Share it as an `Arc`: plugins are replaced through `&self`, while others read the table.
pub struct Registry<T: ?Sized> {
    /// The native handlers with their triggers; `None` is called for everything.
    native: Vec<(Option<Gvk>, Handler<T>)>,
    /// The table that is published now. The lock is held only to copy or replace the pointer.
    table: RwLock<Arc<Table<T>>>,
}

impl<T: ?Sized> Default for Registry<T> {
    fn default() -> Self {
        Self {
            native: Vec::new(),
            table: RwLock::new(Arc::new(Table {
                by_gvk: HashMap::new(),
                everywhere: Vec::new(),
            })),
        }
    }
}

impl<T: ?Sized> Registry<T> {
    /// Creates a registry without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a native handler that this kind of resource triggers.
    ///
    /// Call it once for each kind of resource that triggers the handler. It drops all plugins, so
    /// add native handlers before plugins are set.
    #[must_use]
    pub fn with(mut self, gvk: Gvk, name: &str, handler: Arc<T>) -> Self {
        self.native.push((Some(gvk), Handler::new(name, handler)));
        self.set_plugins(std::iter::empty());
        self
    }

    /// Adds a native handler that is called for everything.
    ///
    /// Like [`with`](Self::with), it drops all plugins.
    #[must_use]
    pub fn with_everywhere(mut self, name: &str, handler: Arc<T>) -> Self {
        self.native.push((None, Handler::new(name, handler)));
        self.set_plugins(std::iter::empty());
        self
    }

    /// Returns the current handlers.
    ///
    /// A call with several lookups takes the table once: a second table may have other plugins.
    pub fn table(&self) -> Arc<Table<T>> {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces all plugins; each comes with its triggers.
    ///
    /// Native handlers stay, and come first. Plugins follow in the given order, so pass them in the
    /// order of their ids. A trigger that a plugin names twice counts once.
    pub fn set_plugins(&self, plugins: impl IntoIterator<Item = (Vec<Gvk>, Handler<T>)>) {
        let mut table = Table {
            by_gvk: HashMap::new(),
            everywhere: Vec::new(),
        };
        for (gvk, handler) in &self.native {
            match gvk {
                Some(gvk) => table
                    .by_gvk
                    .entry(gvk.clone())
                    .or_default()
                    .push(handler.clone()),
                None => table.everywhere.push(handler.clone()),
            }
        }
        for (triggers, handler) in plugins {
            for gvk in triggers.into_iter().collect::<BTreeSet<_>>() {
                table.by_gvk.entry(gvk).or_default().push(handler.clone());
            }
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}

impl Registry<dyn Preparer> {
    /// Adds a native preparer of this kind of resource.
    #[must_use]
    pub fn preparer(self, gvk: Gvk, name: &str, preparer: Arc<impl Preparer>) -> Self {
        self.with(gvk, name, preparer)
    }
}

impl Registry<dyn Validator> {
    /// Adds a native validator of this kind of resource.
    #[must_use]
    pub fn validator(self, gvk: Gvk, name: &str, validator: Arc<impl Validator>) -> Self {
        self.with(gvk, name, validator)
    }
}

impl Registry<dyn Scheduler> {
    /// Adds a native scheduler, called for sites with this kind of resource.
    #[must_use]
    pub fn scheduler(self, gvk: Gvk, name: &str, scheduler: Arc<impl Scheduler>) -> Self {
        self.with(gvk, name, scheduler)
    }

    /// Adds a native scheduler, called for every site.
    #[must_use]
    pub fn scheduler_everywhere(self, name: &str, scheduler: Arc<impl Scheduler>) -> Self {
        self.with_everywhere(name, scheduler)
    }
}

/// Keeps the plugins of a registry up to date: [`load`](Self::load) them before work begins, then
/// [`follow`](Self::follow) their changes in a separate task.
pub struct PluginFeed<'a, T: ?Sized> {
    /// The service that has the plugins.
    data: &'a dyn DataApi,
    /// The type of the plugins that are followed; others are ignored.
    plugin_type: PluginType,
    /// The registry that is kept up to date.
    registry: &'a Registry<T>,
    /// Makes a handler of a plugin.
    make: &'a (dyn Fn(&Record) -> Result<Arc<T>> + Send + Sync),
    /// All plugins of the type as last read, with their triggers, by key.
    known: BTreeMap<Key, (Vec<Gvk>, Handler<T>)>,
    /// The revision up to which `known` is complete; the watch continues behind it.
    at: Revision,
}

impl<'a, T: ?Sized> PluginFeed<'a, T> {
    /// Reads all plugins of this type and registers the handlers that `make` makes from them. If
    /// `make` fails, the plugin is registered with the reason.
    ///
    /// # Errors
    /// As [`DataApi::list`].
    pub async fn load(
        data: &'a dyn DataApi,
        plugin_type: PluginType,
        registry: &'a Registry<T>,
        make: &'a (dyn Fn(&Record) -> Result<Arc<T>> + Send + Sync),
    ) -> Result<Self> {
        let mut feed = Self {
            data,
            plugin_type,
            registry,
            make,
            known: BTreeMap::new(),
            at: Revision::default(),
        };
        feed.read().await?;
        Ok(feed)
    }

    /// Follows changes of plugins until it is dropped.
    ///
    /// Calls `changed` after each change with the old and new triggers of the plugin.
    ///
    /// The registry has the change when `changed` is called. A trigger may be passed twice, if the
    /// old and the new plugin both have it.
    ///
    /// A watch that ends or fails is started again after the pauses of [`Retry`], which start over
    /// when an event arrives. If the feed has [`Expired`](Error::Expired), all plugins are read
    /// again, and `changed` gets the triggers of all, because any may have changed.
    ///
    /// # Errors
    /// Only a [permanent](crate::retry::is_permanent) error.
    pub async fn follow(
        mut self,
        clock: Arc<dyn Clock>,
        mut changed: impl FnMut(&[Gvk]),
    ) -> Result<Infallible> {
        let mut retry = Retry::new(clock);
        let action = format!("follow {} plugins", self.plugin_type);
        loop {
            let ended = match self.watch(&mut changed, &mut retry).await {
                Err(Error::Expired { .. }) => self.read_again(&mut changed).await,
                ended => ended,
            };
            match ended {
                Ok(()) => retry.pause_before_reopening().await,
                Err(error) => retry.pause(&action, error).await?,
            }
        }
    }

    /// The selection of all plugins of the type.
    fn select(&self) -> Select {
        Select {
            plugin_type: Some(self.plugin_type),
            ..Select::all(Kind::Plugin)
        }
    }

    /// Reads all plugins and publishes them; on failure, everything stays unchanged.
    ///
    /// The pages may differ in their instants. So the position becomes the revision of the first
    /// page: the watch then repeats changes during the listing, which does no harm.
    async fn read(&mut self) -> Result<()> {
        let mut known = BTreeMap::new();
        let mut list = List {
            select: self.select(),
            after: None,
            limit: MAX_PAGE,
            want: Want::ROW,
        };
        let mut first = None;
        loop {
            let page = self.data.list(&list).await?;
            first.get_or_insert(page.revision);
            for record in &page.items {
                known.insert(record.entity.key.clone(), self.entry(record));
            }
            list.after = page.next;
            if list.after.is_none() {
                break;
            }
        }
        self.at = first.unwrap_or_default();
        self.known = known;
        self.publish();
        Ok(())
    }

    /// Reads all plugins after changes were missed. Calls `changed` with the triggers of all plugins
    /// before and now.
    async fn read_again(&mut self, changed: &mut impl FnMut(&[Gvk])) -> Result<()> {
        let mut triggers = self.triggers();
        self.read().await?;
        triggers.extend(self.triggers());
        let triggers: Vec<Gvk> = triggers.into_iter().collect();
        if !triggers.is_empty() {
            changed(&triggers);
        }
        Ok(())
    }

    /// The triggers of all known plugins.
    fn triggers(&self) -> BTreeSet<Gvk> {
        let known = self.known.values();
        known.flat_map(|(triggers, _)| triggers.clone()).collect()
    }

    /// Applies the events of one watch until it ends. Each event resets `retry`.
    ///
    /// The position moves with every event, also a bookmark, so that a later watch repeats nothing.
    async fn watch(&mut self, changed: &mut impl FnMut(&[Gvk]), retry: &mut Retry) -> Result<()> {
        let mut events = self.data.watch(Watch::new(self.select(), self.at));
        while let Some(event) = events.next().await {
            let event = event?;
            retry.reset();
            self.at = event.revision();
            let (key, new) = match event {
                Event::Put { record, .. } => (record.entity.key.clone(), Some(self.entry(&record))),
                Event::Gone { before, .. } => (before.entity.key.clone(), None),
                Event::Bookmark { .. } => continue,
            };
            let mut triggers: Vec<Gvk> = new.iter().flat_map(|(t, _)| t.clone()).collect();
            let old = match new {
                Some(new) => self.known.insert(key, new),
                None => self.known.remove(&key),
            };
            triggers.extend(old.into_iter().flat_map(|(t, _)| t));
            self.publish();
            changed(&triggers);
        }
        Ok(())
    }

    /// The triggers of a plugin, and its handler or the reason why it cannot be made.
    ///
    /// The record has no package, and plugins need none.
    fn entry(&self, record: &Record) -> (Vec<Gvk>, Handler<T>) {
        let triggers = record
            .entity
            .plugin()
            .map(|plugin| plugin.triggers.clone())
            .unwrap_or_default();
        let handler = (self.make)(record).map_err(|error| error.chain().into());
        let name = record.entity.key.id().into();
        (triggers, Handler { name, handler })
    }

    /// Sets the known plugins in the registry, in the order of their ids.
    fn publish(&self) {
        self.registry.set_plugins(self.known.values().cloned());
    }
}

/// Makes a handler from a plugin, with the executor that the plugin names.
///
/// `make` calls the method of the executor for the wanted type, such as [`Executor::preparer`]. If
/// several executors have the same name, the first is used.
///
/// # Errors
/// - `NotImplemented`: no executor has this name; lists those that exist.
/// - Any error of the executor.
pub fn made_by<T: ?Sized>(
    executors: &[Arc<dyn Executor>],
    plugin: &Record,
    make: impl Fn(&dyn Executor, &Record) -> Result<Arc<T>>,
) -> Result<Arc<T>> {
    let wanted = plugin.entity.plugin().map_or("", |p| p.executor.as_str());
    if let Some(executor) = executors.iter().find(|e| e.name() == wanted) {
        return make(&**executor, plugin);
    }
    let known: Vec<&str> = executors.iter().map(|e| e.name()).collect();
    let message = format!(
        "executor {wanted:?} of {}; known here: {}",
        plugin.entity.key,
        known.join(", ")
    );
    Err(Error::NotImplemented(message.into()))
}
