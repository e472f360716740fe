//! Functions in WebAssembly: modules for WASI preview 1, and components that are commands.
//!
//! A function reads a `ResourceList` from stdin and writes one to stdout, as a program does. It has no
//! file system, no network, no environment and no arguments; its memory and its time are limited.
//! The code is compiled once, kept on the disk, and instantiated for every call.

use crate::exec::{blocking, read_output, reported, within};
use crate::executor::Fetch;
use crate::failure::FunctionFailure;
use crate::function::{FunctionCall, KrmFunction};
use crate::resource_list::ResourceList;
use async_trait::async_trait;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tko_core::{Error, Result};
use tokio::runtime::Handle;

mod epoch;
mod guest;
mod host;
mod limiter;

use guest::{Guest, GuestLimits};
pub use host::WasmHost;

/// Maximum size of a module or component, in bytes.
const CODE: u64 = 64 << 20;

/// A function in WebAssembly.
pub struct WasmFunction {
    name: String,
    place: Arc<CodePlace>,
    host: Arc<WasmHost>,
    memory: usize,
    loaded: Mutex<Option<LoadedCode>>,
    /// Held while code is compiled, so that calls at the same time compile it once.
    loading: tokio::sync::Mutex<()>,
}

/// The location of the code.
enum CodePlace {
    File(PathBuf),
    Elsewhere(String, Fetch),
}

/// The state of a file: it changes when the file does. `None` for code from elsewhere.
type Stamp = Option<(u64, SystemTime)>;

/// Compiled code.
#[derive(Clone)]
struct LoadedCode {
    /// The state of its file when it was read.
    stamp: Stamp,
    guest: Arc<Guest>,
}

/// The end of a call.
enum Called {
    Ended {
        output: Result<ResourceList, FunctionFailure>,
        stderr: Bytes,
    },
    /// The file of the code has changed: this is the input.
    Stale(ResourceList),
}

/// Stops a call when its caller drops it.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl WasmFunction {
    /// A function whose code is at a path, or at another location if `fetch` is given.
    ///
    /// # Errors
    /// `NotImplemented`: the location is a URL, and there is no `fetch`.
    pub fn new(
        name: impl Into<String>,
        place: &str,
        fetch: Option<Fetch>,
        memory: usize,
        host: Arc<WasmHost>,
    ) -> Result<Self> {
        let is_path = !place.contains("://") && !place.starts_with("oci:");
        let place = match (is_path, fetch) {
            (true, _) => CodePlace::File(place.into()),
            (false, Some(fetch)) => CodePlace::Elsewhere(place.to_owned(), fetch),
            (false, None) => {
                let message = format!("functions from {place:?}; name a file of this machine");
                return Err(Error::NotImplemented(message.into()));
            }
        };
        Ok(Self {
            name: name.into(),
            place: Arc::new(place),
            host,
            memory,
            loaded: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
        })
    }

    /// The compiled code, which may be older than its file.
    fn known(&self) -> Option<LoadedCode> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.clone()
    }

    /// The compiled code. It is read again when its file has changed.
    async fn load(&self) -> Result<LoadedCode, FunctionFailure> {
        let unavailable = |problem: String| FunctionFailure::Unavailable {
            function: self.name.clone(),
            problem,
        };
        let _loading = self.loading.lock().await;
        let place = self.place.clone();
        let stamp = blocking(&self.name, move || place.stamp()).await?;
        let stamp = stamp.map_err(unavailable)?;
        if let Some(known) = self.known().filter(|known| known.stamp == stamp) {
            return Ok(known);
        }
        let code = match &*self.place {
            CodePlace::File(path) => tokio::fs::read(path)
                .await
                .map_err(|error| unavailable(format!("cannot read {}: {error}", path.display())))?,
            CodePlace::Elsewhere(place, fetch) => fetch(place.clone())
                .await
                .map_err(|error| unavailable(error.chain()))?,
        };
        let host = self.host.clone();
        let guest = blocking(&self.name, move || Guest::compile(&host, &code)).await?;
        let guest = Arc::new(guest.map_err(unavailable)?);
        let code = LoadedCode { stamp, guest };
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded = Some(code.clone());
        Ok(code)
    }

    /// Runs one call on a blocking thread: the function computes, and must not delay other work.
    ///
    /// It first waits for a slot, for at most the time limit of the call. All of the call runs on
    /// one thread, because switching threads costs more than most calls.
    async fn call(
        &self,
        code: LoadedCode,
        is_new: bool,
        list: ResourceList,
        call: &FunctionCall,
    ) -> Result<Called, FunctionFailure> {
        let slot = async {
            let permit = self.host.calls.clone().acquire_owned().await;
            Ok(permit.expect("the semaphore is never closed"))
        };
        let texts = ["got no slot for WebAssembly", "run more controllers"];
        let permit = within(&self.name, call.timeout, texts, slot).await?;
        let stop = StopOnDrop(Arc::default());
        let work = CallWork {
            name: self.name.clone(),
            place: self.place.clone(),
            host: self.host.clone(),
            code,
            is_new,
            stop: stop.0.clone(),
            limits: GuestLimits {
                time: call.timeout,
                memory: self.memory,
                output: call.output,
            },
        };
        let runtime = Handle::current();
        blocking(&self.name, move || {
            let called = work.run(list, &runtime);
            // Released only now, because the instance used its slot of the pool until now.
            drop(permit);
            called
        })
        .await
    }
}

