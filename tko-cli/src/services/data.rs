//! The flags of the data service, and the store made from them.

use super::admission::PatientAdmission;
use super::backend::{BackendArgs, OpenBackend};
use super::controllers::patient;
use super::data_folder::DataFolder;
use super::metrics::Exporter;
use super::schema_locations::SchemaLocations;
use super::sqlite_lock::SqliteLock;
use super::time;
use crate::demo::pace::PacedAdmission;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Admission, Backend, Registry, Store, Validator};
use tko_validate::{KubernetesVersion, MissingSchema, SchemaValidator, Validation};

/// Settings of the data service
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// Name of this instance, shown by about
    #[arg(long, value_name = "NAME", default_value = "tko")]
    pub(crate) name: String,
    /// Description of this instance, shown by about
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) description: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// Settings of validation
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Validation")]
pub(crate) struct SchemaArgs {
    /// Timeout for one validator and one package
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub(crate) validator_timeout: Duration,
    /// Kubernetes version whose schemas are used [default: the newest built in]
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<KubernetesVersion>,
    /// Read more schemas from a file or directory of CustomResourceDefinitions, a swagger.json,
    /// JSON Schemas, or a path or URL with kubeconform's variables; `default` is the position of
    /// the built-in schemas, which otherwise come last; may be repeated
    #[arg(long = "schema-location", value_name = "LOCATION")]
    schema_locations: Vec<String>,
    /// Cache downloaded schemas in this directory
    #[arg(long, value_name = "DIR")]
    schema_cache: Option<PathBuf>,
    /// How to treat kinds without a schema: accept, warn or refuse
    #[arg(long, value_name = "POLICY", default_value = "accept")]
    missing_schemas: MissingSchema,
    /// Maximum number of packages that are stored in a second. Not a flag; the demo sets it.
    #[arg(skip)]
    pace: Option<u32>,
}

impl DataArgs {
    /// A data service in memory with the default settings of the flags.
    pub(crate) fn memory() -> Self {
        Self {
            name: "tko".to_owned(),
            backend: BackendArgs::memory(),
            ..Self::default()
        }
    }
}

impl SchemaArgs {
    /// The built-in schemas with the default settings of the flags.
    pub(crate) fn built_in() -> Self {
        Self {
            validator_timeout: tko_validate::VALIDATOR_TIME,
            ..Self::default()
        }
    }

    /// Limits the number of packages that are stored in a second.
    pub(crate) fn with_pace(self, pace: Option<u32>) -> Self {
        Self { pace, ..self }
    }

    /// Makes the schema validator of a server.
    pub(crate) fn validator(&self) -> anyhow::Result<SchemaValidator> {
        self.validator_within(None)
    }

    /// Makes a schema validator. `fetch_time` limits all fetches of remote schemas together.
    pub(crate) fn validator_within(
        &self,
        fetch_time: Option<Duration>,
    ) -> anyhow::Result<SchemaValidator> {
        let version = self.kubernetes_version.unwrap_or_default();
        warn_of_other_schemas(version)?;
        let mut builder = SchemaValidator::builder()
            .kubernetes(version)
            .missing(self.missing_schemas);
        let locations = SchemaLocations {
            version,
            cache: self.schema_cache.as_deref(),
            fetch_time,
        };
        for source in locations.open(&self.schema_locations)? {
            builder = builder.source(source);
        }
        Ok(builder.build()?)
    }
}

/// Warns of a version whose schemas are not built in, because those of another one are used.
fn warn_of_other_schemas(version: KubernetesVersion) -> tko_core::Result<()> {
    let used = version.nearest_built_in()?.label();
    if used != version.label() {
        let built_in = KubernetesVersion::built_in();
        let oldest = built_in.first().map(KubernetesVersion::label);
        tracing::warn!(
            "no schemas of Kubernetes {} are built in, only those of {} to {}; those of {used} are used",
            version.label(),
            oldest.unwrap_or_default(),
            KubernetesVersion::default().label(),
        );
    }
    Ok(())
}

/// A store, with the validators that check what is stored in it.
pub(crate) struct StoreParts {
    pub(crate) store: Store<dyn Backend>,
    /// The admission of the store, for callers that check packages without storing them.
    pub(crate) admission: Arc<dyn Admission>,
    pub(crate) schemas: Arc<SchemaValidator>,
    pub(crate) validators: Arc<Registry<dyn Validator>>,
    /// Locks the folder for data against other processes.
    _folder: Option<DataFolder>,
    /// Keeps other processes from emptying the SQLite file.
    _file: Option<SqliteLock>,
}

/// Makes a store.
pub(super) async fn open_store(
    data: &DataArgs,
    schemas: &SchemaArgs,
    clock: &Arc<SystemClock>,
    exporter: Option<&mut Exporter>,
) -> anyhow::Result<StoreParts> {
    let validator = Arc::new(schemas.validator()?);
    let validators = Arc::new(Registry::new());
    let validation = Validation::by_schemas(validator.clone())
        .with_registry(validators.clone())
        .with_time(patient(schemas.validator_timeout));
    let mut admission: Arc<dyn Admission> = Arc::new(PatientAdmission::new(validation));
    if let Some(rate) = schemas.pace {
        admission = Arc::new(PacedAdmission::new(admission, rate));
    }
    let OpenBackend {
        backend,
        folder,
        file,
    } = data.backend.open(clock, exporter).await?;
    let store = Store::new(backend, admission.clone(), Arc::new(TimeOrderedIds));
    Ok(StoreParts {
        store,
        admission,
        schemas: validator,
        validators,
        _folder: folder,
        _file: file,
    })
}
