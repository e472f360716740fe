//! Functions that are programs: one process per call.

use crate::failure::FunctionFailure;
use crate::function::{FunctionCall, KrmFunction};
use crate::resource_list::ResourceList;
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tko_core::Limits;
use tko_plugin::channel::Channel;
use tko_plugin::environment;
use tko_plugin::process::{self, Bounds, Program};
use tko_plugin::{Failure, LogChannel};

/// Environment variables that configure container engines, in addition to those that every plugin
/// inherits.
const CONTAINER_VARIABLES: [&str; 3] = ["CONTAINER*", "DOCKER_*", "PODMAN_*"];

/// Time between SIGTERM and SIGKILL once the time limit has passed.
const GRACE: Duration = Duration::from_secs(1);
/// Maximum bytes of stderr that are logged for one call.
const LOG: usize = 1 << 20;

/// A function that is a program, which reads a `ResourceList` from stdin and writes one to stdout.
#[derive(Clone, Debug)]
pub struct ExecFunction {
    name: String,
    program: Program,
}

impl ExecFunction {
    /// A function that runs this program with these arguments; no shell interprets them.
    pub fn new(name: impl Into<String>, path: impl Into<String>, arguments: Vec<String>) -> Self {
        Self {
            name: name.into(),
            program: Program {
                path: path.into(),
                arguments,
            },
        }
    }
}

#[async_trait]
impl KrmFunction for ExecFunction {
    fn name(&self) -> &str {
        &self.name
    }

    async fn apply(
        &self,
        list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure> {
        run_program(&self.name, &self.program, list, call).await
    }

    async fn identity(&self) -> Option<String> {
        // An argument may name a file, such as the script of an interpreter, whose content is code.
        if !self.program.arguments.is_empty() {
            return None;
        }
        let path = self.program.path.clone();
        let content = tokio::task::spawn_blocking(move || content_of(&path)).await;
        Some(format!("exec {:?} {}", self.program.path, content.ok()??))
    }
}

/// Maximum number of programs whose content is remembered.
const MOST_PROGRAMS: usize = 256;

/// The content of a program that was read, with the size and time that it had then.
type KnownProgram = (u64, SystemTime, String);

/// The hash of a program's content. The file is read again when its size or time has changed.
///
/// The hash is of the content because results may be shared among machines, where files of the same
/// size and time can differ.
fn content_of(path: &str) -> Option<String> {
    static KNOWN: Mutex<BTreeMap<String, KnownProgram>> = Mutex::new(BTreeMap::new());
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    // Opening a pipe, and reading a device, may never end.
    let found = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    let (size, modified) = (found.len(), found.modified().ok()?);
    if let Some((known_size, known_time, content)) = known().get(path)
        && (*known_size, *known_time) == (size, modified)
    {
        return Some(content.clone());
    }
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path).ok()?, &mut hasher).ok()?;
    let content = hasher.finalize().to_hex().to_string();
    let mut known = known();
    if known.len() >= MOST_PROGRAMS {
        known.clear();
    }
    known.insert(path.to_owned(), (size, modified, content.clone()));
    Some(content)
}

/// Runs a program on a list.
///
/// # Errors
/// The program failed, or its output is not a `ResourceList`. Functions that report results of
/// severity error usually exit with a code other than 0: this is not a failure here.
pub(crate) async fn run_program(
    name: &str,
    program: &Program,
    mut list: ResourceList,
    call: &FunctionCall,
) -> Result<ResourceList, FunctionFailure> {
    let failed = |source| FunctionFailure::Program {
        function: name.to_owned(),
        source,
    };
    let sent = list.mark();
    let place = process::place(&program.path, call.timeout).await;
    let _place = place.map_err(failed)?;
    let document = blocking(name, move || list.encode()).await?;
    let channel = Channel::open(LogChannel::Fifo)
        .await
        .map_err(Failure::here("open a channel for its log lines"))
        .map_err(failed)?;
    let bounds = Bounds {
        timeout: call.timeout,
        grace: GRACE,
        output: call.output,
        log: LOG,
    };
    let inherited = CONTAINER_VARIABLES.map(str::to_owned);
    let command = environment::command(program, None, &inherited);
    let subject = &call.subject;
    let ended = process::run_to_exit(program, command, &document, &bounds, channel, subject).await;
    let (code, output) = ended.map_err(failed)?;
    let (function, most, stdout) = (name.to_owned(), call.output, output.stdout);
    let list = blocking(name, move || read_output(&function, &stdout, sent, most)).await?;
    if code == 0 {
        return list;
    }
    let failure = failed(Failure::Exit {
        program: program.path.clone(),
        code,
        stderr: output.stderr,
    });
    reported(list, failure)
}

/// The output of a function that failed, if its results say why. Otherwise the failure.
///
/// # Errors
/// The failure: the output is invalid, or has no result of severity error.
pub(crate) fn reported(
    output: Result<ResourceList, FunctionFailure>,
    failure: FunctionFailure,
) -> Result<ResourceList, FunctionFailure> {
    match output {
        Ok(list) if list.has_errors() => Ok(list),
        _ => Err(failure),
    }
}

/// Reads the output of a function and takes the marks off, which had the origins that were sent.
pub(crate) fn read_output(
    name: &str,
    bytes: &[u8],
    sent: BTreeSet<usize>,
    most: usize,
) -> Result<ResourceList, FunctionFailure> {
    let limits = Limits::new().bytes(most);
    let decoded = ResourceList::decode(bytes, &limits);
    let mut list = decoded.map_err(|error| FunctionFailure::Output {
        function: name.to_owned(),
        problem: match error {
            tko_core::Error::BadArgument { message, .. } => message,
            other => other.chain(),
        },
    })?;
    list.unmark(sent);
    Ok(list)
}

/// Waits for work, but not for longer than `timeout`. `problem` says what did not happen in time,
/// and `advice` what to do.
///
/// # Errors
/// That of the work; also [`FunctionFailure::Limit`]: it took too long. What it had started on a
/// blocking thread then ends by itself.
pub(crate) async fn within<T>(
    name: &str,
    timeout: Duration,
    [problem, advice]: [&str; 2],
    work: impl Future<Output = Result<T, FunctionFailure>>,
) -> Result<T, FunctionFailure> {
    let Ok(done) = tokio::time::timeout(timeout, work).await else {
        let seconds = timeout.as_secs_f64();
        return Err(FunctionFailure::Limit {
            function: name.to_owned(),
            problem: format!("{problem} within {seconds} s; {advice}, or raise its time limit"),
        });
    };
    done
}

/// Runs work that takes much processor time on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FunctionFailure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| FunctionFailure::Crashed {
        function: name.to_owned(),
        problem: error.to_string(),
    })
}
