//! `tko tosca`: checks service templates in TOSCA.

use crate::printable::printable;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::PathBuf;
use tko_core::Error;
use tko_tosca::{Csar, Problem, ProblemLevel, Topology, ToscaLimits, picture};

/// Check service templates in TOSCA
#[derive(Debug, Args)]
pub(crate) struct ToscaArgs {
    #[command(subcommand)]
    command: ToscaCommand,
}

#[derive(Debug, Subcommand)]
enum ToscaCommand {
    Check(ToscaCheckArgs),
}

/// Check a service template and show what it describes
///
/// Prints every problem with its file, line and column. Exit code 2 if the service template is not
/// valid.
#[derive(Debug, Args)]
struct ToscaCheckArgs {
    /// A YAML file, a CSAR (.csar or .zip), or the folder of an unpacked CSAR
    #[arg(value_name = "FILE|DIR|CSAR")]
    path: PathBuf,
    /// Set an input, such as region=pune; a value that is JSON keeps its type; may be repeated
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = input)]
    input: Vec<(String, Value)>,
    /// Format of the output: a list of nodes, JSON, or a picture
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: ToscaOutput,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ToscaOutput {
    /// Problems, or nodes with their relationships
    Text,
    /// Problems and nodes as one JSON document
    Json,
    /// The language of Graphviz
    Dot,
    /// A picture
    Svg,
}

impl ToscaArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Error::BadArgument`] if the service template has problems; reading and writing may fail too.
    pub(crate) async fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<()> {
        let ToscaCommand::Check(check) = self.command;
        let ToscaCheckArgs {
            path,
            input,
            output,
        } = check;
        let inputs: Map<String, Value> = input.into_iter().collect();
        let outcome = tokio::task::spawn_blocking(move || {
            let limits = ToscaLimits::default();
            let csar = Csar::open(&path, &limits)
                .map_err(|error| Error::bad("path", error.to_string()))?;
            Ok::<_, Error>(tko_tosca::read(&csar, &inputs, &limits))
        })
        .await??;
        let (topology, problems) = match outcome {
            Ok(topology) => {
                let warnings = topology.warnings.clone();
                (Some(topology), warnings)
            }
            Err(problems) => (None, problems),
        };
        match output {
            ToscaOutput::Json => {
                let valid = topology.is_some();
                let problems: Vec<Value> = problems.iter().map(described).collect();
                let nodes = topology.map_or(Value::Null, |topology| json!(topology.nodes));
                let document = json!({"valid": valid, "problems": problems, "nodes": nodes});
                writeln!(out, "{document:#}")?;
                anyhow::ensure!(
                    valid,
                    Error::bad("path", "the service template is not valid")
                );
                return Ok(());
            }
            _ => {
                for problem in &problems {
                    line(err, &problem.to_string())?;
                }
            }
        }
        let Some(topology) = topology else {
            let errors = problems
                .iter()
                .filter(|p| p.level == ProblemLevel::Error)
                .count();
            let message = format!("the service template is not valid: {errors} problems");
            return Err(Error::bad("path", message).into());
        };
        let drawn = match output {
            ToscaOutput::Dot => picture::dot(&topology),
            ToscaOutput::Svg => picture::svg(&topology),
            ToscaOutput::Text | ToscaOutput::Json => return Ok(text(&topology, out)?),
        };
        write!(out, "{}", printable(&drawn, &['\n', '\t']))?;
        Ok(())
    }
}

/// One line for each node and each relationship.
fn text(topology: &Topology, out: &mut dyn Write) -> std::io::Result<()> {
    for (name, node) in &topology.nodes {
        let node_type = node.types.first().map_or("", String::as_str);
        line(out, &format!("{name}: {node_type}"))?;
        for (property, given) in &node.properties {
            line(out, &format!("  {property} = {}", given.value))?;
        }
        for relationship in &node.relationships {
            let (name, target) = (&relationship.name, &relationship.target);
            line(out, &format!("  {name} -> {target}"))?;
        }
    }
    Ok(())
}

/// Writes one line. Names and values of a foreign service template cannot control the terminal, nor
/// forge further lines.
fn line(to: &mut dyn Write, text: &str) -> std::io::Result<()> {
    writeln!(to, "{}", printable(text, &[]))
}

fn described(problem: &Problem) -> Value {
    let level = match problem.level {
        ProblemLevel::Error => "error",
        ProblemLevel::Warning => "warning",
    };
    json!({
        "level": level,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
    })
}

/// An input on the command line: `NAME=VALUE`.
fn input(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_owned(), value))
}
