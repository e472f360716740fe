//! `TOSCA`: makes Template, Site, Sites and Placement resources from a service template.
//!
//! `spec.url` names the service template: a URL, a path on the preparer's machine, or
//! `git:REPOSITORY[#REVISION]!PATH`. It is a YAML file or a CSAR. `spec.inputs` sets its inputs.
//!
//! Node templates of the types `nephio::Template`, `nephio::Site` and `nephio::Sites`, and of types
//! derived from them, become resources; others are ignored. See [`mapping`] for the rules. All
//! resources are merged into the package, so that preparation continues with them.

pub mod mapping;

use super::field;
use super::resources::{finished, target};
use async_trait::async_trait;
use serde_json::Map;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tko_core::{Answer, Error, PrepareCall, Preparer, Result, merge};
use tko_source::{Source, SourceReader};
use tko_tosca::{Csar, CsarError, Problem, ProblemLevel, Topology, ToscaLimits};

/// Maximum number of problems in the condition of a deployment; the others are counted.
const MOST_PROBLEMS: usize = 10;

/// Prepares `TOSCA`; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct ToscaPreparer {
    reader: SourceReader,
    limits: ToscaLimits,
}

impl ToscaPreparer {
    /// A preparer with default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads service templates with this reader, and therefore with its limits and credentials.
    #[must_use]
    pub fn with_reader(mut self, reader: SourceReader) -> Self {
        self.reader = reader;
        self
    }

    /// Checks service templates within these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ToscaLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Opens the service template at a URL or path.
    async fn open(&self, source: Source) -> Result<Csar> {
        let limits = self.limits;
        if let Some(path) = source.local_path() {
            let path = path.to_path_buf();
            return blocking(move || Csar::open(&path, &limits).map_err(|e| unreadable(&e))).await;
        }
        if source.is_place() {
            let bytes = self.reader.file(&source).await?;
            let name = source.to_string();
            return blocking(move || {
                if Csar::is_zip(&bytes) {
                    return Csar::from_zip(&bytes, &limits).map_err(|error| unreadable(&error));
                }
                let text = String::from_utf8(bytes)
                    .map_err(|_| Error::bad("spec.url", format!("{name} is not UTF-8 text")))?;
                let file = name.rsplit('/').next().unwrap_or(&name);
                Ok(Csar::from_text(file, &text))
            })
            .await;
        }
        let mut files = BTreeMap::new();
        for file in self.reader.files(&source).await? {
            let text = String::from_utf8(file.bytes)
                .map_err(|_| Error::bad("spec.url", format!("{} is not UTF-8 text", file.name)))?;
            files.insert(file.name, text);
        }
        Csar::from_files(files).map_err(|error| unreadable(&error))
    }
}

#[async_trait]
impl Preparer for ToscaPreparer {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let tosca = target(&call)?;
        let url = field::text(field::spec(tosca, "url"), "spec.url")?
            .ok_or_else(|| Error::bad("spec.url", "missing: it names the service template"))?;
        let inputs = match field::spec(tosca, "inputs") {
            Some(inputs) => field::map(inputs, "spec.inputs")?.clone(),
            None => Map::new(),
        };
        let csar = self.open(url.parse()?).await?;
        let limits = self.limits;
        let stop = StopReadingOnDrop::default();
        let cancelled = Arc::clone(&stop.0);
        let topology: Topology = blocking(move || {
            tko_tosca::read_cancellable(&csar, &inputs, &limits, &cancelled)
                .map_err(|problems| invalid(&problems))
        })
        .await?;
        for warning in &topology.warnings {
            let deployment = call.deployment.entity.key.id();
            tracing::warn!(deployment, %warning, "TOSCA topology has a warning");
        }
        let resources = mapping::package(&topology)?;
        let package = merge::merge(call.package, &resources)?;
        Ok(Answer::Done {
            package: finished(&package, tosca, Map::new())?,
            effects: Vec::new(),
        })
    }
}

/// Sets its flag when it is dropped, as with a call that timed out. The blocking thread that reads
/// for the call cannot be aborted, but reads the flag: each retry would leave another one behind.
#[derive(Default)]
struct StopReadingOnDrop(Arc<AtomicBool>);

impl Drop for StopReadingOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("read a TOSCA service template", error))?
}

fn unreadable(error: &CsarError) -> Error {
    Error::bad("spec.url", error.to_string())
}

/// The errors of a service template, one per line.
fn invalid(problems: &[Problem]) -> Error {
    let errors = || problems.iter().filter(|p| p.level == ProblemLevel::Error);
    let mut lines: Vec<String> = errors()
        .take(MOST_PROBLEMS)
        .map(ToString::to_string)
        .collect();
    let more = errors().count() - lines.len();
    if more > 0 {
        lines.push(format!("and {more} more; see `tko tosca check`"));
    }
    Error::bad("spec.url", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::StopReadingOnDrop;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[tokio::test]
    async fn reading_stops_when_nobody_waits_for_it() {
        let stop = StopReadingOnDrop::default();
        let cancelled = Arc::clone(&stop.0);
        let call = async move {
            let _stop = stop;
            std::future::pending::<()>().await;
        };
        assert!(!cancelled.load(Ordering::Relaxed));
        // The deadline is over at once.
        let deadline = std::time::Duration::ZERO;
        assert!(tokio::time::timeout(deadline, call).await.is_err());
        assert!(cancelled.load(Ordering::Relaxed));
    }
}
