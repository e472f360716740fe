//! The data API as operations that both kinds of client and the embedded store use.

use crate::changes::{PyChanges, change};
use crate::connections::DrivenConnections;
use crate::error::raised;
use crate::identifier::PyGvk;
use crate::operation::{ApiOperation, Finish, nothing};
use crate::package::package_of;
use crate::record::{PyEntity, PyModification, deployment_id};
use crate::runtime::ApiAccess;
use crate::select::{plugin_type, select};
use crate::stream::{PyListing, PyWatching, in_runtime};
use futures_util::{StreamExt, TryStreamExt};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    BoxFuture, Bulk, DataApi, EntityUpdate, Expect, Key, Kind, List, Metadata, NewDeployment,
    NewPlugin, NewSite, NewTemplate, Package, PluginId, Record, Result as CoreResult, Revision,
    Select, SiteId, TemplateId, Token, Version, Want, Watch, WorkerApi, view,
};
use tko_grpc::client::{Client, ClientSettings, ClientTls};

/// Maximum number of ids of deployments that a template or site shows.
const MOST_IDS: usize = 1_000;

/// A data service: a remote one, or an embedded store.
#[pyclass(name = "Data", module = "tko", frozen)]
pub(crate) struct PyData {
    pub(crate) data: Arc<dyn WorkerApi>,
    client: Option<Client>,
    connections: Option<Arc<DrivenConnections>>,
}

impl PyData {
    pub(crate) fn embedded(data: Arc<dyn WorkerApi>) -> Self {
        Self {
            data,
            client: None,
            connections: None,
        }
    }

    /// An operation whose result is made by `finish`.
    fn operation<T: Send + 'static>(
        &self,
        make: impl FnOnce(Arc<dyn DataApi>) -> BoxFuture<'static, CoreResult<T>> + Send + 'static,
        finish: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> ApiOperation {
        self.access_operation(|access| make(access.data), finish)
    }

