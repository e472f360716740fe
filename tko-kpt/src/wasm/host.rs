//! The engine that compiles and runs functions.

use std::fmt;
use std::path::Path;
use tko_core::{Error, Result};
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Cache, CacheConfig, Config, Engine, Linker, StoreLimits};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView, p2};

/// Bytes of the stack of a function.
const STACK: usize = 1 << 20;

/// An engine for functions in WebAssembly, which all of them share.
pub struct WasmHost {
    pub(super) engine: Engine,
    pub(super) modules: Linker<ModuleState>,
    pub(super) components: ComponentLinker<ComponentState>,
}

/// The host's side of an instance of a module.
pub(super) struct ModuleState {
    pub(super) wasi: WasiP1Ctx,
    pub(super) limits: StoreLimits,
}

/// The host's side of an instance of a component.
pub(super) struct ComponentState {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limits: StoreLimits,
}

impl WasiView for ComponentState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasmHost {
    /// An engine that keeps compiled code in this directory, or only in memory.
    ///
    /// # Errors
    /// `Internal`: the machine cannot run WebAssembly, or the directory cannot be used.
    pub fn new(cache: Option<&Path>) -> Result<Self> {
        Self::build(cache).map_err(|error| {
            Error::internal("start the engine for WebAssembly", format!("{error:#}"))
        })
    }

    fn build(cache: Option<&Path>) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).max_wasm_stack(STACK);
        if let Some(directory) = cache {
            let mut settings = CacheConfig::new();
            settings.with_directory(directory);
            config.cache(Some(Cache::new(settings)?));
        }
        let engine = Engine::new(&config)?;
        let mut modules = Linker::new(&engine);
        p1::add_to_linker_async(&mut modules, |state: &mut ModuleState| &mut state.wasi)?;
        let mut components = ComponentLinker::new(&engine);
        p2::add_to_linker_async(&mut components)?;
        Ok(Self {
            engine,
            modules,
            components,
        })
    }
}

impl fmt::Debug for WasmHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmHost").finish_non_exhaustive()
    }
}
