//! `tko fn`: runs one KRM function, as orchestrators such as kpt call functions.

use crate::console::Console;
use crate::output::{self, OutputFormat};
use clap::Args;
use serde_json::json;
use std::io::Read;
use std::time::Duration;
use tko_core::{Error, Limits};
use tko_kpt::{
    FunctionCall, FunctionReference, KptExecutor, NativeFunction, ResourceList, Severity,
};
use tko_plugin::log::LogSubject;

/// Run a KRM function on a ResourceList from standard input
///
/// Reads a ResourceList (YAML or JSON) and writes it, as kpt expects it of functions:
/// `kpt fn eval --exec "tko fn set-namespace" -- namespace=edge`. Exit code 1 if the function
/// reports an error; the results say why. With --format json the output is JSON, which has no
/// comments and so no setters. TKO_FORMAT has no effect.
#[derive(Debug, Args)]
pub(crate) struct FunctionArgs {
    /// Function: a native one, such as set-namespace or set-namespace:v0.4.1, an image,
    /// exec:PATH or wasm:PATH
    #[arg(value_name = "NAME", required_unless_present = "list")]
    function: Option<String>,
    /// Print the names of the native functions
    #[arg(long, conflicts_with = "function")]
    list: bool,
    /// Time limit of the function
    #[arg(long, value_name = "TIME", value_parser = crate::services::time, default_value = "5m")]
    timeout: Duration,
}

impl FunctionArgs {
    /// Runs the function and writes its output.
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let as_json = match console.format {
            OutputFormat::Yaml => false,
            OutputFormat::Json => true,
            _ => {
                let message = "tko fn writes yaml and json; choose one of them";
                return Err(Error::bad("format", message).into());
            }
        };
        let Some(name) = &self.function else {
            if as_json {
                let names = json!(NativeFunction::NAMES);
                return output::value(console.format, &names, console.out);
            }
            for name in NativeFunction::NAMES {
                writeln!(console.out, "{name}")?;
            }
            return Ok(());
        };
        let is_native = NativeFunction::NAMES.contains(&name.split(':').next().unwrap_or(name));
        let reference: FunctionReference = if is_native {
            format!("native:{name}").parse()?
        } else {
            name.parse()?
        };
        let settings = crate::services::functions::settings(self.timeout);
        let call = FunctionCall {
            subject: LogSubject::default(),
            timeout: settings.timeout,
            output: settings.output,
        };
        let function = KptExecutor::new(settings).function(&reference, true)?;
        let limits = Limits::default();
        let mut input = Vec::new();
        // One byte more than is allowed, so that reading refuses it.
        let most = u64::try_from(limits.bytes).unwrap_or(u64::MAX);
        std::io::stdin()
            .lock()
            .take(most.saturating_add(1))
            .read_to_end(&mut input)?;
        let mut list = ResourceList::decode(&input, &limits)?;
        for (at, item) in list.items.iter_mut().enumerate() {
            item.origin = Some(at);
        }
        let applied = function.apply(list, &call).await;
        let list = applied.map_err(|failure| Error::bad("function", failure_text(&failure)))?;
        if as_json {
            console.out.write_all(&list.encode_json())?;
            writeln!(console.out)?;
        } else {
            console.out.write_all(&list.encode())?;
        }
        console.out.flush()?;
        let errors = list.results.iter();
        let errors = errors
            .filter(|result| result.severity == Severity::Error)
            .count();
        anyhow::ensure!(errors == 0, "function {name} reported {errors} errors");
        Ok(())
    }
}

fn failure_text(failure: &tko_kpt::FunctionFailure) -> String {
    tko_core::error::chain(failure)
}
