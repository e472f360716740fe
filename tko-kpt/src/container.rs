//! Functions in container images: one container per call.
//!
//! A container has no network, no rights, and limits on memory, processes and time. It is removed
//! when the call ends, in whatever way.

use crate::exec::run_program;
use crate::failure::FunctionFailure;
use crate::function::{FunctionCall, KrmFunction};
use crate::reference::FunctionReference;
use crate::resource_list::ResourceList;
use async_trait::async_trait;
use std::hash::{BuildHasher, RandomState};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tko_plugin::process::Program;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// Maximum time for a runtime to report that it works.
const PROBE: Duration = Duration::from_secs(10);
/// Minimum time between a search that found no runtime and the next one.
const PAUSE: Duration = Duration::from_secs(10);
/// Maximum time to remove a leftover container.
const REMOVE: Duration = Duration::from_secs(30);
/// Maximum number of processes and threads of one container.
const PROCESSES: &str = "256";

/// The program that runs containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContainerRuntime {
    /// The first of podman, docker and kpt that works.
    #[default]
    Auto,
    /// A program with the commands of podman and docker: its name or path.
    Program(String),
    /// The command line of kpt: its name or path.
    Kpt(String),
    /// No runtime: functions in images fail.
    Off,
}

/// Chooses the runtime.
#[derive(Debug, Default)]
pub(crate) struct ContainerHost {
    wanted: ContainerRuntime,
    found: FoundRuntime,
    memory: usize,
}

/// The runtime of this machine, once one was found.
#[derive(Debug, Default)]
struct FoundRuntime {
    found: OnceCell<ContainerRuntime>,
    /// The end of the last search that found none.
    failed: Mutex<Option<Instant>>,
}

/// A function in a container image.
#[derive(Debug)]
pub(crate) struct ContainerFunction {
    image: String,
    host: Arc<ContainerHost>,
}

impl ContainerHost {
    pub(crate) fn new(wanted: ContainerRuntime, memory: usize) -> Self {
        Self {
            wanted,
            found: FoundRuntime::default(),
            memory,
        }
    }

    async fn runtime(&self) -> Option<&ContainerRuntime> {
        match &self.wanted {
            ContainerRuntime::Auto => self.found.get(find).await,
            ContainerRuntime::Off => None,
            wanted => Some(wanted),
        }
    }
}

impl FoundRuntime {
    /// The runtime; `find` searches for it if none was found yet.
    ///
    /// Only a runtime is kept, because one may be installed or started later. A search that fails
    /// can take long, so the next one follows after a pause.
    async fn get<F: Future<Output = Option<ContainerRuntime>>>(
        &self,
        find: impl FnOnce() -> F,
    ) -> Option<&ContainerRuntime> {
        let found = self.found.get_or_try_init(|| async {
            // Calls that waited for a search that failed come here one after the other.
            if self.is_pausing() {
                return Err(());
            }
            let found = find().await;
            if found.is_none() {
                self.pause();
            }
            found.ok_or(())
        });
        found.await.ok()
    }

    fn is_pausing(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < PAUSE)
    }

    fn pause(&self) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = Some(Instant::now());
    }
}

async fn find() -> Option<ContainerRuntime> {
    for program in ["podman", "docker"] {
        if works(program, &["info"]).await {
            return Some(ContainerRuntime::Program(program.to_owned()));
        }
    }
    // kpt itself needs a runtime, which may be one that this crate does not know.
    let has_runtime = works("nerdctl", &["info"]).await;
    let has_kpt = has_runtime && works("kpt", &["version"]).await;
    has_kpt.then(|| ContainerRuntime::Kpt("kpt".to_owned()))
}

async fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let status = tokio::time::timeout(PROBE, command.status()).await;
    matches!(status, Ok(Ok(status)) if status.success())
}

impl ContainerFunction {
    pub(crate) fn new(image: &str, host: Arc<ContainerHost>) -> Self {
        Self {
            image: FunctionReference::full_image(image),
            host,
        }
    }

