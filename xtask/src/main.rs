//! The project's own chores: `cargo xtask CHORE`.
//!
//! Nothing here is needed to build or to use the project.

mod growth;
mod schemas;

use clap::{Parser, Subcommand};

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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Growth(arguments) => arguments.run(&mut std::io::stdout().lock()),
        Chore::Schemas(arguments) => arguments.run(&mut std::io::stdout().lock()),
    }
}
