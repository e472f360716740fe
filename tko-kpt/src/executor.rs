//! The `kpt` executor: prepares resources with KRM functions.

use crate::container::{ContainerFunction, ContainerHost, ContainerRuntime};
use crate::exec::ExecFunction;
use crate::function::{KrmFunction, OUTPUT};
use crate::native::NativeFunction;
use crate::reference::FunctionReference;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{BoxFuture, Error, Executor, Key, PluginType, Preparer, Record, Result};

pub(crate) mod call;
mod plugin;

use plugin::KptPlugin;

/// Limits and permissions of functions.
#[derive(Clone)]
#[non_exhaustive]
pub struct KptSettings {
    /// Time limit of one call of one function, from when it has a process, or a slot for
    /// WebAssembly. To wait for either has the same limit, and so has reading and compiling
    /// WebAssembly. Default: 30 s.
    pub timeout: Duration,
    /// Maximum bytes of the output of one call; of a native function, of what it writes into
    /// resources. Default: 32 MiB.
    pub output: usize,
    /// Whether Kptfiles may run programs (`exec`). Default: no, because templates would then run
    /// anything with the rights of the controller. Plugins are always allowed to.
    pub kptfile_exec: bool,
    /// Memory of one call of a function in WebAssembly or in a container, in bytes. All memories of
    /// a module or component count together. Default: 256 MiB.
    pub memory: usize,
    /// The program that runs functions in images. Default: the first that works.
    pub containers: ContainerRuntime,
    /// The directory for compiled WebAssembly; `None` keeps it in memory only. Default: none.
    pub wasm_cache: Option<PathBuf>,
    /// Reads WebAssembly from URLs. Default: none, so only files are read.
    pub fetch: Option<Fetch>,
    /// Functions that run in place of images, by the name of the image with registry and path but
    /// without a tag. Images with a digest run as they are. Default: none.
    pub substitutes: BTreeMap<String, FunctionReference>,
}

/// Reads the bytes at a location that is not a path, such as a URL.
pub type Fetch = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Vec<u8>>> + Send + Sync>;

impl fmt::Debug for KptSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KptSettings")
            .field("timeout", &self.timeout)
            .field("output", &self.output)
            .field("kptfile_exec", &self.kptfile_exec)
            .field("memory", &self.memory)
            .field("containers", &self.containers)
            .field("wasm_cache", &self.wasm_cache)
            .field("substitutes", &self.substitutes)
            .finish_non_exhaustive()
    }
}

impl Default for KptSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            output: OUTPUT,
            kptfile_exec: false,
            memory: 256 << 20,
            containers: ContainerRuntime::Auto,
            wasm_cache: None,
            fetch: None,
            substitutes: BTreeMap::new(),
        }
    }
}

impl KptSettings {
    /// Sets the [time limit](Self::timeout) of one call.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the [maximum output](Self::output) of one call.
    #[must_use]
    pub fn with_output(mut self, bytes: usize) -> Self {
        self.output = bytes;
        self
    }

    /// Sets the [memory](Self::memory) of one function.
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// Sets the [container runtime](Self::containers).
    #[must_use]
    pub fn with_containers(mut self, containers: ContainerRuntime) -> Self {
        self.containers = containers;
        self
    }

    /// Sets the [directory for compiled WebAssembly](Self::wasm_cache).
    #[must_use]
    pub fn with_wasm_cache(mut self, directory: impl Into<Option<PathBuf>>) -> Self {
        self.wasm_cache = directory.into();
        self
    }

    /// Sets what [reads WebAssembly from URLs](Self::fetch).
    #[must_use]
    pub fn with_fetch(mut self, fetch: Fetch) -> Self {
        self.fetch = Some(fetch);
        self
    }

    /// Runs a function [in place](Self::substitutes) of an image, in plugins and in Kptfiles.
    ///
    /// # Errors
    /// `BadArgument`: `image` is not the name of an image, or has a tag or a digest.
    pub fn with_substitute(mut self, image: &str, function: FunctionReference) -> Result<Self> {
        let reference: FunctionReference = image.parse()?;
        let full = FunctionReference::full_image(image);
        let Some(name) = reference.image_name().filter(|name| *name == full) else {
            let message = format!("{image:?} is not the name of an image without tag and digest");
            return Err(Error::bad("image", message));
        };
        self.substitutes.insert(name, function);
        Ok(self)
    }

    /// Sets whether Kptfiles may [run programs](Self::kptfile_exec).
    #[must_use]
    pub fn with_kptfile_exec(mut self, is_allowed: bool) -> Self {
        self.kptfile_exec = is_allowed;
        self
    }
}

/// Creates preparers for plugins that name the executor `kpt`.
///
/// The plugin's argument is the function. Its properties are the inputs of the function, each with
/// the dotted path of its value in the resource that triggers the call.
#[derive(Clone, Debug)]
pub struct KptExecutor {
    settings: Arc<KptSettings>,
    containers: Arc<ContainerHost>,
    /// The host of WebAssembly, started with the first function that needs it.
    #[cfg(feature = "wasm")]
    wasm: Arc<std::sync::OnceLock<Arc<crate::wasm::WasmHost>>>,
}

impl KptExecutor {
    /// The name of the executor.
    pub const NAME: &'static str = "kpt";

    /// Creates an executor with these limits.
    pub fn new(settings: KptSettings) -> Self {
        Self {
            containers: Arc::new(ContainerHost::new(
                settings.containers.clone(),
                settings.memory,
            )),
            settings: Arc::new(settings),
            #[cfg(feature = "wasm")]
            wasm: Arc::default(),
        }
    }

