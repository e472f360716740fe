//! Conditions of merges: `when` of a reference in `merge`.

use std::fmt;
use std::sync::Arc;
use tko_core::Package;

/// Evaluates a condition over a package; an error is the reason why it cannot.
type Evaluate = dyn Fn(&str, &Package) -> Result<bool, String> + Send + Sync;

/// How conditions of merges are evaluated. By default they are refused: the language of conditions
/// is the choice of the program.
#[derive(Clone, Default)]
pub struct MergeConditions(Option<Arc<Evaluate>>);

impl MergeConditions {
    /// Evaluates conditions by a function of the condition's text and the package of the topology.
    pub fn new(
        evaluate: impl Fn(&str, &Package) -> Result<bool, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(evaluate)))
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// The reason why it cannot be evaluated.
    pub(super) fn holds(&self, condition: &str, package: &Package) -> Result<bool, String> {
        match &self.0 {
            Some(evaluate) => evaluate(condition, package),
            None => Err("this preparer evaluates no conditions".to_owned()),
        }
    }
}

impl fmt::Debug for MergeConditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MergeConditions")
            .field(&self.0.is_some())
            .finish()
    }
}
