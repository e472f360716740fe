//! Reads kubeconfigs: files below the operator's folder, and Secrets of the management cluster.

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::{Path, PathBuf};
use tko_core::{Error, Result, error::chain};
use tko_source::file_below;

/// Maximum size of a kubeconfig, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// The path of a kubeconfig below a folder.
///
/// # Errors
/// As [`file_below`].
pub(crate) async fn locate(folder: &Path, file: &str) -> Result<PathBuf> {
    file_below("spec.kubeconfig.file", folder, file, MAX_BYTES as u64).await
}

/// Reads a kubeconfig of the operator. It may name files and programs.
pub(crate) async fn of_file(path: &Path, context: Option<String>) -> Result<Config> {
    let owned = path.to_owned();
    // It reads synchronously, and parses.
    let read = tokio::task::spawn_blocking(move || Kubeconfig::read_from(owned)).await;
    let name = path.display().to_string();
    let bad = |why: String| Error::bad("kubeconfig", format!("{name:?} is not valid: {why}"));
    let kubeconfig = read
        .map_err(|error| bad(error.to_string()))?
        .map_err(|error| bad(chain(&error)))?;
    config(kubeconfig, context).await.map_err(bad)
}

/// Reads a kubeconfig from a Secret. It may name neither files nor programs: those would be on this
/// machine, and the permission to write a Secret must not grant access to them.
pub(crate) async fn of_secret(text: &str, name: &str, context: Option<String>) -> Result<Config> {
    let bad = |why: String| {
        Error::bad(
            "kubeconfig",
            format!("the kubeconfig in Secret {name} is not valid: {why}"),
        )
    };
    if text.len() > MAX_BYTES {
        return Err(bad(format!("it has more than {MAX_BYTES} bytes")));
    }
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| bad(chain(&error)))?;
    if let Some(field) = local_reference(&kubeconfig) {
        return Err(bad(format!(
            "it has {field}, which only a file of the scheduler's operator may have; embed \
             certificates and tokens"
        )));
    }
    config(kubeconfig, context).await.map_err(bad)
}

/// The first field that names something on this machine.
fn local_reference(kubeconfig: &Kubeconfig) -> Option<&'static str> {
    let mut clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|c| c.cluster.as_ref());
    if clusters.any(|cluster| cluster.certificate_authority.is_some()) {
        return Some("certificate-authority");
    }
    let users = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|u| u.auth_info.as_ref());
    for user in users {
        for (field, there) in [
            ("exec", user.exec.is_some()),
            ("auth-provider", user.auth_provider.is_some()),
            ("tokenFile", user.token_file.is_some()),
            ("client-certificate", user.client_certificate.is_some()),
            ("client-key", user.client_key.is_some()),
        ] {
            if there {
                return Some(field);
            }
        }
    }
    None
}

async fn config(kubeconfig: Kubeconfig, context: Option<String>) -> Result<Config, String> {
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| chain(&error))?;
    // The controller retries with a backoff that people see.
    config.default_retry = false;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{of_file, of_secret};

    const SECRET: &str = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: a, user: a, namespace: edge}\nclusters:\n- name: a\n  cluster: {server: 'https://127.0.0.1:1'}\nusers:\n- name: a\n  user: USER\n";

    #[tokio::test]
    async fn a_kubeconfig_in_a_secret_names_nothing_on_this_machine() {
        for user in [
            "{exec: {command: sh, apiVersion: client.authentication.k8s.io/v1}}",
            "{tokenFile: /etc/passwd}",
            "{client-certificate: /a, client-key: /b}",
            "{auth-provider: {name: gcp}}",
        ] {
            let text = SECRET.replace("USER", user);
            let error = of_secret(&text, "ns/name", None)
                .await
                .expect_err("a refusal");
            assert!(error.to_string().contains("embed"), "{error}");
        }
        let text = SECRET.replace("USER", "{token: abc}");
        let config = of_secret(&text, "ns/name", None)
            .await
            .expect("it is valid");
        assert_eq!(config.default_namespace, "edge");
        let other = of_secret(&text, "ns/name", Some("other".to_owned())).await;
        assert!(other.is_err(), "there is no such context");
    }

    #[tokio::test]
    async fn a_file_that_is_no_kubeconfig_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, "clusters: 7\n").expect("a file");
        let error = of_file(&path, None).await.expect_err("a refusal");
        assert!(error.to_string().contains("a.yaml"), "{error}");
    }
}