    /// An operation that needs more than the data API.
    fn access_operation<T: Send + 'static>(
        &self,
        make: impl FnOnce(ApiAccess) -> BoxFuture<'static, CoreResult<T>> + Send + 'static,
        finish: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> ApiOperation {
        let shared = ApiAccess {
            data: self.data.clone(),
            client: self.client.clone(),
        };
        ApiOperation::new(shared, self.connections.clone(), |access| {
            let future = make(access);
            Box::pin(async move {
                let value = future.await?;
                Ok(Box::new(move |py: Python<'_>| finish(py, value)) as Finish)
            })
        })
    }
}

fn version(py: Python<'_>, version: Version) -> PyResult<Py<PyAny>> {
    version.0.into_py_any(py)
}

fn bulk(py: Python<'_>, bulk: Bulk) -> PyResult<Py<PyAny>> {
    let skipped: Vec<(String, String)> = bulk
        .skipped
        .into_iter()
        .map(|(key, reason)| (key.id().to_owned(), reason))
        .collect();
    let result = PyDict::new(py);
    result.set_item("done", bulk.done)?;
    result.set_item("skipped", skipped)?;
    result.into_py_any(py)
}

/// The state that an entity must have: anything, absent (`False`), or at a version.
fn expect(expect: Option<&Bound<'_, PyAny>>) -> PyResult<Expect> {
    match expect {
        None => Ok(Expect::Any),
        Some(value) if value.is_none() => Ok(Expect::Any),
        Some(value) => match value.extract::<bool>() {
            Ok(false) => Ok(Expect::Absent),
            Ok(true) => Err(PyTypeError::new_err(
                "expect is None, False (must not exist), or a version",
            )),
            Err(_) => Ok(Expect::At(Version(value.extract()?))),
        },
    }
}

fn optional<T>(
    text: Option<&str>,
    parse: impl FnOnce(&str) -> CoreResult<T>,
) -> PyResult<Option<T>> {
    let text = text.filter(|text| !text.is_empty());
    text.map(parse).transpose().map_err(|error| raised(&error))
}

/// A deployment from the keyword arguments of `create_deployment`, as a dict.
fn new_deployment(fields: &Bound<'_, PyDict>) -> PyResult<NewDeployment> {
    let mut new = NewDeployment::new();
    for (name, value) in fields {
        if value.is_none() {
            continue;
        }
        let name: String = name.extract()?;
        new = match name.as_str() {
            "parent_deployment_id" => {
                let id: String = value.extract()?;
                new.parent(optional(Some(&id), tko_core::DeploymentId::new)?)
            }
            "template_id" => {
                let id: String = value.extract()?;
                new.template(optional(Some(&id), TemplateId::new)?)
            }
            "site_id" => {
                let id: String = value.extract()?;
                new.site(optional(Some(&id), SiteId::new)?)
            }
            "merge_metadata" => new.metadata(metadata(value.extract()?)),
            "prepared" => new.prepared(value.extract()?),
            "approved" => new.approved(value.extract()?),
            "merge_package" => new.merge(package_of(&value)?),
            "idempotency_key" => new.idempotency_key(value.extract::<String>()?),
            other => {
                let message = format!("a new deployment has no {other:?}");
                return Err(PyTypeError::new_err(message));
            }
        };
    }
    Ok(new)
}

fn metadata(metadata: Option<BTreeMap<String, String>>) -> Metadata {
    metadata.unwrap_or_default().into_iter().collect()
}

fn package(package: Option<&Bound<'_, PyAny>>) -> PyResult<Package> {
    match package {
        Some(package) if !package.is_none() => package_of(package),
        _ => Ok(Package::default()),
    }
}

fn kind(text: &str) -> PyResult<Kind> {
    text.parse::<Kind>().map_err(|error| raised(&error))
}

fn key(kind_name: &str, id: &str) -> PyResult<Key> {
    Key::new(kind(kind_name)?, id).map_err(|error| raised(&error))
}

fn options() -> Want {
    Want::ROW.with_package().with_revision().with_work()
}

/// Reads an entity, and the ids of the deployments of a template or site.
async fn read(data: Arc<dyn DataApi>, key: Key) -> CoreResult<(Record, Option<Vec<String>>)> {
    let record = data.get(&key, options()).await?;
    let Some(select) = view::deployments_of(&key) else {
        return Ok((record, None));
    };
    let list = List::new(select).limit(MOST_IDS);
    let page = data.list(&list).await?;
    let ids = page
        .items
        .iter()
        .map(|item| item.entity.key.id().to_owned());
    Ok((record, Some(ids.collect())))
}

#[pymethods]
impl PyData {
    /// Connects on the first call.
    #[staticmethod]
    #[pyo3(signature = (server, token=None, ca=None, certificate=None, key=None, name=None, tls=false, timeout=None))]
    #[allow(clippy::too_many_arguments)] // Keyword arguments of Python.
    fn connect(
        server: &str,
        token: Option<String>,
        ca: Option<&[u8]>,
        certificate: Option<&[u8]>,
        key: Option<&[u8]>,
        name: Option<&str>,
        tls: bool,
        timeout: Option<f64>,
    ) -> PyResult<Self> {
        let mut settings = ClientSettings::new(server);
        settings.token = token;
        if let Some(timeout) = timeout {
            settings.timeout = Duration::try_from_secs_f64(timeout)
                .map_err(|error| PyTypeError::new_err(error.to_string()))?;
        }
        if tls || ca.is_some() || certificate.is_some() || name.is_some() {
            let mut tls = ClientTls::new(ca);
            match (certificate, key) {
                (Some(certificate), Some(key)) => tls = tls.with_identity(certificate, key),
                (None, None) => {}
                _ => return Err(PyTypeError::new_err("certificate and key go together")),
            }
            if let Some(name) = name {
                tls = tls.with_name(name);
            }
            settings.tls = Some(tls);
        }
        let client =
            in_runtime(|| Client::new(settings.clone())).map_err(|error| raised(&error))?;
        Ok(Self {
            data: Arc::new(client.clone()),
            client: Some(client),
            connections: Some(DrivenConnections::new(settings)),
        })
    }

    fn about(&self) -> ApiOperation {
        self.access_operation(
            |access| {
                Box::pin(async move {
                    Ok(match access.client {
                        Some(client) => {
                            let about = client.server().await?;
                            json!({
                                "instance_name": about.name,
                                "instance_description": about.description,
                                "tko_version": about.version,
                                "backend": about.backend,
                                "address_ports": about.addresses,
                            })
                        }
                        None => json!({
                            "instance_name": "",
                            "instance_description": "",
                            "tko_version": env!("CARGO_PKG_VERSION"),
                            "backend": access.data.about().await?.backend,
                            "address_ports": [],
                        }),
                    })
                })
            },
            |py, about| Ok(crate::json::to_python(py, &about)?.unbind()),
        )
    }

    #[pyo3(signature = (template_id, metadata=None, package=None, expect=None))]
    fn register_template(
        &self,
        template_id: &str,
        metadata: Option<BTreeMap<String, String>>,
        package: Option<&Bound<'_, PyAny>>,
        expect: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<ApiOperation> {
        let id = TemplateId::new(template_id).map_err(|error| raised(&error))?;
        let new = NewTemplate::new(id, self::package(package)?)
            .metadata(self::metadata(metadata))
            .expect(self::expect(expect)?);
        Ok(self.operation(
            |data| Box::pin(async move { data.register_template(new).await }),
            version,
        ))
    }

    #[pyo3(signature = (site_id, template_id=None, metadata=None, package=None, expect=None))]
    fn register_site(
        &self,
        site_id: &str,
        template_id: Option<&str>,
        metadata: Option<BTreeMap<String, String>>,
        package: Option<&Bound<'_, PyAny>>,
        expect: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<ApiOperation> {
        let id = SiteId::new(site_id).map_err(|error| raised(&error))?;
        let new = NewSite::new(id, self::package(package)?)
            .template(optional(template_id, TemplateId::new)?)
            .metadata(self::metadata(metadata))
            .expect(self::expect(expect)?);
        Ok(self.operation(
            |data| Box::pin(async move { data.register_site(new).await }),
            version,
        ))
    }

    #[pyo3(signature = (r#type, name, executor, arguments=None, properties=None, triggers=None))]
    fn register_plugin(
        &self,
        r#type: &str,
        name: &str,
        executor: String,
        arguments: Option<Vec<String>>,
        properties: Option<BTreeMap<String, String>>,
        triggers: Option<Vec<Bound<'_, PyGvk>>>,
    ) -> PyResult<ApiOperation> {
        let id = PluginId::new(plugin_type(r#type)?, name).map_err(|error| raised(&error))?;
        let triggers = triggers.unwrap_or_default();
        let new = NewPlugin::new(id, executor)
            .arguments(arguments.unwrap_or_default())
            .properties(properties.unwrap_or_default())
            .triggers(triggers.iter().map(|gvk| gvk.get().0.clone()).collect());
        Ok(self.operation(
            |data| Box::pin(async move { data.register_plugin(new).await }),
            version,
        ))
    }

    #[pyo3(signature = (
        parent_deployment_id=None, template_id=None, site_id=None, merge_metadata=None,
        prepared=false, approved=false, merge_package=None, idempotency_key=None,
    ))]
    #[allow(clippy::too_many_arguments)] // Keyword arguments of Python.
    fn create_deployment(
        &self,
        parent_deployment_id: Option<&str>,
        template_id: Option<&str>,
        site_id: Option<&str>,
        merge_metadata: Option<BTreeMap<String, String>>,
        prepared: bool,
        approved: bool,
        merge_package: Option<&Bound<'_, PyAny>>,
        idempotency_key: Option<String>,
    ) -> PyResult<ApiOperation> {
        let mut new = NewDeployment::new()
            .parent(optional(parent_deployment_id, tko_core::DeploymentId::new)?)
            .template(optional(template_id, TemplateId::new)?)
            .site(optional(site_id, SiteId::new)?)
            .metadata(metadata(merge_metadata))
            .merge(package(merge_package)?)
            .prepared(prepared)
            .approved(approved);
        if let Some(key) = idempotency_key {
            new = new.idempotency_key(key);
        }
        Ok(self.operation(
            |data| Box::pin(async move { data.create_deployment(new).await }),
            |py, id| id.as_str().into_py_any(py),
        ))
    }

    /// Creates deployments in one stream; each gets its id or its error.
    #[allow(clippy::needless_pass_by_value)] // Lists of Python are extracted by value.
    fn create_deployments(&self, deployments: Vec<Bound<'_, PyDict>>) -> PyResult<ApiOperation> {
        let new = deployments
            .iter()
            .map(new_deployment)
            .collect::<PyResult<_>>()?;
        Ok(self.operation(
            |data| Box::pin(async move { Ok(data.create_deployments(new).await) }),
            |py, created| {
                let created = created.into_iter().map(|created| match created {
                    Ok(id) => id.as_str().into_py_any(py),
                    Err(error) => Ok(raised(&error).into_value(py).into_any()),
                });
                created.collect::<PyResult<Vec<_>>>()?.into_py_any(py)
            },
        ))
    }

    fn get(&self, kind: &str, id: &str) -> PyResult<ApiOperation> {
        let key = key(kind, id)?;
        Ok(self.operation(
            |data| Box::pin(read(data, key)),
            |py, (record, ids)| {
                let entity = PyEntity::new(record);
                let entity = match ids {
                    Some(ids) => entity.with_deployments(ids),
                    None => entity,
                };
                entity.into_py_any(py)
            },
        ))
    }

    fn delete(&self, kind: &str, id: &str) -> PyResult<ApiOperation> {
        let key = key(kind, id)?;
        Ok(self.operation(
            |data| Box::pin(async move { data.delete(&key).await }),
            |py, ()| nothing()(py),
        ))
    }

    fn purge(&self, kind: &str, selection: &Bound<'_, PyDict>) -> PyResult<ApiOperation> {
        let select = select(self::kind(kind)?, selection)?;
        Ok(self.operation(
            |data| Box::pin(async move { data.purge(&select).await }),
            bulk,
        ))
    }

    fn approve(&self, selection: &Bound<'_, PyDict>) -> PyResult<ApiOperation> {
        let select = select(Kind::Deployment, selection)?;
        Ok(self.operation(
            |data| Box::pin(async move { data.approve(&select).await }),
            bulk,
        ))
    }

    fn retry(&self, kind: &str, id: &str) -> PyResult<ApiOperation> {
        let key = key(kind, id)?;
        Ok(self.operation(
            |data| Box::pin(async move { data.retry(&key).await }),
            |py, count| count.into_py_any(py),
        ))
    }

    fn count(
        &self,
        kind: &str,
        selection: &Bound<'_, PyDict>,
        bound: u64,
    ) -> PyResult<ApiOperation> {
        let select = select(self::kind(kind)?, selection)?;
        Ok(self.operation(
            move |data| Box::pin(async move { data.count(&select, bound, Want::ROW).await }),
            |py, count| count.found.into_py_any(py),
        ))
    }

    fn update(&self, id: &str, version: u64, package: &Bound<'_, PyAny>) -> PyResult<ApiOperation> {
        let (id, package) = (deployment_id(id)?, package_of(package)?);
        Ok(self.operation(
            move |data| Box::pin(async move { data.update(&id, Version(version), package).await }),
            self::version,
        ))
    }

    fn update_metadata(
        &self,
        kind: &str,
        id: &str,
        version: u64,
        metadata: BTreeMap<String, String>,
    ) -> PyResult<ApiOperation> {
        let update = EntityUpdate::new(key(kind, id)?, Version(version))
            .metadata(self::metadata(Some(metadata)));
        Ok(self.operation(
            move |data| Box::pin(async move { data.update_entity(update).await }),
            self::version,
        ))
    }

    fn start_modification(&self, id: &str, seconds: f64) -> PyResult<ApiOperation> {
        let id = deployment_id(id)?;
        let ttl = Duration::try_from_secs_f64(seconds)
            .map_err(|error| PyTypeError::new_err(error.to_string()))?;
        Ok(self.operation(
            move |data| Box::pin(async move { data.start_modification(&id, ttl).await }),
            |py, modification| PyModification::new(modification).into_py_any(py),
        ))
    }

    fn end_modification(&self, token: &str, package: &Bound<'_, PyAny>) -> PyResult<ApiOperation> {
        let token = Token::decode(token).map_err(|error| raised(&error))?;
        let package = package_of(package)?;
        let id = token.key.id().to_owned();
        Ok(self.operation(
            |data| {
                Box::pin(async move { data.end_modification(&token, package).await.map(|_| ()) })
            },
            |py, ()| id.into_py_any(py),
        ))
    }

    fn cancel_modification(&self, token: &str) -> PyResult<ApiOperation> {
        let token = Token::decode(token).map_err(|error| raised(&error))?;
        Ok(self.operation(
            |data| Box::pin(async move { data.cancel_modification(&token).await }),
            |py, ()| nothing()(py),
        ))
    }

    fn feed_position(&self) -> ApiOperation {
        self.operation(
            |data| Box::pin(async move { data.feed_position().await }),
            |py, position| position.revision.0.into_py_any(py),
        )
    }

    #[pyo3(signature = (kind, id, before=None, limit=100))]
    fn history(
        &self,
        kind: &str,
        id: &str,
        before: Option<u64>,
        limit: usize,
    ) -> PyResult<ApiOperation> {
        let key = key(kind, id)?;
        Ok(self.operation(
            move |data| {
                Box::pin(async move { data.history(&key, before.map(Revision), limit).await })
            },
            |py, changes| {
                let changes = changes.into_iter().map(|record| change(py, record));
                changes.collect::<PyResult<Vec<_>>>()?.into_py_any(py)
            },
        ))
    }

    #[pyo3(signature = (after=None))]
    fn changes(&self, after: Option<u64>) -> PyChanges {
        PyChanges::new(in_runtime(|| self.data.changes(after.map(Revision))))
    }

    fn list(
        &self,
        kind: &str,
        selection: &Bound<'_, PyDict>,
        offset: u64,
        max_count: i64,
        packages: bool,
    ) -> PyResult<PyListing> {
        let select = select(self::kind(kind)?, selection)?;
        // As in the messages of the API: absent, 0 or negative means all.
        let left = u64::try_from(max_count).ok().filter(|count| *count > 0);
        let mut list = List::new(select).want(if packages { Want::PACKAGE } else { Want::ROW });
        if let Some(wanted) = left {
            let first = wanted.saturating_add(offset);
            list = list.limit(usize::try_from(first).unwrap_or(usize::MAX));
        }
        let pages = in_runtime(|| self.data.clone().pages(list));
        Ok(PyListing::new(pages, offset, left.unwrap_or(u64::MAX)))
    }

    #[pyo3(signature = (kind, selection, after=None, packages=false))]
    fn watch(
        &self,
        kind: &str,
        selection: &Bound<'_, PyDict>,
        after: Option<u64>,
        packages: bool,
    ) -> PyResult<PyWatching> {
        let select: Select = select(self::kind(kind)?, selection)?;
        let data = self.data.clone();
        let events = async move {
            let after = match after {
                Some(after) => Revision(after),
                None => data.feed_position().await?.revision,
            };
            let watch = Watch::new(select, after).package(packages);
            Ok::<_, tko_core::Error>(data.watch(watch))
        };
        Ok(PyWatching::new(
            futures_util::stream::once(events).try_flatten().boxed(),
        ))
    }
}
