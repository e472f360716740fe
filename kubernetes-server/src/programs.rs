//! [`Programs`]: where the programs are.

use std::path::{Path, PathBuf};

/// The folder with the programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Finds the programs in the folder that `TKO_TEST_KUBERNETES` names, or in
    /// `target/kubernetes/bin`. `None`: the API server or etcd is missing.
    pub fn find() -> Option<Self> {
        let folder = std::env::var_os("TKO_TEST_KUBERNETES").map_or_else(
            || {
                let own = Path::new(env!("CARGO_MANIFEST_DIR"));
                own.join("../target/kubernetes/bin")
            },
            PathBuf::from,
        );
        let programs = Self { folder };
        let needed = [programs.api_server(), programs.etcd()];
        needed.iter().all(|path| path.is_file()).then_some(programs)
    }

    pub(crate) fn api_server(&self) -> PathBuf {
        self.folder.join("kube-apiserver")
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// The controller manager, if it was built.
    pub fn controller_manager(&self) -> Option<PathBuf> {
        let path = self.folder.join("kube-controller-manager");
        path.is_file().then_some(path)
    }
}
