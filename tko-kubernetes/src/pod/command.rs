//! [`PodCommand`]: runs one program in a container.

use kube::api::{Api, AttachParams};
use kube::{Client, Config};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tko_core::error::chain;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::time::timeout;

/// Size of the buffer between the two sides of each stream, in bytes.
const BUFFER: usize = 64 << 10;

/// Maximum time until there are credentials.
const CONNECT: Duration = Duration::from_secs(30);

/// How long output is still read after the connection has broken.
const LINGER: Duration = Duration::from_millis(200);

/// Why a program in a pod has no exit code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PodFailure {
    /// The kubeconfig is missing or not valid.
    #[error("the kubeconfig for plugins in pods is not valid: {0}")]
    Kubeconfig(String),
    /// The cluster refused, or the pod does not exist.
    #[error("cannot run a program in pod {pod}: {why}")]
    Refused {
        /// Namespace and name of the pod.
        pod: String,
        /// The message of the cluster.
        why: String,
    },
    /// The connection ended before the program did.
    #[error("the connection to pod {0} ended before the program did")]
    Lost(String),
}

/// A program to run in a container of a pod.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PodCommand {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod.
    pub pod: String,
    /// The name of the container.
    pub container: String,
    /// The program and its arguments. It is found by the `PATH` of the container.
    pub command: Vec<String>,
}

impl PodCommand {
    /// A program in a container.
    pub fn new(
        namespace: impl Into<String>,
        pod: impl Into<String>,
        container: impl Into<String>,
        command: Vec<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            pod: pod.into(),
            container: container.into(),
            command,
        }
    }

    /// Connects to the cluster of a kubeconfig, or of the pod that this process runs in.
    ///
    /// # Errors
    /// [`PodFailure::Kubeconfig`].
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, PodFailure> {
        let bad = |why: String| PodFailure::Kubeconfig(why);
        let mut config = match kubeconfig {
            Some(path) => {
                let config = crate::kubeconfig::of_file(path, None).await;
                config.map_err(|error| bad(error.chain()))?
            }
            // Plugins do not get the variables of the pod.
            None => Config::incluster_dns().map_err(|error| bad(chain(&error)))?,
        };
        // Workers may be idle for a long time.
        config.read_timeout = None;
        let connected = crate::kubeconfig::connect(config, CONNECT).await;
        connected.map_err(|error| bad(error.chain()))
    }

    /// Runs the program until it ends, and returns its exit code. The end of `stdin` is passed on.
    /// Dropping the future closes the connection, by which the program loses its streams.
    ///
    /// # Errors
    /// The program was not started, or its exit code is not known.
    pub async fn run(
        &self,
        client: Client,
        mut stdin: impl AsyncRead + Unpin,
        mut stdout: impl AsyncWrite + Unpin,
        mut stderr: impl AsyncWrite + Unpin,
    ) -> Result<i32, PodFailure> {
        let pod = format!("{}/{}", self.namespace, self.pod);
        let refused = |why: String| PodFailure::Refused {
            pod: pod.clone(),
            why,
        };
        let lost = || PodFailure::Lost(pod.clone());
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, &self.namespace);
        let params = AttachParams::default()
            .container(&self.container)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .tty(false)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(BUFFER);
        let attached = pods.exec(&self.pod, &self.command, &params).await;
        let mut process = attached.map_err(|error| refused(chain(&error)))?;
        let (Some(mut input), Some(mut output), Some(mut errors), Some(status)) = (
            process.stdin(),
            process.stdout(),
            process.stderr(),
            process.take_status(),
        ) else {
            return Err(lost());
        };
        let feed = async {
            // A program that no longer reads may still succeed.
            let _ = copy(&mut stdin, &mut input).await;
            let _ = input.shutdown().await;
            std::future::pending::<()>().await;
        };
        let passed = async {
            // If one side stops reading, the program does not end.
            let _ = tokio::join!(
                pass_on(&mut output, &mut stdout),
                pass_on(&mut errors, &mut stderr)
            );
        };
        let (mut passed, mut status) = (pin!(passed), pin!(status));
        let ended = async {
            let status = tokio::select! {
                status = &mut status => status,
                () = &mut passed => return status.await,
            };
            match status {
                Some(_) => passed.await,
                // A broken connection does not end the streams: the output received so far is
                // passed on.
                None => drop(timeout(LINGER, passed).await),
            }
            status
        };
        let status = tokio::select! {
            status = ended => status,
            () = feed => None,
        };
        let status = status.ok_or_else(lost)?;
        exit_code(&status).map_err(refused)
    }
}

/// Copies without delay: a frame of a worker must not wait for the next.
async fn pass_on(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
        to.flush().await?;
    }
}

/// The exit code in the status that the kubelet sends last.
fn exit_code(
    status: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Status,
) -> Result<i32, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status
        .details
        .iter()
        .flat_map(|details| details.causes.iter().flatten());
    let code = causes
        .filter(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .find_map(|cause| cause.message.as_deref()?.parse::<i32>().ok());
    match code {
        Some(code) => Ok(code),
        None => Err(status
            .message
            .clone()
            .unwrap_or_else(|| "no reason was given".to_owned())),
    }
}
