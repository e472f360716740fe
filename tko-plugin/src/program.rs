//! The program of a plugin.

/// The program to run.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// A path, or a name to look up in `PATH`. Relative paths start at the current directory.
    pub path: String,
    /// Arguments in order; no shell interprets them.
    pub arguments: Vec<String>,
}
