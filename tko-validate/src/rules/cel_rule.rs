//! Parsed rules.

use crate::message::{QUOTED_BYTES, beginning};
use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr};
use cel::parser::PrattParser;
use serde_json::Value;
use std::sync::Arc;

/// Maximum size of a rule in bytes.
const MAX_RULE_BYTES: usize = 16 << 10;
/// Maximum nesting of parentheses, lists and the like in a rule.
const MAX_NESTING: u16 = 48;
/// Maximum depth of a parsed rule. A chain such as `a + b + c` is nested, too.
const MAX_DEPTH: usize = 100;
/// Maximum number of nodes of a parsed rule. Its memory is released recursively.
const MAX_NODES: usize = 2_000;
/// One rule of a schema.
#[derive(Debug)]
pub(crate) struct CelRule {
    pub(super) text: String,
    pub(super) message: Option<String>,
    pub(super) field_path: Option<String>,
    pub(super) program: RuleProgram,
    pub(super) message_program: Option<RuleProgram>,
}

/// A parsed expression.
#[derive(Clone, Debug)]
pub(super) enum RuleProgram {
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

    /// Returns why the rule cannot be used, if it does not parse.
    pub(crate) fn fault(&self) -> Option<String> {
        match &self.program {
            RuleProgram::Wrong(reason) => {
                let quoted = beginning(&self.text, QUOTED_BYTES);
                let reason = beginning(reason, QUOTED_BYTES);
                Some(format!("rule {quoted:?} does not parse: {reason}"))
            }
            RuleProgram::Parsed(_) | RuleProgram::Transition => None,
        }
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
