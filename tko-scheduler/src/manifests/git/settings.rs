//! Settings of a repository of manifests.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a Git repository of manifests.
#[derive(Clone, Debug)]
pub struct GitSettings {
    /// Branch that must be checked out; a new repository gets this branch. Default: the branch that
    /// is checked out, `main` in a new repository.
    pub branch: Option<String>,
    /// Name of the committer. Default: `TKO`.
    pub author: String,
    /// Email address of the committer. Default: `tko@localhost`.
    pub email: String,
    /// Remote to push each commit to: anything that `git push` accepts. The branch has the same
    /// name there. Commits that others pushed are merged, never overwritten. Default: none.
    pub remote: Option<String>,
    /// The Git program. Default: `git`, searched in `PATH`.
    pub program: PathBuf,
    /// Time limit of one Git command. Default: 60 s.
    pub timeout: Duration,
}

impl Default for GitSettings {
    fn default() -> Self {
        Self {
            branch: None,
            author: "TKO".to_owned(),
            email: "tko@localhost".to_owned(),
            remote: None,
            program: "git".into(),
            timeout: Duration::from_mins(1),
        }
    }
}
