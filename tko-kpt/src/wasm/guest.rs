//! Compiled functions and their calls.

use super::host::{ComponentState, ModuleState, TABLE, WasmHost};
use super::limiter::{GuestLimiter, MEMORY_REFUSED, TABLE_REFUSED};
use crate::failure::FunctionFailure;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tko_plugin::log::LogSubject;
use tko_plugin::stderr::{Tail, printable};
use tokio::runtime::Handle;
use wasmtime::component::Component;
use wasmtime::{Engine, InstancePre, Module, Store, Trap, UpdateDeadline};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{I32Exit, ResourceTable, WasiCtxBuilder};

/// Maximum bytes of stderr of one call.
const STDERR: usize = 1 << 20;
/// Maximum lines of stderr that are logged for one call.
const LINES: usize = 1_000;

/// A compiled function.
pub(super) struct Guest {
    engine: Engine,
    code: Code,
    hash: String,
}

enum Code {
    Module(InstancePre<ModuleState>),
    Component(CommandPre<ComponentState>),
}

/// Limits of one call.
#[derive(Clone, Copy)]
pub(super) struct GuestLimits {
    pub(super) time: Duration,
    /// Bytes of all memories together.
    pub(super) memory: usize,
    /// Bytes of stdout.
    pub(super) output: usize,
}

/// The output of a call.
pub(super) struct GuestOutput {
    /// Stdout; empty if the function neither returned nor exited by itself.
    pub(super) stdout: Bytes,
    pub(super) stderr: Bytes,
    pub(super) failure: Option<FunctionFailure>,
}

/// The end of a call.
struct Ended {
    result: wasmtime::Result<()>,
    is_late: bool,
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

impl Guest {
    /// Compiles a module or a component; text or binary.
    ///
    /// # Errors
    /// A clause that says that the code is invalid, cannot be loaded, or needs something that
    /// functions do not get.
    pub(super) fn compile(host: &WasmHost, code: &[u8]) -> Result<Self, String> {
        let missing = |error: wasmtime::Error| {
            format!(
                "it needs imports that functions do not get: {}; only WASI is available, without files \
                 and network",
                brief(&error)
            )
        };
        let (engine, compiled) = if is_component(code) {
            let compiled = host.compile(|engine| Component::new(engine, code));
            let (engine, component) = compiled.map_err(|error| unusable(&error))?;
            let linked = engine.components.instantiate_pre(&component);
            let linked = linked.and_then(CommandPre::new).map_err(missing)?;
            (engine, Code::Component(linked))
        } else {
            let compiled = host.compile(|engine| Module::new(engine, code));
            let (engine, module) = compiled.map_err(|error| unusable(&error))?;
            if module.get_export("_start").is_none() {
                return Err("it has no export _start; build it as a command for WASI".to_owned());
            }
            let linked = engine.modules.instantiate_pre(&module).map_err(missing)?;
            (engine, Code::Module(linked))
        };
        Ok(Self {
            engine: engine.engine.clone(),
            code: compiled,
            hash: blake3::hash(code).to_hex().to_string(),
        })
    }

    /// The hash of the code.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Runs the function in a new instance and in this thread, which must be one for blocking work
    /// of `runtime`.
    pub(super) fn run(
        &self,
        name: &str,
        input: Vec<u8>,
        limits: GuestLimits,
        stop: Arc<AtomicBool>,
        runtime: &Handle,
    ) -> GuestOutput {
        let ended = runtime.block_on(self.call(input, limits, stop));
        let stderr = ended.stderr.contents();
        let (stdout, failure) = match &ended.result {
            Ok(()) => (ended.stdout.contents(), None),
            Err(error) => {
                let mut tail = Tail::default();
                tail.push(&stderr);
                let failure = failure(name, error, &ended, limits, &tail);
                // The output before a trap may be incomplete.
                let has_exited = error.downcast_ref::<I32Exit>().is_some();
                let stdout = has_exited.then(|| ended.stdout.contents());
                (stdout.unwrap_or_default(), Some(failure))
            }
        };
        GuestOutput {
            stdout,
            stderr,
            failure,
        }
    }

    async fn call(&self, input: Vec<u8>, limits: GuestLimits, stop: Arc<AtomicBool>) -> Ended {
        let stdout = MemoryOutputPipe::new(limits.output);
        let stderr = MemoryOutputPipe::new(STDERR);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdin(MemoryInputPipe::new(input))
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .arg("function")
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .socket_addr_check(|_, _| Box::pin(async { false }));
        let until = Instant::now() + limits.time;
        let bounds = GuestLimiter::new(limits.memory);
        // The epoch interrupts computation; the timeout interrupts waiting in the host.
        let result = match &self.code {
            Code::Module(module) => {
                let state = ModuleState {
                    wasi: wasi.build_p1(),
                    limits: bounds,
                };
                let mut store = Store::new(&self.engine, state);
                store.limiter(|state| &mut state.limits);
                interrupt(&mut store, stop, until);
                tokio::time::timeout_at(until.into(), run_module(module, &mut store)).await
            }
            Code::Component(component) => {
                let state = ComponentState {
                    wasi: wasi.build(),
                    table: ResourceTable::new(),
                    limits: bounds,
                };
                let mut store = Store::new(&self.engine, state);
                store.limiter(|state| &mut state.limits);
                interrupt(&mut store, stop, until);
                tokio::time::timeout_at(until.into(), run_component(component, &mut store)).await
            }
        };
        Ended {
            is_late: result.is_err() || Instant::now() >= until,
            result: result.unwrap_or_else(|_| Err(Trap::Interrupt.into())),
            stdout,
            stderr,
        }
    }
}

/// Ends a store's computation when its time is over or its call was dropped.
fn interrupt<T: 'static>(store: &mut Store<T>, stop: Arc<AtomicBool>, until: Instant) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        // The epoch advances for all calls.
        let is_over = stop.load(Ordering::Relaxed) || Instant::now() >= until;
        Ok(if is_over {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        })
    });
}

