//! A `kpt` plugin as a preparer.

use super::KptSettings;
use super::call::{check_identity, items, marked, package};
use crate::function::{FunctionCall, KrmFunction, run};
use crate::native::scalar;
use crate::resource_list::ResourceList;
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tko_core::{
    Answer, ContentHash, Error, PrepareCall, Preparer, Resource, Result, deployment_resource,
};
use tko_plugin::log::LogSubject;

/// A preparer that runs one function on the whole package.
pub(super) struct KptPlugin {
    pub(super) id: String,
    pub(super) function: Arc<dyn KrmFunction>,
    /// The inputs of the function, each with the path of its value in the target.
    pub(super) inputs: BTreeMap<String, Vec<String>>,
    pub(super) includes_deployment: bool,
    /// Whether the result of an earlier equal call may be used.
    pub(super) cached: bool,
    pub(super) settings: Arc<KptSettings>,
}

impl KptPlugin {
    /// The configuration of the function: a `ConfigMap`, as `kpt fn eval … -- key=value` makes it.
    fn config(&self, target: &Resource) -> Result<Option<Value>> {
        if self.inputs.is_empty() {
            return Ok(None);
        }
        let mut data = Map::new();
        for (name, path) in &self.inputs {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            let text = target.get(&keys).and_then(scalar).ok_or_else(|| {
                let path = path.join(".");
                Error::bad(
                    name.clone(),
                    format!(
                        "{} has no scalar at {path}, which the plugin's property {name}={path} \
                         names; set it, or change the property",
                        target.identifier()
                    ),
                )
            })?;
            data.insert(name.clone(), Value::String(text));
        }
        Ok(Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "function-input"},
            "data": data,
        })))
    }

    fn is_withheld(&self, resource: &Resource) -> bool {
        !self.includes_deployment && *resource.gvk() == deployment_resource::identifier().gvk
    }
}

#[async_trait]
impl Preparer for KptPlugin {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let target = call.package.find(call.target).ok_or_else(|| {
            Error::bad("resource", format!("{} is not in the package", call.target))
        })?;
        let list = ResourceList {
            items: items(call.package, self.includes_deployment),
            function_config: self.config(target)?,
            results: Vec::new(),
        };
        let subject = LogSubject {
            plugin: self.id.clone(),
            deployment: Some(call.deployment.entity.key.id().to_owned()),
            site: None,
            resource: Some(call.target.to_string()),
        };
        let function_call = FunctionCall {
            subject,
            timeout: self.settings.timeout,
            output: self.settings.output,
        };
        let failed = |source: tko_core::BoxError| {
            Error::unavailable(
                format!("prepare {} with plugin {}", call.target, self.id),
                source,
            )
        };
        let list = run(&self.function, list, &function_call).await;
        let list = list.map_err(|failure| failed(failure.into()))?;
        let origin = call
            .package
            .iter()
            .position(|r| r.identifier() == call.target);
        check_identity(&list.items, origin, call.target).map_err(|error| failed(error.into()))?;
        let withheld = |resource: &Resource| self.is_withheld(resource);
        let package =
            package(call.package, list.items, withheld).map_err(|error| failed(error.into()))?;
        Ok(Answer::Done {
            package: marked(package, call.target)?,
            effects: Vec::new(),
        })
    }

    async fn pure_identity(&self, _: &PrepareCall<'_>) -> Option<ContentHash> {
        if !self.cached || self.includes_deployment {
            return None;
        }
        // The identity of a module in WebAssembly needs its code. If it takes too long, the call says
        // so.
        let identity = tokio::time::timeout(self.settings.timeout, self.function.identity());
        let function = identity.await.ok()??;
        Some(ContentHash::of(&json!([self.id, function, self.inputs])))
    }

    fn limits_itself(&self) -> bool {
        true
    }
}
