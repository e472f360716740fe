//! The schema validator: the default for kinds without a registered validator.

use crate::bounded::Bounded;
use crate::crds::Crds;
use crate::finding::{Findings, SchemaFinding};
use crate::guard;
use crate::schema::Schema;
use crate::source::{BuiltIn, Native, SchemaSource, is_free, unknown_kind};
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
/// package; those [learned](Crds::learn) from other packages; [added
/// sources](SchemaValidatorBuilder::source); built-in Kubernetes schemas. Definitions in packages
/// cannot override a Kubernetes kind. An unavailable source ends the lookup with an error, and the
/// resource is not admitted.
///
/// Kinds that do not exist in a group of Kubernetes or of TKO itself are refused.
///
/// A resource that passed is not validated again while its content and its schema stay the same.
/// Validating the thousandth deployment of a template therefore costs one lookup per resource.
pub struct SchemaValidator {
    native: Native,
    built_in: BuiltIn,
    crds: Arc<Crds>,
    sources: Vec<Arc<dyn SchemaSource>>,
    missing: MissingSchema,
    /// Value: how many validation rules were not evaluated.
    passed: Mutex<Bounded<Passed, usize>>,
}

/// Content, schema, and whether it was complete.
type Passed = (ContentHash, u64, bool);

/// The violations of one resource, and the parts that were not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaVerdict {
    /// The violations, in the order of the schema.
    pub violations: Vec<Violation>,
    /// Whether no source has a schema for the kind, so that nothing was checked.
    pub without_schema: bool,
    /// Number of evaluations of validation rules that were left out. Such a rule compares with the
    /// previous state of the resource, or uses an unknown function.
    pub skipped_rules: usize,
}

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

    /// Adds a source, which is queried after those added before.
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
        let kinds = self.native.kinds().chain(self.built_in.kinds());
        if let Some(message) = unknown_kind(gvk, kinds, &self.built_in.version().label()) {
            return Findings::one(SchemaFinding {
                path: "kind".to_owned(),
                message,
            });
        }
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
        limit: usize,
    ) -> Result<(Findings, bool)> {
        match self.find(resource.gvk(), package).await? {
            Some(schema) => {
                let findings = self.findings_by(&schema, resource, complete, limit).await?;
                Ok((findings, false))
            }
            None => Ok((self.without_schema(resource), true)),
        }
    }

    async fn findings_by(
        &self,
        schema: &Arc<Schema>,
        resource: &Arc<Resource>,
        complete: bool,
        limit: usize,
    ) -> Result<Findings> {
        let passed = (resource.hash(), schema.number(), complete);
        let remembered = || self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered().get(&passed);
        if let Some(skipped_rules) = known {
            return Ok(Findings {
                skipped_rules,
                ..Findings::default()
            });
        }
        if !guard::is_shallow(resource.value()) {
            return Ok(Findings::one(too_deep()));
        }
        let mut findings = schema.validate(resource, complete, limit).await?;
        if findings.list.is_empty()
            && let Some(crd) = self.crds.of_resource(resource)
        {
            findings.list.extend(crd_name(resource));
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
            remembered().insert(passed, findings.skipped_rules);
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

/// Checks that a `CustomResourceDefinition` has the name that consists of its plural and group.
fn crd_name(crd: &Resource) -> Option<SchemaFinding> {
    let text = |path: &[&str]| crd.get(path).and_then(serde_json::Value::as_str);
    let (plural, group) = (
        text(&["spec", "names", "plural"])?,
        text(&["spec", "group"])?,
    );
    let expected = format!("{plural}.{group}");
    (*crd.identifier().name != *expected).then(|| SchemaFinding {
        path: "metadata.name".to_owned(),
        message: format!("must be {expected}: spec.names.plural and spec.group"),
    })
}

impl SchemaValidator {
    /// Validates one resource of a package.
    ///
    /// Unlike [`Validator::validate`], this does not search the package for the resource, and
    /// reports what was not checked. The package provides the definitions of custom kinds.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]: a source cannot be reached now.
    /// - [`Error::BadArgument`]: a source has a schema that cannot be read.
    pub async fn verdict(
        &self,
        package: &Package,
        resource: &Arc<Resource>,
        complete: bool,
    ) -> Result<SchemaVerdict> {
        let verdict = self.verdict_within(package, resource, complete, MAX_VIOLATIONS);
        let (mut verdict, more) = verdict.await?;
        if more > 0 {
            let message = format!("and {more} more violations");
            let violation = Violation::new(message).resource(resource.identifier().clone());
            verdict.violations.push(violation);
        }
        Ok(verdict)
    }

    /// As [`verdict`](Self::verdict), with at most `limit` violations. Also returns how many more
    /// there are.
    ///
    /// A limit of 0 counts as 1, because no violation means that the resource is valid.
    pub(crate) async fn verdict_within(
        &self,
        package: &Package,
        resource: &Arc<Resource>,
        complete: bool,
        limit: usize,
    ) -> Result<(SchemaVerdict, usize)> {
        let findings = self.findings(package, resource, complete, limit.max(1));
        let (findings, without_schema) = findings.await?;
        let identifier = resource.identifier();
        let violations = findings.list.into_iter().map(|finding| {
            Violation::new(finding.message)
                .resource(identifier.clone())
                .path(finding.path)
        });
        let verdict = SchemaVerdict {
            violations: violations.collect(),
            without_schema,
            skipped_rules: findings.skipped_rules,
        };
        Ok((verdict, findings.more))
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
        Ok(self.verdict(package, resource, complete).await?.violations)
    }
}