    async fn in_container(
        &self,
        program: &str,
        list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure> {
        let container = Container::new(program);
        let memory = format!("{}b", self.host.memory);
        let arguments = [
            "run",
            "--rm",
            "--interactive",
            "--name",
            &container.name,
            "--network=none",
            "--user=nobody",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--read-only",
            "--tmpfs=/tmp",
            "--memory",
            &memory,
            "--pids-limit",
            PROCESSES,
            &self.image,
        ];
        let program = Program {
            path: program.to_owned(),
            arguments: arguments.map(str::to_owned).to_vec(),
        };
        let output = run_program(&self.image, &program, list, call).await;
        if output.is_ok() {
            container.forget();
        }
        output
    }

    async fn by_kpt(
        &self,
        program: &str,
        mut list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure> {
        let here = |error: std::io::Error| FunctionFailure::Unavailable {
            function: self.image.clone(),
            problem: format!("cannot write its configuration: {error}"),
        };
        let mut arguments: Vec<String> = ["fn", "eval", "-", "--truncate-output=false", "--image"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(self.image.clone());
        let folder = tempfile::Builder::new()
            .prefix("tko-kpt-")
            .tempdir()
            .map_err(here)?;
        if let Some(config) = list.function_config.take() {
            let path = folder.path().join("config.yaml");
            let yaml = tko_core::encoding::encode([&config], tko_core::Format::Yaml);
            tokio::fs::write(&path, yaml).await.map_err(here)?;
            arguments.push("--fn-config".to_owned());
            arguments.push(path.display().to_string());
        }
        let program = Program {
            path: program.to_owned(),
            arguments,
        };
        run_program(&self.image, &program, list, call).await
    }
}

#[async_trait]
impl KrmFunction for ContainerFunction {
    fn name(&self) -> &str {
        &self.image
    }

    async fn apply(
        &self,
        list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure> {
        match self.host.runtime().await {
            Some(ContainerRuntime::Program(program)) => {
                self.in_container(program, list, call).await
            }
            Some(ContainerRuntime::Kpt(program)) => self.by_kpt(program, list, call).await,
            Some(ContainerRuntime::Auto | ContainerRuntime::Off) | None => {
                Err(FunctionFailure::Unavailable {
                    function: self.image.clone(),
                    problem: without_runtime(&self.image),
                })
            }
        }
    }

    async fn identity(&self) -> Option<String> {
        // A tag such as latest moves.
        let last = self.image.rsplit('/').next().unwrap_or_default();
        let tag = last.split_once(':').map_or("latest", |(_, tag)| tag);
        let moves = !last.contains('@') && ["latest", "unstable"].contains(&tag);
        (!moves).then(|| format!("image {}", self.image))
    }
}

/// The error without a container runtime, with the remedy.
fn without_runtime(image: &str) -> String {
    let name = FunctionReference::Image(image.to_owned()).image_name();
    let name = name.as_deref().unwrap_or("IMAGE");
    let module = if name.ends_with("/starlark") {
        "; examples/kpt/starlark has the module of this function"
    } else {
        ""
    };
    format!(
        "it is an image, and there is no container runtime here; install and start podman or \
         docker, or run a function in WebAssembly in its place (--function \
         {name}=wasm:PATH{module}), or use a native function (tko fn --list prints their names) \
         or exec:PATH"
    )
}

/// A container that is removed when its call ends early.
struct Container {
    program: String,
    name: String,
    is_left: bool,
}

impl Container {
    fn new(program: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // A number is not enough: another process of the same id, in a container itself, may use the
        // same runtime.
        let random = RandomState::new().hash_one(number);
        Self {
            program: program.to_owned(),
            name: format!("tko-function-{}-{number}-{random:016x}", std::process::id()),
            is_left: true,
        }
    }

    /// The container has ended by itself, and its runtime removed it.
    fn forget(mut self) {
        self.is_left = false;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_left {
            return;
        }
        let mut command = Command::new(&self.program);
        command
            .args(["rm", "--force", &self.name])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let name = self.name.clone();
        runtime.spawn(async move {
            let removed = tokio::time::timeout(REMOVE, command.status()).await;
            if !matches!(removed, Ok(Ok(_))) {
                tracing::warn!(
                    container = name,
                    "cannot remove the container of a function"
                );
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{ContainerRuntime, FoundRuntime, PAUSE};
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_is_started_later_is_found_and_kept() {
        let runtime = FoundRuntime::default();
        let searches = AtomicUsize::new(0);
        let search = |found: Option<&ContainerRuntime>| {
            searches.fetch_add(1, Ordering::Relaxed);
            ready(found.cloned())
        };
        let podman = ContainerRuntime::Program("podman".to_owned());
        assert_eq!(runtime.get(|| search(None)).await, None);
        // The first search has just failed.
        assert_eq!(runtime.get(|| search(Some(&podman))).await, None);
        tokio::time::advance(PAUSE).await;
        for found in [Some(&podman), None] {
            assert_eq!(runtime.get(|| search(found)).await, Some(&podman));
        }
        assert_eq!(searches.into_inner(), 2);
    }
}
