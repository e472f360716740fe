//! The schema validator: the default for kinds without a registered validator.

use crate::bounded::Bounded;
use crate::compiled::{Findings, SchemaFinding};
use crate::crds::Crds;
use crate::guard;
use crate::schema::Schema;
use crate::source::{BuiltIn, Native, SchemaSource, is_free};
use crate::version::KubernetesVersion;
use async_trait::async_trait;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{
    ContentHash, Error, Gvk, Identifier, Package, Resource, Result, Validator, Violation,
};

/// Maximum number of violations that one validation lists; a last entry states how many more there
/// are.
pub const MAX_VIOLATIONS: usize = 100;

/// Minimum number of resources whose successful validation is remembered.
const REMEMBERED: usize = 32_768;

/// Policy for resources whose kind has no schema in any source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingSchema {
    /// Accept them.
    #[default]
    Accept,
    /// Accept them and log a warning.
    Warn,
    /// Refuse them.
    Refuse,
}

/// Parses `accept`, `warn` or `refuse`.
impl FromStr for MissingSchema {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "accept" => Ok(Self::Accept),
            "warn" => Ok(Self::Warn),
            "refuse" => Ok(Self::Refuse),
            other => Err(Error::bad(
                "missing schemas",
                format!("{other:?} is not one of accept, warn, refuse"),
            )),
        }
    }
}

/// Writes the form that [`FromStr`] reads.
impl fmt::Display for MissingSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        })
    }
}

/// Validates resources strictly against the schema of their kind: unknown properties are refused.
///
/// Schemas are looked up in this order: TKO's own kinds; `CustomResourceDefinition`s in the same
/// package; those [learned](Crds::learn) from other packages; the [added
/// sources](SchemaValidatorBuilder::source); the built-in Kubernetes schemas. Definitions in
/// packages cannot override a Kubernetes kind. An unavailable source ends the lookup with an error,
/// and the resource is not admitted.
///
/// A resource that passed is not validated again while its content and its schema stay the same.
/// Validating the thousandth deployment of a template therefore costs one lookup per resource.
pub struct SchemaValidator {
    native: Native,
    built_in: BuiltIn,
    crds: Arc<Crds>,
    sources: Vec<Arc<dyn SchemaSource>>,
    missing: MissingSchema,
    passed: Mutex<Bounded<Passed, ()>>,
}

/// Content, schema, and whether it was complete.
type Passed = (ContentHash, u64, bool);

/// Configures a [`SchemaValidator`].
#[derive(Default)]
pub struct SchemaValidatorBuilder {
    kubernetes: KubernetesVersion,
    sources: Vec<Arc<dyn SchemaSource>>,
    missing: MissingSchema,
}

impl SchemaValidatorBuilder {
    /// Sets the Kubernetes version of the built-in schemas. Default: the newest one built in.
    #[must_use]
    pub fn kubernetes(mut self, version: KubernetesVersion) -> Self {
        self.kubernetes = version;
        self
    }

    /// Adds a source, asked after those that were added before.
    #[must_use]
    pub fn source(mut self, source: Arc<dyn SchemaSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// Sets the policy for resources of unknown kinds. Default: accept them.
    #[must_use]
    pub fn missing(mut self, missing: MissingSchema) -> Self {
        self.missing = missing;
        self
    }

    /// Builds the validator.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the Kubernetes version is older than every built-in version.
    pub fn build(self) -> Result<SchemaValidator> {
        Ok(SchemaValidator {
            native: Native::new(),
            built_in: BuiltIn::new(self.kubernetes)?,
            crds: Arc::new(Crds::new()),
            sources: self.sources,
            missing: self.missing,
            passed: Mutex::new(Bounded::new(REMEMBERED)),
        })
    }
}

impl SchemaValidator {
    /// Returns a builder with the built-in schemas of the newest Kubernetes version and no other
    /// source.
    pub fn builder() -> SchemaValidatorBuilder {
        SchemaValidatorBuilder::default()
    }

    /// Returns the definitions that the validator uses, so that registered packages can be learned.
    pub fn crds(&self) -> &Arc<Crds> {
        &self.crds
    }

    async fn find(&self, gvk: &Gvk, package: &Package) -> Result<Option<Arc<Schema>>> {
        if let Some(schema) = self.native.get(gvk) {
            return Ok(Some(schema));
        }
        let built_in = self.built_in.get(gvk);
        if built_in.is_none()
            && let Some(schema) = self.crds.find(gvk, package)
        {
            return Ok(Some(schema));
        }
        for source in &self.sources {
            if let Some(schema) = source.find(gvk).await? {
                return Ok(Some(schema));
            }
        }
        Ok(built_in)
    }

    fn without_schema(&self, resource: &Resource) -> Findings {
        let gvk = resource.gvk();
        match self.missing {
            _ if is_free(gvk) => Findings::default(),
            MissingSchema::Accept => Findings::default(),
            MissingSchema::Warn => {
                tracing::warn!(kind = %gvk, name = &*resource.identifier().name, "no schema for this kind; accepted without validation");
                Findings::default()
            }
            MissingSchema::Refuse => Findings::one(SchemaFinding {
                path: String::new(),
                message: format!(
                    "no schema found for kind {} of {}; register its CustomResourceDefinition or add a schema source that has it",
                    gvk.kind,
                    gvk.api_version()
                ),
            }),
        }
    }

    async fn findings(
        &self,
        package: &Package,
        resource: &Arc<Resource>,
        complete: bool,
    ) -> Result<Findings> {
        let Some(schema) = self.find(resource.gvk(), package).await? else {
            return Ok(self.without_schema(resource));
        };
        let passed = (resource.hash(), schema.number(), complete);
        let remembered = || self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered().get(&passed).is_some() {
            return Ok(Findings::default());
        }
        if !guard::is_shallow(resource.value()) {
            return Ok(Findings::one(too_deep()));
        }
        let mut findings = schema.validate(resource, complete, MAX_VIOLATIONS).await?;
        if findings.list.is_empty()
            && let Some(crd) = self.crds.of_resource(resource)
        {
            for (place, (gvk, schema)) in crd.kinds.iter().enumerate() {
                if let Some(reason) = schema.fault().await? {
                    findings.list.push(SchemaFinding {
                        path: format!("spec.versions[{place}].schema.openAPIV3Schema"),
                        message: format!("the schema of {gvk} is unusable: {reason}"),
                    });
                }
            }
        }
        if findings.list.is_empty() {
            remembered().insert(passed, ());
        }
        Ok(findings)
    }
}

pub(crate) fn too_deep() -> SchemaFinding {
    SchemaFinding {
        path: String::new(),
        message: format!("is nested more than {} levels deep", guard::MAX_DEPTH),
    }
}

#[async_trait]
impl Validator for SchemaValidator {
    async fn validate(
        &self,
        package: &Package,
        target: &Identifier,
        complete: bool,
    ) -> Result<Vec<Violation>> {
        let Some(resource) = package.resolve(target)? else {
            return Err(Error::bad(
                "target",
                format!("{target} is not in the package"),
            ));
        };
        let findings = self.findings(package, resource, complete).await?;
        let identifier = resource.identifier();
        let mut violations: Vec<Violation> = findings
            .list
            .into_iter()
            .map(|finding| Violation {
                resource: Some(identifier.clone()),
                path: finding.path,
                message: finding.message,
            })
            .collect();
        if findings.more > 0 {
            violations.push(Violation {
                resource: Some(identifier.clone()),
                path: String::new(),
                message: format!("and {} more violations", findings.more),
            });
        }
        Ok(violations)
    }
}
