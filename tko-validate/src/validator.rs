//! The schema validator: the default for kinds that nobody else validates.

use crate::bounded::Bounded;
use crate::compiled::{Finding, Findings};
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

/// Most violations that one validation lists; the last then says how many more there are.
pub const MAX_VIOLATIONS: usize = 100;

/// For how many resources, at least, it is remembered that they passed.
const REMEMBERED: usize = 32_768;

/// What becomes of resources whose kind no source has a schema for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// They pass.
    #[default]
    Accept,
    /// They pass, and a warning is logged.
    Warn,
    /// They are refused.
    Refuse,
}

/// `accept`, `warn` or `refuse`.
impl FromStr for Missing {
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

/// As [`FromStr`] reads it.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accept => "accept",
            Self::Warn => "warn",
            Self::Refuse => "refuse",
        })
    }
}

/// Validates resources against the schema of their kind, strictly: unknown properties are refused.
///
/// The schema is looked for in this order: TKO's own kinds; `CustomResourceDefinition`s in the same
/// package, then those [learned](Crds::learn) from others (neither can redefine a kind of
/// Kubernetes); the [added sources](SchemaValidatorBuilder::source); what is built in. A source
/// that is down ends the search with an error, and the resource does not pass.
///
/// A resource that passed is not validated again while its content and its schema stay the same,
/// so validating the thousandth deployment of a template costs a look-up for each resource.
pub struct SchemaValidator {
    native: Native,
    built_in: BuiltIn,
    crds: Arc<Crds>,
    sources: Vec<Arc<dyn SchemaSource>>,
    missing: Missing,
    passed: Mutex<Bounded<Passed, ()>>,
}

/// Content, schema, and whether it was complete.
type Passed = (ContentHash, u64, bool);

/// Settles how a [`SchemaValidator`] works.
#[derive(Default)]
pub struct SchemaValidatorBuilder {
    kubernetes: KubernetesVersion,
    sources: Vec<Arc<dyn SchemaSource>>,
    missing: Missing,
}

impl SchemaValidatorBuilder {
    /// The Kubernetes version whose built-in schemas are used. Default: the newest built in.
    #[must_use]
    pub fn kubernetes(mut self, version: KubernetesVersion) -> Self {
        self.kubernetes = version;
        self
    }

    /// One more source, asked after those that were added before.
    #[must_use]
    pub fn source(mut self, source: Arc<dyn SchemaSource>) -> Self {
        self.sources.push(source);
        self
    }

    /// What becomes of resources of unknown kinds. Default: they pass.
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// The validator.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the Kubernetes version is older than all that are built in.
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
    /// Begins with defaults: built-in schemas of the newest Kubernetes version, and nothing else.
    pub fn builder() -> SchemaValidatorBuilder {
        SchemaValidatorBuilder::default()
    }

    /// Where registered packages are to be learned from.
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
            Missing::Accept => Findings::default(),
            Missing::Warn => {
                tracing::warn!(kind = %gvk, name = &*resource.identifier().name, "no schema for this kind; accepted as it is");
                Findings::default()
            }
            Missing::Refuse => Findings::one(Finding {
                path: String::new(),
                message: format!(
                    "no schema is known for kind {} of {}; register its CustomResourceDefinition, or add a source that has it",
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
                    findings.list.push(Finding {
                        path: format!("spec.versions[{place}].schema.openAPIV3Schema"),
                        message: format!("the schema of {gvk} cannot be used: {reason}"),
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

pub(crate) fn too_deep() -> Finding {
    Finding {
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
