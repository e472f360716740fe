//! Random cases: generated from a seed, shrunk when they fail.
//!
//! | variable | meaning |
//! |---|---|
//! | `TKO_CONFORMANCE_SEED` | the seed, a number; 1 by default, so that runs can be compared |
//! | `TKO_CONFORMANCE_CASES` | the number of cases of each random check; by default as many as take about a second |

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt::Debug;

/// Maximum number of attempts to simplify a failing case.
const SHRINKS: usize = 2_000;

const CASES: &str = "TKO_CONFORMANCE_CASES";

/// Whether the environment sets the number of cases, so that a check may take a long time.
pub(crate) fn is_at_length() -> bool {
    std::env::var_os(CASES).is_some()
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Err(_) => default,
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
    }
}

/// Runs `test` on random cases, and simplifies a case that fails.
///
/// # Panics
/// If a case fails: with the seed, the simplest failing case, and its failure.
pub(crate) async fn explore<S>(
    cases: u64,
    strategy: S,
    mut test: impl AsyncFnMut(S::Value) -> Result<(), String>,
) where
    S: Strategy,
    S::Value: Clone + Debug,
{
    let seed = setting("TKO_CONFORMANCE_SEED", 1);
    let cases = setting(CASES, cases);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for case in 0..cases {
        let mut tree = strategy
            .new_tree(&mut runner)
            .expect("the strategy filters nothing");
        let Err(reason) = test(tree.current()).await else {
            continue;
        };
        let (simplest, reason) = shrink(&mut tree, reason, &mut test).await;
        panic!(
            "{reason}\n\nsimplest failing case: {simplest:#?}\n\n\
             case {case} of TKO_CONFORMANCE_SEED={seed}"
        );
    }
}

async fn shrink<T: ValueTree>(
    tree: &mut T,
    reason: String,
    test: &mut impl AsyncFnMut(T::Value) -> Result<(), String>,
) -> (T::Value, String) {
    let mut simplest = (tree.current(), reason);
    let mut more = tree.simplify();
    for _ in 0..SHRINKS {
        if !more {
            break;
        }
        more = match test(tree.current()).await {
            Err(reason) => {
                simplest = (tree.current(), reason);
                tree.simplify()
            }
            Ok(()) => tree.complicate(),
        };
    }
    simplest
}

/// Returns an error unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

#[cfg(test)]
mod tests {
    use super::explore;
    use proptest::collection::vec;
    use std::panic::AssertUnwindSafe;

    #[test]
    fn a_failing_case_is_made_as_simple_as_it_fails_still() {
        let failed = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let exploring = explore(1_000, vec(0..100_u32, 0..20), async |case| {
                let small = case.iter().all(|n| *n < 7);
                small.then_some(()).ok_or_else(|| "too large".to_owned())
            });
            futures_util::FutureExt::now_or_never(exploring).expect("nothing waits");
        }));
        let panic = failed.expect_err("some of a thousand cases fail");
        let text = panic
            .downcast_ref::<String>()
            .expect("the panic has a message");
        assert!(text.contains("too large"), "{text}");
        assert!(text.contains("[\n    7,\n]"), "the simplest: {text}");
        assert!(text.contains("TKO_CONFORMANCE_SEED="), "{text}");
    }
}