/// One call.
struct CallWork {
    name: String,
    place: Arc<CodePlace>,
    host: Arc<WasmHost>,
    code: LoadedCode,
    /// Whether the code has just been loaded.
    is_new: bool,
    stop: Arc<AtomicBool>,
    limits: GuestLimits,
}

impl CallWork {
    fn run(self, mut list: ResourceList, runtime: &Handle) -> Called {
        if !self.is_new && self.place.stamp() != Ok(self.code.stamp) {
            return Called::Stale(list);
        }
        let sent = list.mark();
        // JSON is valid YAML, and much faster to read and write, but it has no comments.
        let input = if list.has_setters() {
            list.encode()
        } else {
            list.encode_json()
        };
        drop(list);
        let _running = match self.host.clock.start() {
            Ok(running) => running,
            Err(error) => {
                let failure = FunctionFailure::Unavailable {
                    function: self.name,
                    problem: format!("there is no thread for its clock: {error}"),
                };
                return Called::Ended {
                    output: Err(failure),
                    stderr: Bytes::new(),
                };
            }
        };
        let guest = &self.code.guest;
        let ended = guest.run(&self.name, input, self.limits, self.stop, runtime);
        let read = || read_output(&self.name, &ended.stdout, sent, self.limits.output);
        let output = match ended.failure {
            None => read(),
            Some(failure @ FunctionFailure::Limit { .. }) => Err(failure),
            Some(failure) => reported(read(), failure),
        };
        Called::Ended {
            output,
            stderr: ended.stderr,
        }
    }
}

impl CodePlace {
    /// The state of the file, or a clause that says why it cannot be determined. This costs one
    /// system call.
    fn stamp(&self) -> Result<Stamp, String> {
        match self {
            Self::File(path) => stamp(path).map(Some),
            Self::Elsewhere(..) => Ok(None),
        }
    }
}

fn stamp(path: &Path) -> Result<(u64, SystemTime), String> {
    let shown = path.display();
    let file = std::fs::metadata(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    if !file.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if file.len() > CODE {
        return Err(format!("{shown} has more than {CODE} bytes"));
    }
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok((file.len(), modified))
}

#[async_trait]
impl KrmFunction for WasmFunction {
    fn name(&self) -> &str {
        &self.name
    }

    async fn apply(
        &self,
        mut list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure> {
        let mut known = self.known();
        loop {
            let is_new = known.is_none();
            let code = if let Some(code) = known.take() {
                code
            } else {
                let texts = ["was not read and compiled", "check where its code is"];
                within(&self.name, call.timeout, texts, self.load()).await?
            };
            match self.call(code, is_new, list, call).await? {
                Called::Ended { output, stderr } => {
                    guest::log(&call.subject, &stderr);
                    return output;
                }
                Called::Stale(input) => list = input,
            }
        }
    }

    async fn identity(&self) -> Option<String> {
        let code = self.load().await.ok()?;
        Some(format!("wasm {}", code.guest.hash()))
    }
}

#[cfg(test)]
mod tests {
    use super::host::CALLS;
    use super::{WasmFunction, WasmHost};
    use crate::function::{FunctionCall, KrmFunction};
    use crate::resource_list::ResourceList;
    use std::sync::Arc;
    use std::time::Duration;
    use tko_plugin::log::LogSubject;

    /// Maximum time for a call to end after its time limit, even on a busy machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn a_call_that_gets_no_slot_is_an_error() {
        let host = Arc::new(WasmHost::new(None).expect("an engine"));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kpt/set-zone.wat");
        let function = WasmFunction::new("zone", path, None, 16 << 20, host.clone());
        let function = function.expect("a function");
        // Compiled first, because this has a time limit, too.
        function.identity().await.expect("its code is valid");
        host.calls.forget_permits(CALLS);
        let call = FunctionCall {
            subject: LogSubject::default(),
            timeout: Duration::from_millis(1),
            output: 1 << 20,
        };
        let applied = function.apply(ResourceList::default(), &call);
        let applied = tokio::time::timeout(PATIENCE, applied).await;
        let failure = applied.expect("it has a time limit").expect_err("no slot");
        assert_eq!(
            failure.to_string(),
            "function zone got no slot for WebAssembly within 0.001 s; run more controllers, or \
             raise its time limit"
        );
    }
}
