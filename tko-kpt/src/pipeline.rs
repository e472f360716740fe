//! The preparer of Kptfiles: runs their pipelines as `kpt fn render` does.
//!
//! A package within a package is rendered first, and its resources are part of the outer package.
//! Which resource is in which package is known from the annotation of its file; a resource without
//! one is in the outermost package.

use crate::annotations;
use crate::executor::KptExecutor;
use crate::executor::call::{check_identity, items, marked, package};
use crate::failure::FunctionFailure;
use crate::function::{FunctionCall, run};
use crate::kptfile::{API_VERSION, KIND, Pipeline, PipelineStep, StepConfig};
use crate::resource_list::{Item, ResourceList};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tko_core::annotation::FILE;
use tko_core::{
    Answer, ContentHash, Error, Gvk, Identifier, PrepareCall, Preparer, Registry, Resource, Result,
    deployment_resource,
};
use tko_plugin::log::LogSubject;

/// The annotation of a Kptfile that switches the cache of results off, if it is `false`.
pub const CACHE: &str = "kpt.nephio.org/cache";

/// Prepares Kptfiles.
#[derive(Clone, Debug)]
pub struct KptfilePreparer {
    executor: KptExecutor,
}

impl KptfilePreparer {
    /// The name that conditions show.
    pub const NAME: &'static str = "kptfile";

    /// A preparer that runs functions by this executor.
    pub fn new(executor: KptExecutor) -> Self {
        Self { executor }
    }

    /// Adds the preparer to a registry.
    #[must_use]
    pub fn add_to(self, registry: Registry<dyn Preparer>) -> Registry<dyn Preparer> {
        registry.with(Gvk::of(API_VERSION, KIND), Self::NAME, Arc::new(self))
    }

    /// The identity of all functions of a pipeline; `None` if that of one is not known.
    async fn identity(&self, pipeline: &Pipeline) -> Option<ContentHash> {
        let mut identities = Vec::new();
        for step in pipeline.mutators.iter().chain(&pipeline.validators) {
            let function = self.executor.pipeline_function(&step.function).ok()?;
            identities.push(Value::String(function.identity().await?));
        }
        Some(ContentHash::of(&Value::Array(identities)))
    }
}

#[async_trait]
impl Preparer for KptfilePreparer {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let target = call.package.find(call.target).ok_or_else(|| {
            Error::bad("resource", format!("{} is not in the package", call.target))
        })?;
        let pipeline = Pipeline::read(target.value())?;
        let folder = folder(target);
        if let Some(inner) = inner(&call, folder) {
            return Ok(Answer::NotYet {
                reason: format!("{inner} is in a package within this one, and is prepared first"),
                waits_for: Vec::new(),
            });
        }
        let done = |package| Answer::Done {
            package,
            effects: Vec::new(),
        };
        if pipeline.is_empty() {
            return Ok(done(marked(call.package.clone(), call.target)?));
        }
        let is_outside = |resource: &Resource| !is_inside(resource, folder);
        let all = items(call.package, false).into_iter();
        let items: Vec<Item> = all
            .filter(|item| {
                let at = item.origin.unwrap_or_default();
                !is_outside(&call.package.resources()[at])
            })
            .collect();
        let mut run = PipelineRun {
            executor: &self.executor,
            subject: LogSubject {
                plugin: Self::NAME.to_owned(),
                deployment: Some(call.deployment.entity.key.id().to_owned()),
                site: None,
                resource: Some(call.target.to_string()),
            },
            folder,
            configs: configs(&items),
            next: call.package.len(),
            items,
        };
        run.all(&pipeline).await?;
        let mut items = run.items;
        let failed = |error: Error| {
            Error::unavailable(format!("run the pipeline of {}", call.target), error)
        };
        let origin = call
            .package
            .iter()
            .position(|r| r.identifier() == call.target);
        check_identity(&items, origin, call.target).map_err(failed)?;
        for item in &mut items {
            // Numbers beyond the package belong to items that functions added.
            item.origin = item.origin.filter(|at| *at < call.package.len());
        }
        let own = deployment_resource::identifier();
        let withheld = |resource: &Resource| *resource.gvk() == own.gvk || is_outside(resource);
        let package = package(call.package, items, withheld).map_err(failed)?;
        Ok(done(marked(package, call.target)?))
    }

    async fn pure_identity(&self, call: &PrepareCall<'_>) -> Option<ContentHash> {
        let target = call.package.find(call.target)?;
        if target.annotation(CACHE).as_deref() == Some("false") {
            return None;
        }
        self.identity(&Pipeline::read(target.value()).ok()?).await
    }
}

/// The folder of a Kptfile, relative to the outermost package: empty, or with a slash at the end.
fn folder(kptfile: &Resource) -> &str {
    let path = annotations::get(kptfile.value(), FILE).unwrap_or_default();
    path.rfind('/').map_or("", |end| &path[..=end])
}

