//! Development tasks of this workspace: `cargo xtask TASK`.
//!
//! Nothing here is needed to build or to use TKO.

mod growth;
mod install;
mod kubernetes;
mod machine;
mod needs;
mod picture;
mod schemas;
mod test;
#[cfg(test)]
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Development tasks of this workspace
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Growth(growth::GrowthArgs),
    Kubernetes(kubernetes::KubernetesArgs),
    Picture(picture::PictureArgs),
    Schemas(schemas::SchemasArgs),
    Test(test::TestArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let out = &mut std::io::stdout().lock();
    match Arguments::parse().task {
        Task::Growth(arguments) => arguments.run(out)?,
        Task::Kubernetes(arguments) => arguments.run(out)?,
        Task::Picture(arguments) => arguments.run(out)?,
        Task::Schemas(arguments) => arguments.run(out)?,
        Task::Test(arguments) => return arguments.run(out),
    }
    Ok(ExitCode::SUCCESS)
}
