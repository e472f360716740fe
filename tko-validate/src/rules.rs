//! The validation rules of custom kinds (`x-kubernetes-validations`), in the Common Expression
//! Language.
//!
//! The crate `cel` parses a rule. This module evaluates it, because an evaluation must have a cost
//! limit and the functions of Kubernetes, and the crate's own interpreter has neither. A rule that
//! uses an unknown function is counted as skipped, but does not fail; so is a rule that compares
//! with the previous state of the resource, which only an API server knows.

mod calls;
mod cel_rule;
mod evaluate;
mod fault;
mod moment;
mod network;
mod pattern;
mod text;
mod value;

use crate::finding::{Findings, SchemaFinding};
use crate::message::path;
use crate::structural::Structural;
use cel_rule::RuleProgram;
use evaluate::Evaluation;
use fault::RuleFault;
use pattern::RulePatterns;
use serde_json::Value;
use value::Val;

pub(crate) use cel_rule::CelRule;

/// Maximum number of evaluation steps of one rule for one value.
const RULE_COST: u64 = 1_000_000;
/// Maximum number of evaluation steps of all rules of one resource: about a second.
const RESOURCE_COST: u64 = 10_000_000;

/// Evaluates all rules of a schema for a resource that is otherwise valid.
pub(crate) fn check(schema: &Structural, resource: &Value) -> Findings {
    let mut evaluator = RuleEvaluator {
        resource,
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
                evaluator.check(rule, schema, value, pointer);
            }
        },
    );
    evaluator.findings
}

/// The evaluation of all rules of one resource.
struct RuleEvaluator<'r> {
    resource: &'r Value,
    /// Number of evaluation steps that are left.
    left: u64,
    patterns: RulePatterns,
    findings: Findings,
}

impl RuleEvaluator<'_> {
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
        let mut evaluation = Evaluation::new(own, limit, patterns);
        let message = match evaluation.run(program) {
            Ok(Val::Bool(true)) => None,
            Ok(Val::Bool(false)) => {
                let own = rule.own_message(&mut evaluation);
                Some(own.unwrap_or_else(|| format!("failed rule: {}", rule.text)))
            }
            Ok(_) => Some(format!("rule {:?} is neither true nor false", rule.text)),
            Err(RuleFault::Unknown(name)) => {
                tracing::debug!(rule = rule.text, name, "a validation rule is not checked");
                self.findings.skipped_rules += 1;
                None
            }
            Err(RuleFault::Cost) => Some(format!(
                "rule {:?} takes too long for this value; make the value smaller or simplify the rule",
                rule.text
            )),
            Err(RuleFault::Failed(reason)) => Some(format!(
                "rule {:?} cannot be evaluated: {reason}",
                rule.text
            )),
        };
        self.left -= limit - evaluation.left();
        self.patterns = evaluation.patterns;
        if let Some(message) = message {
            let finding = rule.finding(pointer, self.resource, message);
            self.findings.list.push(finding);
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
