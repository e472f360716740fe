//! `tko kube`: converts between ids and Kubernetes names.

use clap::Subcommand;
use std::io::Write;
use tko_core::kubernetes_name::{decode, encode};

/// Convert between ids and Kubernetes names
#[derive(Debug, Subcommand)]
pub(crate) enum KubeCommand {
    /// Print the Kubernetes name of an id
    To {
        /// Id, such as demo/hello-world:v1.0.0
        id: String,
    },
    /// Print the id of a Kubernetes name
    From {
        /// Kubernetes name, such as demo-002fhello-002dworld-003av1.0.0
        name: String,
    },
}

impl KubeCommand {
    /// Prints one line.
    pub(crate) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let line = match self {
            Self::To { id } => encode(id)?,
            Self::From { name } => decode(name)?,
        };
        writeln!(out, "{line}")?;
        Ok(())
    }
}
