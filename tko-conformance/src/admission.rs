//! Admissions: [`Strict`], which suite 2 expects, and [`AdmitAll`].

use async_trait::async_trait;
use tko_core::{Admission, Package, Result, Violation};

/// Distinguishes valid packages from partially valid and invalid ones.
///
/// Refuses every resource with `spec.bad`. If a package must be complete, it also refuses every
/// resource of kind `Need` without `spec.value`.
///
/// Suite 2 relies on exactly these rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strict;

#[async_trait]
impl Admission for Strict {
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>> {
        let mut violations = Vec::new();
        for resource in package {
            let mut refuse = |path: &str, message: &str| {
                violations.push(
                    Violation::new(message.to_owned())
                        .resource(resource.identifier().clone())
                        .path(path),
                );
            };
            if resource.get(&["spec", "bad"]).is_some() {
                refuse("spec.bad", "must not be set; remove it");
            }
            let needy = &*resource.gvk().kind == "Need";
            if complete && needy && resource.get(&["spec", "value"]).is_none() {
                refuse("spec.value", "is missing; set it");
            }
        }
        Ok(violations)
    }
}

/// Admits every package.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmitAll;

#[async_trait]
impl Admission for AdmitAll {
    async fn admit(&self, _: &Package, _: bool) -> Result<Vec<Violation>> {
        Ok(Vec::new())
    }
}