    #[cfg(feature = "wasm")]
    fn wasm(&self, name: &str, place: &str) -> Result<Arc<dyn KrmFunction>> {
        let host = if let Some(host) = self.wasm.get() {
            host.clone()
        } else {
            let host = crate::wasm::WasmHost::new(self.settings.wasm_cache.as_deref())?;
            // If two start at the same time, one is kept.
            self.wasm.get_or_init(|| Arc::new(host)).clone()
        };
        let (fetch, memory) = (self.settings.fetch.clone(), self.settings.memory);
        let function = crate::wasm::WasmFunction::new(name, place, fetch, memory, host)?;
        Ok(Arc::new(function))
    }

    #[cfg(not(feature = "wasm"))]
    #[allow(clippy::unused_self)] // As with the feature.
    fn wasm(&self, name: &str, _place: &str) -> Result<Arc<dyn KrmFunction>> {
        let message = format!("function {name}: this program was built without WebAssembly");
        Err(Error::NotImplemented(message.into()))
    }

    /// The limits and permissions.
    pub(crate) fn settings(&self) -> &KptSettings {
        &self.settings
    }

    /// Makes a function of a pipeline.
    ///
    /// # Errors
    /// As [`function`](Self::function); also `Forbidden`: Kptfiles must not run programs here.
    pub(crate) fn pipeline_function(
        &self,
        reference: &FunctionReference,
    ) -> Result<Arc<dyn KrmFunction>> {
        let FunctionReference::Exec(command) = reference else {
            return self.function(reference, true);
        };
        if !self.settings.kptfile_exec {
            return Err(Error::Forbidden(format!(
                "the Kptfile runs the program {command:?}; start the preparer with \
                 --kptfile-exec, or use an image"
            )));
        }
        let mut words = command.split_whitespace().map(str::to_owned);
        let path = words.next().unwrap_or_default();
        Ok(Arc::new(ExecFunction::new(
            reference.to_string(),
            path,
            words.collect(),
        )))
    }

    /// Makes a function from its name.
    ///
    /// # Errors
    /// - `BadArgument`: it does not name a function.
    /// - `NotImplemented`: functions of this kind cannot run here.
    pub fn function(
        &self,
        reference: &FunctionReference,
        native: bool,
    ) -> Result<Arc<dyn KrmFunction>> {
        let own = native.then(|| reference.as_native()).flatten();
        let name = reference.image_name();
        let substitute = name.and_then(|name| self.settings.substitutes.get(&name));
        match substitute.or(own.as_ref()).unwrap_or(reference) {
            FunctionReference::Native { name, version } => {
                Ok(Arc::new(NativeFunction::new(name, *version)?))
            }
            FunctionReference::Exec(path) => {
                let name = reference.to_string();
                Ok(Arc::new(ExecFunction::new(name, path, Vec::new())))
            }
            FunctionReference::Wasm(place) => self.wasm(&reference.to_string(), place),
            FunctionReference::Image(image) => {
                let containers = self.containers.clone();
                Ok(Arc::new(ContainerFunction::new(image, containers)))
            }
        }
    }
}

impl Executor for KptExecutor {
    #[allow(clippy::unnecessary_literal_bound)] // The trait's signature.
    fn name(&self) -> &str {
        Self::NAME
    }

    fn preparer(&self, record: &Record) -> Result<Arc<dyn Preparer>> {
        let (Key::Plugin(id), Some(plugin)) = (&record.entity.key, record.entity.plugin()) else {
            let message = format!("{} is not a plugin", record.entity.key);
            return Err(Error::bad("plugin", message));
        };
        if id.plugin_type() != PluginType::Prepare {
            let message = format!(
                "{id} is of type {}; the kpt executor runs only prepare plugins",
                id.plugin_type()
            );
            return Err(Error::NotImplemented(message.into()));
        }
        let [function] = &plugin.arguments[..] else {
            let message = "the kpt executor needs exactly one: the function, as an image, \
                           exec:PATH, wasm:PATH or native:NAME";
            return Err(Error::bad("arguments", message));
        };
        let reference: FunctionReference = function.parse()?;
        let mut native = true;
        let mut cached = true;
        let mut inputs = BTreeMap::new();
        let mut includes_deployment = false;
        for (name, value) in &plugin.properties {
            let flag = || match value.as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(Error::bad(
                    "properties",
                    format!("{name} is {other:?}; expected true or false"),
                )),
            };
            match name.as_str() {
                "_cache" => cached = flag()?,
                "_native" => native = flag()?,
                "_deployment" => includes_deployment = flag()?,
                reserved if reserved.starts_with('_') => {
                    let message = format!(
                        "unknown property {reserved:?} for the kpt executor; expected _cache, _deployment or _native"
                    );
                    return Err(Error::bad("properties", message));
                }
                _ => {
                    let path: Vec<String> = value.split('.').map(str::to_owned).collect();
                    if path.iter().any(String::is_empty) {
                        let message = format!(
                            "{name} is {value:?}; expected a dotted path in the triggering \
                             resource, such as spec.namespace"
                        );
                        return Err(Error::bad("properties", message));
                    }
                    inputs.insert(name.clone(), path);
                }
            }
        }
        Ok(Arc::new(KptPlugin {
            id: id.to_string(),
            function: self.function(&reference, native)?,
            inputs,
            includes_deployment,
            cached,
            settings: self.settings.clone(),
        }))
    }
}
