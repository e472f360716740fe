//! The validation rules of custom kinds (`x-kubernetes-validations`), in the Common Expression
//! Language.
//!
//! The crate `cel` parses a rule. This module evaluates it, because an evaluation must have a cost
//! limit and the functions of Kubernetes, and the crate's own interpreter has neither. A rule that
//! uses a function that is not known here is counted, not failed; so is a rule that compares with
//! the previous state of the resource, which only an API server knows.

mod calls;
mod evaluate;
mod moment;
mod network;
mod text;
mod value;

use crate::compiled::SchemaFinding;
use crate::message::path;
use crate::structural::Structural;
use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use cel::parser::PrattParser;
use evaluate::{Evaluation, RuleFault};
use serde_json::Value;
use std::sync::Arc;
use value::Val;

/// Maximum size of a rule in bytes.
const MAX_RULE_BYTES: usize = 16 << 10;
/// Maximum nesting of parentheses, lists and the like in a rule.
const MAX_NESTING: u16 = 48;
/// Maximum depth of a parsed rule. A chain such as `a + b + c` is nested, too.
const MAX_DEPTH: usize = 100;
/// Maximum number of nodes of a parsed rule. Its memory is released recursively.
const MAX_NODES: usize = 2_000;
/// Evaluation steps that one rule may take for one value.
const RULE_COST: u64 = 1_000_000;
/// Evaluation steps that all rules of one resource may take: about a second.
const RESOURCE_COST: u64 = 10_000_000;

/// One rule of a schema.
#[derive(Debug)]
pub(crate) struct CelRule {
    text: String,
    message: Option<String>,
    field_path: Option<String>,
    program: RuleProgram,
    message_program: Option<RuleProgram>,
}

/// A parsed expression.
#[derive(Clone, Debug)]
enum RuleProgram {
    Parsed(Arc<IdedExpr>),
    /// It compares with the previous state.
    Transition,
    /// It does not parse, for this reason.
    Wrong(String),
}

impl CelRule {
    /// Reads an item of `x-kubernetes-validations`.
    pub(crate) fn read(rule: &Value) -> Option<Self> {
        let text = |name: &str| rule.get(name).and_then(Value::as_str).map(str::to_owned);
        let optional = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        let rule_text = text("rule")?;
        Some(Self {
            program: RuleProgram::parse(&rule_text, optional),
            message_program: text("messageExpression")
                .map(|text| RuleProgram::parse(&text, optional)),
            text: rule_text,
            message: text("message").filter(|message| !message.trim().is_empty()),
            field_path: text("fieldPath"),
        })
    }
}

impl RuleProgram {
    fn parse(text: &str, optional_old_self: bool) -> Self {
        if text.len() > MAX_RULE_BYTES {
            return Self::Wrong(format!("it is longer than {MAX_RULE_BYTES} bytes"));
        }
        let parser = PrattParser::new()
            .max_recursion_depth(MAX_NESTING)
            .max_expression_node_count(MAX_NODES)
            .enable_optional_syntax(true)
            .enable_ident_escape_syntax(true);
        match parser.parse(text) {
            Ok(parsed) if is_deep(&parsed) => {
                Self::Wrong(format!("it is nested more than {MAX_DEPTH} levels deep"))
            }
            Ok(parsed) if !optional_old_self && names(&parsed, "oldSelf") => Self::Transition,
            Ok(parsed) => Self::Parsed(Arc::new(parsed)),
            Err(errors) => Self::Wrong(
                errors
                    .errors
                    .first()
                    .map_or_else(String::new, |error| error.msg.clone()),
            ),
        }
    }
}

/// The outcome of the rules of one resource.
#[derive(Debug, Default)]
pub(crate) struct RuleOutcome {
    /// The rules that do not hold.
    pub(crate) findings: Vec<SchemaFinding>,
    /// Number of evaluations that were left out: transition rules, and unknown functions.
    pub(crate) skipped: usize,
}

/// Evaluates all rules of a schema for a resource that is otherwise valid.
pub(crate) fn check(schema: &Structural, resource: &Value) -> RuleOutcome {
    let mut outcome = RuleOutcome::default();
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
    /// Returns why the rule cannot be used, if it does not parse.
    pub(crate) fn fault(&self) -> Option<String> {
        match &self.program {
            RuleProgram::Wrong(reason) => {
                Some(format!("rule {:?} does not parse: {reason}", self.text))
            }
            RuleProgram::Parsed(_) | RuleProgram::Transition => None,
        }
    }

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
        let message = match result {
            Ok(Val::Bool(true)) => return,
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

/// Returns true if an expression is too deep to be evaluated recursively. Does not recurse.
fn is_deep(expression: &IdedExpr) -> bool {
    let mut waiting = vec![(expression, 0)];
    while let Some((expression, depth)) = waiting.pop() {
        if depth > MAX_DEPTH {
            return true;
        }
        let within = parts(expression).into_iter();
        waiting.extend(within.map(|part| (part, depth + 1)));
    }
    false
}

/// Returns true if an expression mentions a variable.
fn names(expression: &IdedExpr, name: &str) -> bool {
    let mut waiting = vec![expression];
    while let Some(expression) = waiting.pop() {
        if matches!(&expression.expr, Expr::Ident(ident) if ident == name) {
            return true;
        }
        waiting.extend(parts(expression));
    }
    false
}

/// Returns the expressions directly within an expression.
fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::Comprehension(loops) => vec![
            &loops.iter_range,
            &loops.accu_init,
            &loops.loop_cond,
            &loops.loop_step,
            &loops.result,
        ],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => of_entries(&map.entries),
        Expr::Struct(one) => of_entries(&one.entries),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn of_entries(entries: &[IdedEntryExpr]) -> Vec<&IdedExpr> {
    let parts = entries.iter().map(|entry| match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    });
    parts.flatten().collect()
}

#[cfg(test)]
mod tests;
