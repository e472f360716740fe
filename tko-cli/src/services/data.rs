//! The data service, as flags and as running parts.

use super::backend::BackendArgs;
use super::controllers::patient;
use super::metrics::Exporter;
use super::time;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tko_core::system::{SystemClock, TimeOrderedIds};
use tko_core::{Backend, Registry, Store, Validator};
use tko_validate::{
    Directory, KubernetesVersion, MissingSchema, SchemaValidator, UrlTemplate, Validation,
};

/// What keeps the data, and what is let in
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// What this instance is called, for people
    #[arg(long, value_name = "NAME", default_value = "tko")]
    pub(crate) name: String,
    /// More about it, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) description: String,
    #[command(flatten)]
    backend: BackendArgs,
}

/// What is valid
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Validation")]
pub(crate) struct SchemaArgs {
    /// Time for each validator to validate one package
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "30s")]
    pub(crate) validator_timeout: Duration,
    /// Kubernetes version whose schemas are used [default: the newest built in]
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<KubernetesVersion>,
    /// More schemas: a file or folder of CustomResourceDefinitions, a release's swagger.json, or
    /// JSON Schemas; or a URL with the variables of kubeconform. May be repeated
    #[arg(long = "schema-location", value_name = "LOCATION")]
    schema_locations: Vec<String>,
    /// Keep fetched schemas here
    #[arg(long, value_name = "DIR")]
    schema_cache: Option<PathBuf>,
    /// What becomes of kinds without a schema: accept, warn or refuse
    #[arg(long, value_name = "POLICY", default_value = "accept")]
    missing_schemas: MissingSchema,
}

impl DataArgs {
    /// In memory, with what the flags have as defaults.
    pub(crate) fn memory() -> Self {
        Self {
            name: "tko".to_owned(),
            backend: BackendArgs::memory(),
            ..Self::default()
        }
    }
}

impl SchemaArgs {
    /// What is built in, with what the flags have as defaults.
    pub(crate) fn built_in() -> Self {
        Self {
            validator_timeout: tko_validate::VALIDATOR_TIME,
            ..Self::default()
        }
    }

    /// The schema validator.
    pub(crate) fn validator(&self) -> anyhow::Result<SchemaValidator> {
        let version = self.kubernetes_version.unwrap_or_default();
        let mut builder = SchemaValidator::builder()
            .kubernetes(version)
            .missing(self.missing_schemas);
        for location in &self.schema_locations {
            builder = if location.starts_with("http://") || location.starts_with("https://") {
                let mut template = UrlTemplate::new(location, version)?;
                if let Some(folder) = &self.schema_cache {
                    template = template.with_cache(folder);
                }
                builder.source(Arc::new(template))
            } else {
                let directory =
                    Directory::open(location).with_context(|| format!("schemas of {location}"))?;
                builder.source(Arc::new(directory))
            };
        }
        Ok(builder.build()?)
    }
}

/// A store with its one door.
pub(crate) struct Kept {
    pub(crate) store: Store<dyn Backend>,
    pub(crate) schemas: Arc<SchemaValidator>,
    pub(crate) validators: Arc<Registry<dyn Validator>>,
}

/// Puts a store together.
pub(super) async fn keep(
    data: &DataArgs,
    schemas: &SchemaArgs,
    clock: &Arc<SystemClock>,
    exporter: Option<&mut Exporter>,
) -> anyhow::Result<Kept> {
    let validator = Arc::new(schemas.validator()?);
    let validators = Arc::new(Registry::new());
    let validation = Validation::new(validator.clone())
        .with_registry(validators.clone())
        .with_time(patient(schemas.validator_timeout));
    let store = Store::new(
        data.backend.open(clock, exporter).await?,
        Arc::new(validation),
        Arc::new(TimeOrderedIds),
    );
    Ok(Kept {
        store,
        schemas: validator,
        validators,
    })
}
