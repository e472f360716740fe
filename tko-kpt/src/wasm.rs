//! Functions in WebAssembly: modules for WASI preview 1, and components that are commands.
//!
//! A function reads a `ResourceList` from stdin and writes one to stdout, as a program does. It has no
//! file system, no network, no environment and no arguments; its memory and its time are limited.
//! The code is compiled once, kept on the disk, and instantiated for every call.

use crate::exec::{blocking, decode_output};
use crate::executor::Fetch;
use crate::failure::FunctionFailure;
use crate::function::{FunctionCall, KrmFunction};
use crate::resource_list::ResourceList;
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tko_core::{Error, Result};
use tokio::sync::Mutex;

mod guest;
mod host;

use guest::{Guest, GuestLimits};
pub use host::WasmHost;

/// Maximum size of a module or component, in bytes.
const CODE: u64 = 64 << 20;

/// A function in WebAssembly.
pub struct WasmFunction {
    name: String,
    place: CodePlace,
    host: Arc<WasmHost>,
    memory: usize,
    /// The compiled code, and the state of its file when it was read.
    loaded: Mutex<Option<(Stamp, Arc<Guest>)>>,
}

/// Where the code is.
enum CodePlace {
    File(PathBuf),
    Elsewhere(String, Fetch),
}

/// The state of a file: it changes when the file does.
type Stamp = Option<(u64, SystemTime)>;

impl WasmFunction {
    /// A function whose code is at a path, or at another place if `fetch` is given.
    ///
    /// # Errors
    /// `NotImplemented`: the place is a URL, and there is no `fetch`.
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
            place,
            host,
            memory,
            loaded: Mutex::default(),
        })
    }

    /// The compiled code. It is read again when its file has changed.
    async fn guest(&self) -> Result<Arc<Guest>, FunctionFailure> {
        let unavailable = |problem: String| FunctionFailure::Unavailable {
            function: self.name.clone(),
            problem,
        };
        let stamp = match &self.place {
            CodePlace::File(path) => stamp(path).await.map_err(unavailable)?,
            CodePlace::Elsewhere(..) => None,
        };
        let mut loaded = self.loaded.lock().await;
        if let Some((known, guest)) = &*loaded
            && *known == stamp
        {
            return Ok(guest.clone());
        }
        let code = match &self.place {
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
        *loaded = Some((stamp, guest.clone()));
        Ok(guest)
    }
}

async fn stamp(path: &Path) -> Result<Stamp, String> {
    let shown = path.display();
    let file = tokio::fs::metadata(path)
        .await
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if !file.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if file.len() > CODE {
        return Err(format!("{shown} has more than {CODE} bytes"));
    }
    let modified = file.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok(Some((file.len(), modified)))
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
        let guest = self.guest().await?;
        let inputs = list.origins();
        list.mark();
        // JSON is YAML, and read and written much faster; but it has no comments.
        let input = blocking(&self.name, move || {
            if list.has_setters() {
                list.encode()
            } else {
                list.encode_json()
            }
        });
        let limits = GuestLimits {
            time: call.timeout,
            memory: self.memory,
            output: call.output,
        };
        let output = guest
            .run(&self.name, input.await?, limits, &call.subject)
            .await?;
        decode_output(&self.name, output, inputs, call.output).await
    }

    async fn identity(&self) -> Option<String> {
        let guest = self.guest().await.ok()?;
        Some(format!("wasm {}", guest.hash()))
    }
}
