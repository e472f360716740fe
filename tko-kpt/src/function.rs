//! Functions: the trait that every kind of function implements.

use crate::failure::FunctionFailure;
use crate::resource_list::ResourceList;
use crate::results::{self, Severity};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tko_plugin::log::LogSubject;

/// Default maximum bytes of the output of one call.
pub(crate) const OUTPUT: usize = 32 << 20;

/// The circumstances of one call.
#[derive(Clone, Debug)]
pub struct FunctionCall {
    /// The subject of log lines.
    pub subject: LogSubject,
    /// The time limit, from when the function has a process, or a slot for WebAssembly. To wait for
    /// either has the same limit, and so has reading and compiling WebAssembly.
    pub timeout: Duration,
    /// Maximum bytes of the output; of a native function, of what it writes into resources.
    pub output: usize,
}

/// A KRM function: it changes a list of resources, or checks them.
#[async_trait]
pub trait KrmFunction: Send + Sync + 'static {
    /// The function as people name it, such as `set-namespace:v0.4.1` or `exec:/opt/fn`.
    fn name(&self) -> &str;

    /// Runs the function. Results of severity error are returned in the list; see [`run`].
    ///
    /// # Errors
    /// See [`FunctionFailure`].
    async fn apply(
        &self,
        list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure>;

    /// The identity of the code, for the result cache: it changes when the code does. `None` if it
    /// cannot be known, so that results are not cached.
    async fn identity(&self) -> Option<String>;
}

/// Runs a function and logs its results.
///
/// # Errors
/// As [`KrmFunction::apply`]; also [`FunctionFailure::Reported`] if a result has the severity
/// error.
pub async fn run(
    function: &Arc<dyn KrmFunction>,
    list: ResourceList,
    call: &FunctionCall,
) -> Result<ResourceList, FunctionFailure> {
    let list = function.apply(list, call).await?;
    results::log(&call.subject, function.name(), &list.results);
    if list.has_errors() {
        let mut results = list.results;
        results.retain(|result| result.severity == Severity::Error);
        return Err(FunctionFailure::Reported {
            function: function.name().to_owned(),
            results,
        });
    }
    Ok(list)
}
