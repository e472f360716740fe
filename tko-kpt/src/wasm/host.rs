//! The engines that compile and run functions.
//!
//! Instances of ordinary code take their memory and their stack from a pool, which is mapped once.
//! Mapping and unmapping them for every call would cost more than the call. Code that needs more
//! than a slot of the pool offers, such as several memories, runs in an engine without a pool.

use super::epoch::{EpochClock, IDLE};
use super::limiter::GuestLimiter;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tko_core::{Error, Result};
use tokio::sync::Semaphore;
use wasmtime::component::Linker as ComponentLinker;
use wasmtime::{Cache, CacheConfig, Config, Enabled, Engine, Linker, PoolingAllocationConfig};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView, p2};

/// Bytes of the stack of a function.
const STACK: usize = 1 << 20;
/// Maximum number of calls at the same time; further calls wait. Each slot of the pool takes 4 GiB
/// of address space.
pub(super) const CALLS: usize = 64;
/// Number of slots that keep memory while no call uses them.
const WARM: u32 = 8;
/// Bytes of memory that a slot keeps. The rest is released when its call ends.
const KEPT: usize = 1 << 20;
/// Bytes of a table that a slot keeps.
const KEPT_TABLE: usize = 64 << 10;
/// Maximum elements of all tables of one call together.
pub(super) const TABLE: usize = 1 << 20;
/// Maximum number of tables of one call in the pool.
const TABLES: u32 = 4;
/// Maximum number of instances of one call in the pool: a component has several.
const INSTANCES: u32 = 8;

/// The engines for functions in WebAssembly, which all of them share.
pub struct WasmHost {
    /// `None` if the address space is limited.
    pool: Option<GuestEngine>,
    plain: GuestEngine,
    pub(super) calls: Arc<Semaphore>,
    pub(super) clock: Arc<EpochClock>,
}

/// An engine, with the imports that functions may use in it.
pub(super) struct GuestEngine {
    pub(super) engine: Engine,
    pub(super) modules: Linker<ModuleState>,
    pub(super) components: ComponentLinker<ComponentState>,
}

/// The host's side of an instance of a module.
pub(super) struct ModuleState {
    pub(super) wasi: WasiP1Ctx,
    pub(super) limits: GuestLimiter,
}

/// The host's side of an instance of a component.
pub(super) struct ComponentState {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) limits: GuestLimiter,
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
        config
            .epoch_interruption(true)
            .max_wasm_stack(STACK)
            .concurrency_support(false);
        if let Some(directory) = cache {
            let mut settings = CacheConfig::new();
            settings.with_directory(directory);
            config.cache(Some(Cache::new(settings)?));
        }
        let plain = GuestEngine::new(&config)?;
        config.allocation_strategy(pool());
        let pool = GuestEngine::new(&config)
            .inspect_err(|error| {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "calls of WebAssembly are slower: no address space for a pool"
                );
            })
            .ok();
        let engines = pool.iter().chain([&plain]);
        let engines = engines.map(|engine| engine.engine.clone()).collect();
        Ok(Self {
            pool,
            plain,
            calls: Arc::new(Semaphore::new(CALLS)),
            clock: Arc::new(EpochClock::new(engines, IDLE)),
        })
    }

    /// Compiles code in the engine with the pool, or in the other engine if a slot of the pool is
    /// too small.
    ///
    /// # Errors
    /// The code is invalid, or the operating system refuses memory for it.
    pub(super) fn compile<T>(
        &self,
        compile: impl Fn(&Engine) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<(&GuestEngine, T)> {
        if let Some(pool) = &self.pool
            && let Ok(code) = compile(&pool.engine)
        {
            return Ok((pool, code));
        }
        Ok((&self.plain, compile(&self.plain.engine)?))
    }
}

fn pool() -> PoolingAllocationConfig {
    let calls = u32::try_from(CALLS).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_stacks(calls)
        .total_memories(calls)
        .total_tables(calls * TABLES)
        .total_core_instances(calls * INSTANCES)
        .total_component_instances(calls)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .max_core_instances_per_component(INSTANCES)
        .table_elements(TABLE)
        .max_unused_warm_slots(WARM)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT_TABLE)
        .pagemap_scan(Enabled::Auto);
    pool
}

impl GuestEngine {
    fn new(config: &Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
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
