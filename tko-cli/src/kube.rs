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
            Self::To { id } => accepted(id, encode(id)?)?,
            Self::From { name } => decode(name)?,
        };
        writeln!(out, "{line}")?;
        Ok(())
    }
}

/// The name, if Kubernetes accepts it: a DNS subdomain of RFC 1123, as
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/> defines it.
fn accepted(id: &str, name: String) -> tko_core::Result<String> {
    let is_label = |label: &str| {
        let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        is_end(bytes.first()) && is_end(bytes.last())
    };
    let why = if name.len() > MAX_NAME {
        format!(
            "the name has {} characters, and at most {MAX_NAME} are allowed",
            name.len()
        )
    } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "it has upper-case letters".to_owned()
    } else if !name.split('.').all(is_label) {
        "each part between dots must start and end with a letter or digit".to_owned()
    } else {
        return Ok(name);
    };
    let why = format!("{id:?} has no name that Kubernetes accepts: {why}");
    Err(tko_core::Error::bad("id", why))
}

/// Maximum number of characters of a name.
const MAX_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::{accepted, encode};

    /// O20: names that Kubernetes refuses are refused here, with the reason.
    #[test]
    fn only_names_that_kubernetes_accepts_are_printed() {
        let name = |id: &str| accepted(id, encode(id).expect("plain"));
        assert!(name("demo/hello-world:v1.0.0").is_ok());
        for id in ["A", ".", "", "a.", "a..b", "/a", &"a".repeat(400)] {
            assert!(name(id).is_err(), "{id}");
        }
    }
}