async fn run_module(
    module: &InstancePre<ModuleState>,
    store: &mut Store<ModuleState>,
) -> wasmtime::Result<()> {
    let instance = module.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    exited(start.call_async(store, ()).await)
}

async fn run_component(
    component: &CommandPre<ComponentState>,
    store: &mut Store<ComponentState>,
) -> wasmtime::Result<()> {
    let command = component.instantiate_async(&mut *store).await?;
    let ran = command.wasi_cli_run().call_run(store).await;
    match ran {
        Ok(Ok(())) => Ok(()),
        Ok(Err(())) => Err(I32Exit(1).into()),
        Err(error) => exited(Err(error)),
    }
}

/// An exit with code 0 is a success.
fn exited(result: wasmtime::Result<()>) -> wasmtime::Result<()> {
    match result {
        Err(error)
            if error
                .downcast_ref::<I32Exit>()
                .is_some_and(|exit| exit.0 == 0) =>
        {
            Ok(())
        }
        result => result,
    }
}

fn failure(
    name: &str,
    error: &wasmtime::Error,
    ended: &Ended,
    limits: GuestLimits,
    stderr: &Tail,
) -> FunctionFailure {
    let function = name.to_owned();
    if ended.is_late {
        let seconds = limits.time.as_secs_f64();
        let problem = format!(
            "did not finish within {seconds} s and was stopped; make it faster or raise its time \
             limit; {stderr}"
        );
        return FunctionFailure::Limit { function, problem };
    }
    if ended.stdout.contents().len() >= limits.output {
        let most = limits.output;
        let problem = format!("printed more than {most} bytes to stdout; print only the list");
        return FunctionFailure::Limit { function, problem };
    }
    let text = format!("{error:#}");
    if text.contains(TABLE_REFUSED) {
        let problem =
            format!("needs tables of more than {TABLE} elements and was stopped; {stderr}");
        return FunctionFailure::Limit { function, problem };
    }
    if text.contains(MEMORY_REFUSED) || text.contains("memory minimum size") {
        let most = limits.memory;
        let problem = format!("needs more than {most} bytes of memory and was stopped; {stderr}");
        return FunctionFailure::Limit { function, problem };
    }
    let problem = match error.downcast_ref::<I32Exit>() {
        Some(exit) => format!("it exited with code {}; {stderr}", exit.0),
        None => format!("{}; {stderr}", brief(error)),
    };
    FunctionFailure::Crashed { function, problem }
}

/// A clause that says why code cannot be compiled and loaded.
fn unusable(error: &wasmtime::Error) -> String {
    let cause = brief(error);
    // Errors of the operating system say nothing about the code.
    if !cause.contains("os error ") {
        return format!("its code is invalid: {cause}");
    }
    format!(
        "its compiled code cannot be loaded: {cause}; it needs memory that becomes executable, \
         which MemoryDenyWriteExecute= in a unit of systemd denies"
    )
}

/// The innermost cause of an error, without the backtrace.
fn brief(error: &wasmtime::Error) -> String {
    let text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

fn is_component(code: &[u8]) -> bool {
    match code {
        [b'\0', b'a', b's', b'm', version @ ..] => version.get(2..4) == Some(&[1, 0]),
        text => without_comments(text).starts_with(b"(component"),
    }
}

/// The text of a module from its first parenthesis on that begins no comment.
fn without_comments(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let end: &[u8] = match text {
            [b';', b';', ..] => b"\n",
            [b'(', b';', ..] => b";)",
            _ => return text,
        };
        let found = text.windows(end.len()).position(|window| window == end);
        text = found.map_or(&[], |at| &text[at + end.len()..]);
    }
}

/// Logs the lines of stderr of a call.
pub(super) fn log(subject: &LogSubject, stderr: &[u8]) {
    let LogSubject {
        plugin,
        deployment,
        resource,
        ..
    } = subject;
    let lines = stderr.split(|byte| *byte == b'\n');
    for line in lines
        .filter(|line| !line.trim_ascii().is_empty())
        .take(LINES)
    {
        tracing::info!(
            plugin,
            deployment,
            resource,
            stream = "stderr",
            "{}",
            printable(line)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{is_component, unusable};
    use std::io;

    #[test]
    fn memory_that_may_not_be_executable_does_not_make_code_invalid() {
        let denied = wasmtime::Error::from(io::Error::from_raw_os_error(13));
        let said = unusable(&denied.context("unable to make memory executable"));
        assert!(
            said.contains("cannot be loaded: Permission denied"),
            "{said}"
        );
        assert!(said.contains("MemoryDenyWriteExecute"), "{said}");
        let said = unusable(&wasmtime::Error::msg("unexpected end"));
        assert_eq!(said, "its code is invalid: unexpected end");
    }

    #[test]
    fn components_are_known_by_their_header_or_first_word() {
        assert!(is_component(b"\0asm\x0d\0\x01\0"));
        assert!(!is_component(b"\0asm\x01\0\0\0"));
        assert!(is_component(b";; one\n (; two\n;) (component)"));
        assert!(!is_component(b";; (component\n(module)"));
        assert!(!is_component(b"(; never ends"));
        assert!(!is_component(b"\0asm"));
    }
}
