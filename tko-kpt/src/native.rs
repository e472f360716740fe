//! The functions of the catalog that run in this process.
//!
//! Each follows the documentation of the function of the same name in the catalog of KRM functions,
//! in the requested version if versions differ.

mod apply_replacements;
mod ensure_name_substring;
mod fields;
mod growth;
mod scalars;
mod search_replace;
mod set_image;
mod set_metadata;
mod set_namespace;
mod setters;
mod upsert_resource;

pub(crate) use fields::scalar;

use crate::exec::{blocking, within};
use crate::failure::FunctionFailure;
use crate::function::{FunctionCall, KrmFunction, OUTPUT};
use crate::reference::FunctionVersion;
use crate::resource_list::ResourceList;
use async_trait::async_trait;
use growth::WriteBudget;
use tko_core::{Error, Result};

/// A function of the catalog that runs in this process.
#[derive(Clone, Debug)]
pub struct NativeFunction {
    name: String,
    work: NativeWork,
    version: FunctionVersion,
}

/// The work of a function. The error is a clause about the configuration.
type NativeWork = fn(&mut ResourceList, FunctionVersion, &mut WriteBudget) -> Result<(), String>;

/// The version of a function without one.
const NEWEST: FunctionVersion = FunctionVersion::new(u32::MAX, u32::MAX, u32::MAX);

/// All native functions, in the order of their names.
const FUNCTIONS: &[(&str, NativeWork)] = &[
    ("apply-replacements", apply_replacements::run),
    ("apply-setters", setters::apply),
    ("create-setters", setters::create),
    ("ensure-name-substring", ensure_name_substring::run),
    ("search-replace", search_replace::run),
    ("set-annotations", set_metadata::annotations),
    ("set-image", set_image::run),
    ("set-labels", set_metadata::labels),
    ("set-namespace", set_namespace::run),
    ("upsert-resource", upsert_resource::run),
];

impl NativeFunction {
    /// The names of all native functions.
    pub const NAMES: &[&str] = &[
        "apply-replacements",
        "apply-setters",
        "create-setters",
        "ensure-name-substring",
        "search-replace",
        "set-annotations",
        "set-image",
        "set-labels",
        "set-namespace",
        "upsert-resource",
    ];

    /// The function with this name, as in this version of the catalog's function.
    ///
    /// # Errors
    /// `BadArgument`: there is no native function with this name; lists those that exist.
    pub fn new(name: &str, version: Option<FunctionVersion>) -> Result<Self> {
        let Some((_, work)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let known = Self::NAMES.join(", ");
            let message = format!("{name:?} is not a native function; known here: {known}");
            return Err(Error::bad("function", message));
        };
        let shown = match version {
            Some(version) => format!("{name}:{version}"),
            None => name.to_owned(),
        };
        Ok(Self {
            name: shown,
            work: *work,
            version: version.unwrap_or(NEWEST),
        })
    }

    /// Runs the function in this thread, with the default of
    /// [`KptSettings::output`](crate::executor::KptSettings::output) as its limit.
    ///
    /// # Errors
    /// As [`run_within`](Self::run_within).
    pub fn run(&self, list: &mut ResourceList) -> Result<(), FunctionFailure> {
        self.run_within(list, OUTPUT)
    }

    /// Runs the function in this thread. It writes at most this many bytes into resources. A text
    /// into which it puts setters, groups or parts has at most 1 MiB, and a value that it copies at
    /// most 100 levels.
    ///
    /// # Errors
    /// [`FunctionFailure::Config`]: the configuration is missing or wrong, or makes the function
    /// exceed a limit. The list may then be changed in part.
    pub fn run_within(&self, list: &mut ResourceList, bytes: usize) -> Result<(), FunctionFailure> {
        let mut budget = WriteBudget::new(bytes);
        let done = (self.work)(list, self.version, &mut budget);
        done.map_err(|problem| FunctionFailure::Config {
            function: self.name.clone(),
            problem,
        })
    }
}

#[async_trait]
impl KrmFunction for NativeFunction {
    fn name(&self) -> &str {
        &self.name
    }

    async fn apply(
        &self,
        mut list: ResourceList,
        call: &FunctionCall,
    ) -> Result<ResourceList, FunctionFailure> {
        let (function, bytes) = (self.clone(), call.output);
        let work = async {
            let done = blocking(&self.name, move || {
                let done = function.run_within(&mut list, bytes);
                done.map(|()| list)
            });
            done.await.flatten()
        };
        let texts = ["did not finish", "give it less input"];
        within(&self.name, call.timeout, texts, work).await
    }

    async fn identity(&self) -> Option<String> {
        let version = env!("CARGO_PKG_VERSION");
        Some(format!("native {} {version}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::{NEWEST, NativeFunction};
    use crate::function::{FunctionCall, KrmFunction};
    use crate::resource_list::ResourceList;
    use std::sync::Barrier;
    use std::time::Duration;
    use tko_plugin::log::LogSubject;

    /// Maximum time for a call to end after its time limit, even on a busy machine.
    const PATIENCE: Duration = Duration::from_mins(1);

    /// Where the work of the function waits for its test.
    static END: Barrier = Barrier::new(2);

    #[tokio::test]
    async fn a_function_that_takes_too_long_is_an_error() {
        let function = NativeFunction {
            name: "slow".to_owned(),
            work: |_, _, _| {
                END.wait();
                Ok(())
            },
            version: NEWEST,
        };
        let call = FunctionCall {
            subject: LogSubject::default(),
            timeout: Duration::from_millis(1),
            output: 0,
        };
        let applied = function.apply(ResourceList::default(), &call);
        let applied = tokio::time::timeout(PATIENCE, applied).await;
        // Without this, the thread of the function would never end.
        END.wait();
        let failure = applied.expect("it has a time limit").expect_err("too slow");
        assert_eq!(
            failure.to_string(),
            "function slow did not finish within 0.001 s; give it less input, or raise its time limit"
        );
    }
}
