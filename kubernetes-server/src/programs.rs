//! [`Programs`]: the folder with the programs of the cluster.

use std::path::{Path, PathBuf};

/// The folder that has the API server and etcd, and may have other programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
}

/// The parts of Flux that `cargo xtask kubernetes --flux` builds.
#[derive(Clone, Debug)]
pub struct FluxPrograms {
    /// The path of Flux's kustomize-controller.
    pub kustomize_controller: PathBuf,
    /// The folder with the definitions of its custom resources and of its sources.
    pub definitions: PathBuf,
    /// The version of Flux's module, such as `v1.9.6`.
    pub version: String,
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

    /// Flux's kustomize-controller and its definitions, if they are there.
    pub fn flux(&self) -> Option<FluxPrograms> {
        let folder = self.folder.join("flux");
        let version = std::fs::read_to_string(folder.join("VERSION")).ok()?;
        let programs = FluxPrograms {
            kustomize_controller: folder.join("kustomize-controller"),
            definitions: folder.join("definitions"),
            version: version.trim().to_owned(),
        };
        programs.kustomize_controller.is_file().then_some(programs)
    }

    /// The controller manager, if it was built.
    pub fn controller_manager(&self) -> Option<PathBuf> {
        let path = self.folder.join("kube-controller-manager");
        path.is_file().then_some(path)
    }
}
