//! Patterns of rules: compiled once for each resource, and paid for by their size.

use super::evaluate::Evaluation;
use super::fault::RuleFault;
use regex::{Error, Regex, RegexBuilder};
use std::collections::HashMap;
use std::rc::Rc;

/// Sizes in bytes that a compiled pattern may have, smallest first. A pattern is paid for by the
/// first one that is enough.
const PATTERN_SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Maximum number of compiled patterns that are kept. They take memory when they are used, too.
const KEPT_PATTERNS: usize = 64;

/// Compiled patterns by their text. They are not cloned: a clone of a [`Regex`] has caches of its
/// own.
pub(super) type RulePatterns = HashMap<String, Rc<RulePattern>>;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct RulePattern {
    pub(super) regex: Regex,
    /// The size of the program in bytes, rounded up to one of [`PATTERN_SIZES`].
    size: usize,
}

impl RulePattern {
    /// Returns how many steps a search in this many bytes takes. A byte takes the longer, the
    /// larger the program is.
    pub(super) fn steps(&self, bytes: usize) -> u64 {
        let factor = (self.size / PATTERN_SIZES[0]) as u64;
        (bytes as u64 / 4).saturating_mul(factor)
    }
}

impl Evaluation<'_> {
    /// Returns a compiled pattern.
    pub(super) fn pattern(&mut self, text: &str) -> Result<Rc<RulePattern>, RuleFault> {
        if let Some(known) = self.patterns.get(text) {
            return Ok(Rc::clone(known));
        }
        for size in PATTERN_SIZES {
            self.pay(size as u64 / 8 + 10 * text.len() as u64)?;
            match RegexBuilder::new(text).size_limit(size).build() {
                Ok(regex) => {
                    let built = Rc::new(RulePattern { regex, size });
                    if self.patterns.len() >= KEPT_PATTERNS {
                        self.patterns.clear();
                    }
                    self.patterns.insert(text.to_owned(), Rc::clone(&built));
                    return Ok(built);
                }
                Err(Error::CompiledTooBig(_)) => {}
                Err(_) => break,
            }
        }
        Err(RuleFault::Failed(format!("{text:?} is not a pattern")))
    }
}
