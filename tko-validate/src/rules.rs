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
mod text;
mod value;

use crate::finding::SchemaFinding;
use crate::message::path;
use crate::structural::Structural;
use cel_rule::RuleProgram;
use evaluate::Evaluation;
use fault::RuleFault;
use serde_json::Value;
use value::Val;

pub(crate) use cel_rule::CelRule;

/// Maximum number of evaluation steps of one rule for one value.
const RULE_COST: u64 = 1_000_000;
/// Maximum number of evaluation steps of all rules of one resource: about a second.
const RESOURCE_COST: u64 = 10_000_000;

/// The outcome of the rules of one resource.
#[derive(Debug, Default)]
pub(crate) struct RuleOutcome {
    /// The rules that do not hold, up to the limit.
    pub(crate) findings: Vec<SchemaFinding>,
    /// Number of further rules that do not hold.
    pub(crate) more: usize,
    /// Number of evaluations that were left out: transition rules, and unknown functions.
    pub(crate) skipped: usize,
    /// Maximum number of findings.
    limit: usize,
}

/// Evaluates all rules of a schema for a resource that is otherwise valid.
///
/// Returns at most `limit` findings, because each has a copy of its message, and counts the others.
pub(crate) fn check(schema: &Structural, resource: &Value, limit: usize) -> RuleOutcome {
    let mut outcome = RuleOutcome {
        limit,
        ..RuleOutcome::default()
    };
    let mut left = RESOURCE_COST;
    let mut pointer = String::new();
    schema.each_ruled(
        resource,
        &mut pointer,
        &mut |rules, schema, value, pointer| {
            for rule in rules {
                rule.check(schema, value, resource, pointer, &mut left, &mut outcome);
            }
        },
    );
    outcome
}

impl CelRule {
    fn check(
        &self,
        schema: &Structural,
        value: &Value,
        resource: &Value,
        pointer: &str,
        left: &mut u64,
        outcome: &mut RuleOutcome,
    ) {
        let program = match &self.program {
            RuleProgram::Parsed(program) => program,
            // A rule that does not parse is reported at its definition.
            RuleProgram::Transition | RuleProgram::Wrong(_) => {
                outcome.skipped += 1;
                return;
            }
        };
        let limit = (*left).min(RULE_COST);
        let mut evaluation = Evaluation::new(Val::wrap(value, Some(schema)), limit);
        let result = evaluation.run(program);
        *left -= limit - evaluation.left();
        let is_full = outcome.findings.len() >= outcome.limit;
        let message = match result {
            Ok(Val::Bool(true)) => return,
            Ok(_) | Err(RuleFault::Cost | RuleFault::Failed(_)) if is_full => {
                outcome.more += 1;
                return;
            }
            Ok(Val::Bool(false)) => {
                let own = self.own_message(&mut evaluation);
                own.unwrap_or_else(|| format!("failed rule: {}", self.text))
            }
            Ok(_) => format!("rule {:?} is neither true nor false", self.text),
            Err(RuleFault::Unknown(name)) => {
                tracing::debug!(rule = self.text, name, "a validation rule is not checked");
                outcome.skipped += 1;
                return;
            }
            Err(RuleFault::Cost) => format!(
                "rule {:?} takes too long for this value; make the value smaller or simplify the rule",
                self.text
            ),
            Err(RuleFault::Failed(reason)) => {
                format!("rule {:?} cannot be evaluated: {reason}", self.text)
            }
        };
        outcome
            .findings
            .push(self.finding(pointer, resource, message));
    }

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
