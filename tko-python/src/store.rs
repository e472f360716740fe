//! `tko.Store`: an embedded data service.

use crate::controller::RunningController;
use crate::data::PyData;
use crate::error::raised;
use crate::runtime::wait;
use crate::validation;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_backend_memory::{Memory, MemorySettings};
use tko_backend_postgres::{Postgres, PostgresSettings};
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Backend, Result as CoreResult, Store, WorkerApi};
use tko_grpc::server::{Access, BearerTokens, Listen, Server, ServerTls, Sockets};
use tokio_util::sync::CancellationToken;

/// A store in this process, with validation by TKO's built-in schemas.
#[pyclass(name = "EmbeddedStore", module = "tko", frozen)]
pub(crate) struct EmbeddedStore {
    pub(crate) data: Arc<dyn WorkerApi>,
    backend: &'static str,
}

fn open(backend: Arc<dyn Backend>) -> CoreResult<Arc<dyn WorkerApi>> {
    let validation = validation::built_in()?;
    let ids = Arc::new(TimeOrderedIds);
    Ok(Arc::new(Store::new(backend, validation, ids)))
}

/// TLS and authentication of a server.
fn access(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<&Path>,
    tokens: Option<&[String]>,
) -> PyResult<Access> {
    let mut access = Access::new();
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let tls = ServerTls::read(&certificate, &key, client_ca);
            access = access.tls(tls.map_err(|error| raised(&error))?);
        }
        (None, None) if client_ca.is_none() => {}
        _ => {
            return Err(PyTypeError::new_err(
                "certificate and key go together, and client_ca needs both",
            ));
        }
    }
    if let Some(tokens) = tokens {
        // They are parsed like a file of tokens, with a token on each line.
        if tokens
            .iter()
            .any(|one| one.starts_with('#') || one.contains(['\n', '\r']))
        {
            return Err(PyValueError::new_err(
                "a token has one line and does not begin with #",
            ));
        }
        let tokens = BearerTokens::parse(&tokens.join("\n")).map_err(|error| raised(&error))?;
        access = access.authentication(Arc::new(tokens));
    }
    Ok(access)
}

#[pymethods]
impl EmbeddedStore {
    /// Opens a store: `memory`, or the URL of a PostgreSQL database.
    #[new]
    fn new(py: Python<'_>, backend: &str) -> PyResult<Self> {
        let url = backend.to_owned();
        let (name, is_postgres) = match backend {
            "memory" => ("memory", false),
            url if url.starts_with("postgresql://") || url.starts_with("postgres://") => {
                ("postgresql", true)
            }
            other => {
                return Err(PyValueError::new_err(format!(
                    "unknown backend {other:?}; expected \"memory\" or \"postgresql://…\""
                )));
            }
        };
        let opened = async move {
            let backend: Arc<dyn Backend> = if is_postgres {
                Arc::new(Postgres::connect(PostgresSettings::new(url)).await?)
            } else {
                let clock = Arc::new(SystemClock::new());
                Arc::new(Memory::new(clock, MemorySettings::default()))
            };
            open(backend)
        };
        let data = wait(py, opened)?.map_err(|error| raised(&error))?;
        Ok(Self {
            data,
            backend: name,
        })
    }

    /// The API of this store.
    fn api(&self) -> PyData {
        PyData::embedded(self.data.clone())
    }

    /// Serves the store over gRPC; returns the server and its address.
    #[pyo3(signature = (address, port, certificate=None, key=None, client_ca=None, tokens=None))]
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)] // Keyword arguments of Python.
    fn serve(
        &self,
        py: Python<'_>,
        address: &str,
        port: u16,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        client_ca: Option<PathBuf>,
        tokens: Option<Vec<String>>,
    ) -> PyResult<(RunningController, String)> {
        let access = access(certificate, key, client_ca.as_deref(), tokens.as_deref())?;
        let listen = Listen {
            address: address.to_owned(),
            port,
            ..Listen::default()
        };
        let bound = async { Sockets::bind(&listen).await };
        let sockets = wait(py, bound)?.map_err(|error| raised(&error))?;
        let addresses = sockets.addresses();
        access.check(&addresses).map_err(|error| raised(&error))?;
        let shown = addresses.first().map(ToString::to_string);
        let stop = CancellationToken::new();
        let server = Server::new(self.data.clone()).with_access(access);
        let served = server.serve(sockets, stop.clone());
        Ok((
            RunningController::spawn(stop, served),
            shown.unwrap_or_default(),
        ))
    }

    fn __repr__(&self) -> String {
        format!("<Store in {}>", self.backend)
    }
}
