//! The validation rules of custom kinds (`x-kubernetes-validations`), in the Common Expression
//! Language.
//!
//! The crate `cel` parses a rule. This module evaluates it, because an evaluation must have a cost
//! limit and the functions of Kubernetes, and the crate's own interpreter has neither. A rule that
//! uses an unknown function is counted as skipped, but does not fail. The same holds for a rule
//! that compares with the previous state of the resource, which only an API server knows.

mod calls;
mod cel_rule;
mod evaluate;
mod fault;
mod moment;
mod network;
mod pattern;
mod rule_text;
mod text;
mod value;

use crate::finding::{Findings, SchemaFinding};
use crate::message::{QUOTED_BYTES, beginning, path};
use crate::structural::Structural;
use cel_rule::RuleProgram;
use evaluate::Evaluation;
use fault::RuleFault;
use pattern::RulePatterns;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use value::Val;

pub(crate) use cel_rule::CelRule;

/// Maximum number of evaluation steps of one rule for one value.
const RULE_COST: u64 = 1_000_000;
/// Maximum number of evaluation steps of all rules of one resource: about a second.
const RESOURCE_COST: u64 = 10_000_000;

/// Maximum number of bytes of the message that a rule has or makes.
const MESSAGE_BYTES: usize = 2_048;

/// Evaluates all rules of a schema for a resource that is otherwise valid. Keeps at most `limit`
/// findings and counts the rest. Ends at a finding after which no steps are left, and soon after
/// `stop` is set, with any outcome.
pub(crate) fn check(
    schema: &Structural,
    resource: &Value,
    limit: usize,
    stop: &AtomicBool,
) -> Findings {
    let mut evaluator = RuleEvaluator {
        resource,
        limit,
        stop,
        left: RESOURCE_COST,
        patterns: RulePatterns::new(),
        findings: Findings::default(),
    };
    let mut pointer = String::new();
    schema.each_ruled(
        resource,
        &mut pointer,
        &mut |rules, schema, value, pointer| {
            for rule in rules {
                if evaluator.is_over() {
                    return;
                }
                evaluator.check(rule, schema, value, pointer);
            }
        },
    );
    evaluator.findings
}

/// The evaluation of all rules of one resource.
struct RuleEvaluator<'r> {
    resource: &'r Value,
    /// Maximum number of findings that are kept.
    limit: usize,
    stop: &'r AtomicBool,
    /// Number of evaluation steps that are left.
    left: u64,
    patterns: RulePatterns,
    findings: Findings,
}

impl RuleEvaluator<'_> {
    /// Returns true if the outcome is not needed, or if the resource was refused and there are no
    /// steps for further rules.
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || (self.left == 0 && !self.findings.list.is_empty())
    }

    /// Evaluates a rule for one value of the resource.
    fn check(&mut self, rule: &CelRule, schema: &Structural, value: &Value, pointer: &str) {
        let program = match &rule.program {
            RuleProgram::Parsed(program) => program,
            // A rule that does not parse is reported at its definition.
            RuleProgram::Transition | RuleProgram::Wrong(_) => {
                self.findings.skipped_rules += 1;
                return;
            }
        };
        let limit = self.left.min(RULE_COST);
        let own = Val::wrap(value, Some(schema));
        let patterns = std::mem::take(&mut self.patterns);
        let mut evaluation = Evaluation::new(own, limit, patterns, self.stop);
        let is_kept = self.findings.list.len() < self.limit;
        let quoted = beginning(&rule.text, QUOTED_BYTES);
        let message = match evaluation.run(program) {
            Ok(Val::Bool(true)) => None,
            Err(RuleFault::Unknown(name)) => {
                tracing::debug!(rule = rule.text, name, "a validation rule is not checked");
                self.findings.skipped_rules += 1;
                None
            }
            // The finding is only counted.
            _ if !is_kept => Some(String::new()),
            Ok(Val::Bool(false)) => Some(match rule.own_message(&mut evaluation) {
                Some(own) => beginning(&own, MESSAGE_BYTES).into_owned(),
                None => format!("failed rule: {quoted}"),
            }),
            Ok(_) => Some(format!("rule {quoted:?} is neither true nor false")),
            Err(RuleFault::Cost) => Some(format!(
                "rule {quoted:?} takes too long for this value; make the value smaller or simplify the rule"
            )),
            Err(RuleFault::Failed(reason)) => {
                let reason = beginning(&reason, QUOTED_BYTES);
                Some(format!("rule {quoted:?} cannot be evaluated: {reason}"))
            }
        };
        self.left -= limit - evaluation.left();
        self.patterns = evaluation.patterns;
        match message {
            Some(message) if is_kept => {
                let finding = rule.finding(pointer, self.resource, message);
                self.findings.list.push(finding);
            }
            Some(_) => self.findings.more += 1,
            None => {}
        }
    }
}

impl CelRule {
    fn own_message(&self, evaluation: &mut Evaluation<'_>) -> Option<String> {
        if let Some(RuleProgram::Parsed(program)) = &self.message_program
            && let Ok(Val::Text(text)) = evaluation.run(program)
            && !text.trim().is_empty()
            && !text.contains('\n')
        {
            return Some(text.trim().to_owned());
        }
        self.message.clone()
    }

    fn finding(&self, pointer: &str, resource: &Value, message: String) -> SchemaFinding {
        let place = path(pointer, resource);
        let field = self.field_path.as_deref().unwrap_or_default();
        let path = match (place.is_empty(), field.strip_prefix('.')) {
            (true, Some(field)) => field.to_owned(),
            _ => format!("{place}{field}"),
        };
        SchemaFinding { path, message }
    }
}

#[cfg(test)]
mod tests;