fn is_inside(resource: &Resource, folder: &str) -> bool {
    let path = annotations::get(resource.value(), FILE).unwrap_or_default();
    path.starts_with(folder)
}

/// A Kptfile in a folder below this one that is still to be prepared.
fn inner<'a>(call: &'a PrepareCall<'_>, own: &str) -> Option<&'a Identifier> {
    call.pending.iter().find(|pending| {
        pending.gvk == call.target.gvk
            && *pending != call.target
            && call.package.find(pending).is_some_and(|kptfile| {
                let other = folder(kptfile);
                other.len() > own.len() && other.starts_with(own)
            })
    })
}

/// The resources of files with one resource, as they are before the pipeline runs.
fn configs(items: &[Item]) -> HashMap<String, Vec<Value>> {
    let mut configs: HashMap<String, Vec<Value>> = HashMap::new();
    for item in items {
        if let Some(path) = annotations::get(&item.value, FILE) {
            configs
                .entry(path.to_owned())
                .or_default()
                .push(item.value.clone());
        }
    }
    configs
}

/// A pipeline that runs.
struct PipelineRun<'a> {
    executor: &'a KptExecutor,
    subject: LogSubject,
    folder: &'a str,
    configs: HashMap<String, Vec<Value>>,
    items: Vec<Item>,
    /// The next number for an item that a function adds.
    next: usize,
}

impl PipelineRun<'_> {
    async fn all(&mut self, pipeline: &Pipeline) -> Result<()> {
        for (at, step) in pipeline.mutators.iter().enumerate() {
            let (selected, output) = self.step(step, "mutator", at).await?;
            self.merge(&selected, output);
        }
        for (at, step) in pipeline.validators.iter().enumerate() {
            self.step(step, "validator", at).await?;
        }
        Ok(())
    }

    /// Runs one function; returns the numbers of the items that it got, and its output.
    async fn step(
        &self,
        step: &PipelineStep,
        role: &str,
        at: usize,
    ) -> Result<(Vec<usize>, Vec<Item>)> {
        let failed = |source: tko_core::BoxError| {
            let what = format!("run {role} {} ({}) of the pipeline", at + 1, step.name);
            Error::unavailable(what, source)
        };
        let function = self.executor.pipeline_function(&step.function);
        let function = function.map_err(|error| failed(error.into()))?;
        let items: Vec<Item> = self
            .items
            .iter()
            .filter(|item| step.selects(&item.value))
            .cloned()
            .collect();
        let selected = items.iter().filter_map(|item| item.origin).collect();
        let list = ResourceList {
            items,
            function_config: self.config(step).map_err(|error| failed(error.into()))?,
            results: Vec::new(),
        };
        let call = FunctionCall {
            subject: self.subject.clone(),
            timeout: self.executor.settings().timeout,
            output: self.executor.settings().output,
        };
        let list = run(&function, list, &call).await;
        let list = list.map_err(|failure: FunctionFailure| failed(failure.into()))?;
        Ok((selected, list.items))
    }

    fn config(&self, step: &PipelineStep) -> Result<Option<Value>> {
        match &step.config {
            StepConfig::None => Ok(None),
            StepConfig::Map(data) => Ok(Some(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "function-input"},
                "data": data,
            }))),
            StepConfig::File(path) => {
                let path = format!("{}{path}", self.folder);
                match self.configs.get(&path).map(Vec::as_slice) {
                    Some([config]) => Ok(Some(config.clone())),
                    Some(several) => Err(Error::bad(
                        "configPath",
                        format!("{path} has {} resources; expected one", several.len()),
                    )),
                    None => Err(Error::bad(
                        "configPath",
                        format!(
                            "no resource of the package is from the file {path}; add it, or register \
                             the template from the folder of its Kptfile, so that files are known"
                        ),
                    )),
                }
            }
        }
    }

    /// Puts the output of a function in place of its input.
    fn merge(&mut self, selected: &[usize], output: Vec<Item>) {
        let is_all = selected.len() == self.items.len();
        if is_all {
            // The items are in the order of the function's output.
            self.items = output;
        } else {
            let (changed, added): (Vec<Item>, Vec<Item>) =
                output.into_iter().partition(|item| item.origin.is_some());
            let mut changed: HashMap<usize, Item> = changed
                .into_iter()
                .filter_map(|item| Some((item.origin?, item)))
                .collect();
            let selected: HashSet<usize> = selected.iter().copied().collect();
            let before = std::mem::take(&mut self.items).into_iter();
            let kept = before.filter_map(|item| match item.origin {
                Some(at) if selected.contains(&at) => changed.remove(&at),
                _ => Some(item),
            });
            self.items = kept.collect();
            self.items.extend(added);
        }
        for item in &mut self.items {
            if item.origin.is_none() {
                item.origin = Some(self.next);
                self.next += 1;
            }
        }
    }
}
