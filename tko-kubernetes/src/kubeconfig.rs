//! Reads kubeconfigs: files below the operator's folder, and Secrets of the management cluster.
//! Makes clients of them.

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tko_core::{Error, Result, error::chain};
use tko_source::file_below;
use tokio::sync::Semaphore;

/// Maximum size of a kubeconfig, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Maximum number of clients that are made at the same time.
const MAX_CONNECTING: usize = 64;

/// Bounds the threads that wait for programs of kubeconfigs. A program that hangs keeps its permit.
static CONNECTING: Semaphore = Semaphore::const_new(MAX_CONNECTING);

/// Makes a client of a kubeconfig, within a time limit.
///
/// # Errors
/// - `BadArgument`: the credentials are not valid.
/// - `Unavailable`: the client was not made in time.
pub(crate) async fn connect(config: Config, limit: Duration) -> Result<Client> {
    let action = format!("connect to {}", config.cluster_url);
    let made = async {
        let permit = CONNECTING.acquire().await;
        // This runs the program of an `exec` user, and waits for it on its thread.
        let made = tokio::task::spawn_blocking(move || {
            let made = Client::try_from(config);
            drop(permit);
            made
        });
        made.await
    };
    match tokio::time::timeout(limit, made).await {
        Ok(Ok(made)) => made.map_err(|error| Error::bad("kubeconfig", chain(&error))),
        Ok(Err(error)) => Err(Error::internal(action, error)),
        Err(_) => {
            let why = format!(
                "there are no credentials after {limit:?}; check the program that exec names in \
                 the kubeconfig"
            );
            Err(Error::unavailable(action, why))
        }
    }
}

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

/// Reads a kubeconfig from a Secret. It may name neither files nor programs. Those would be on this
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
    use super::{connect, of_file, of_secret};
    use std::time::Duration;
    use tko_core::Error;

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

    #[tokio::test(start_paused = true)]
    async fn a_program_for_credentials_that_hangs_is_an_error_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        // Without a writer, the program waits for ever.
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo is installed").success());
        let user = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, \
             command: cat, args: ['{}']}}}}",
            pipe.display()
        );
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, SECRET.replace("USER", &user)).expect("a file");
        let config = of_file(&path, None).await.expect("it is valid");
        let limit = Duration::from_secs(30);
        let connecting = tokio::spawn(connect(config, limit));
        tokio::task::yield_now().await;
        tokio::time::advance(limit + Duration::from_secs(1)).await;
        let Err(error) = connecting.await.expect("it does not panic") else {
            panic!("there are no credentials");
        };
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.chain().contains("exec"), "{}", error.chain());
        // The program ends, and with it the thread that waits for it.
        let mut writer = std::fs::OpenOptions::new();
        writer.write(true).open(&pipe).expect("the program reads");
    }
}
