//! `tko kube`: ids as Kubernetes names, and back.
//!
//! Every character outside `[0-9A-Za-z.]` is written as `-` and four lower-case hexadecimal
//! digits: `demo/hello-world:v1.0.0` is `demo-002fhello-002dworld-003av1.0.0`.

use anyhow::{Context, bail};
use clap::Subcommand;
use std::fmt::Write as _;
use std::io::Write;

/// Ids as Kubernetes names, and back
#[derive(Debug, Subcommand)]
pub(crate) enum KubeCommand {
    /// Print the Kubernetes name of an id
    To {
        /// Such as demo/hello-world:v1.0.0
        id: String,
    },
    /// Print the id of a Kubernetes name
    From {
        /// Such as demo-002fhello-002dworld-003av1.0.0
        name: String,
    },
}

impl KubeCommand {
    /// Prints one line.
    pub(crate) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let line = match self {
            Self::To { id } => to_name(id)?,
            Self::From { name } => from_name(name)?,
        };
        writeln!(out, "{line}")?;
        Ok(())
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '.'
}

fn to_name(id: &str) -> anyhow::Result<String> {
    let mut name = String::with_capacity(id.len() * 2);
    for c in id.chars() {
        if is_plain(c) {
            name.push(c);
        } else {
            let code = u16::try_from(u32::from(c))
                .with_context(|| format!("{id:?}: {c:?} has no four-digit form"))?;
            write!(name, "-{code:04x}")?;
        }
    }
    Ok(name)
}

fn from_name(name: &str) -> anyhow::Result<String> {
    let mut id = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '-' {
            id.push(c);
            continue;
        }
        let digits = rest
            .get(..4)
            .with_context(|| format!("{name:?}: - must be followed by four hexadecimal digits"))?;
        let code = u32::from_str_radix(digits, 16)
            .ok()
            .and_then(char::from_u32)
            .with_context(|| format!("{name:?}: -{digits} stands for no character"))?;
        id.push(code);
        rest = &rest[4..];
    }
    // Two names for one id would be two objects.
    if to_name(&id)? != name {
        bail!(
            "{name:?} is no name of an id: {id:?} is named {:?}",
            to_name(&id)?
        );
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::{from_name, to_name};

    #[test]
    fn names_go_there_and_back() {
        let id = "demo/hello-world:v1.0.0";
        let name = to_name(id).expect("plain characters");
        assert_eq!(name, "demo-002fhello-002dworld-003av1.0.0");
        assert_eq!(from_name(&name).expect("just made"), id);
    }

    #[test]
    fn a_name_that_is_not_its_ids_name_is_refused() {
        for name in ["-0041", "a-00", "a-", "a_b", "-002F", "-+041", "ä-"] {
            assert!(from_name(name).is_err(), "{name}");
        }
    }
}
