//! The project's own chores: `cargo xtask CHORE`.
//!
//! Nothing here is needed to build or to use the project.

mod growth;
mod install;
mod machine;
mod needs;
mod schemas;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    Growth(growth::GrowthArgs),
    Schemas(schemas::SchemasArgs),
    Test(test::TestArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let out = &mut std::io::stdout().lock();
    match Arguments::parse().chore {
        Chore::Growth(arguments) => arguments.run(out)?,
        Chore::Schemas(arguments) => arguments.run(out)?,
        Chore::Test(arguments) => return arguments.run(out),
    }
    Ok(ExitCode::SUCCESS)
}
