//! An admission with one fault.

use async_trait::async_trait;
use std::sync::Arc;
use tko_core::{Admission, Package, Result, Violation};

/// An admission that may accept too much or too little.
pub(crate) struct Lenient {
    strict: Arc<dyn Admission>,
    fault: &'static str,
}

impl Lenient {
    pub(crate) fn new(strict: Arc<dyn Admission>, fault: &'static str) -> Self {
        Self { strict, fault }
    }
}

#[async_trait]
impl Admission for Lenient {
    async fn admit(&self, package: &Package, complete: bool) -> Result<Vec<Violation>> {
        let complete = match self.fault {
            "all packages must be complete" => true,
            "no package must be complete" => false,
            _ => complete,
        };
        let mut violations = self.strict.admit(package, complete).await?;
        match self.fault {
            "no package is validated" => violations.clear(),
            "one violation is reported" => violations.truncate(1),
            _ => {}
        }
        Ok(violations)
    }
}
