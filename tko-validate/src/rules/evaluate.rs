//! Evaluation of one expression, step by step, with a limit.

use super::fault::RuleFault;
use super::pattern::RulePatterns;
use super::value::{Evaluated, Val};
use cel::IdedExpr;
use cel::common::ast::operators as operator;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A variable. The result of a loop can be a fault that later items absorb.
type ScopeEntry<'a> = (String, Evaluated<'a>);

/// The evaluation of the expressions of one rule for one value.
pub(super) struct Evaluation<'a> {
    variables: Vec<ScopeEntry<'a>>,
    left: u64,
    pub(super) patterns: RulePatterns,
    stop: &'a AtomicBool,
}

impl<'a> Evaluation<'a> {
    /// Creates an evaluation with `self`, and with an `oldSelf` that is absent. `patterns` are those
    /// that other rules of the resource have compiled. Once `stop` is set, no steps are left.
    pub(super) fn new(
        own: Val<'a>,
        limit: u64,
        patterns: RulePatterns,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            variables: vec![
                ("self".to_owned(), Ok(own)),
                ("oldSelf".to_owned(), Ok(Val::Optional(None))),
            ],
            left: limit,
            patterns,
            stop,
        }
    }

    /// Returns the steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Evaluates an expression.
    pub(super) fn run(&mut self, expression: &IdedExpr) -> Evaluated<'a> {
        self.pay(1)?;
        match &expression.expr {
            Expr::Literal(literal) => {
                let value = constant(literal);
                // Texts and bytes are made again by each evaluation.
                self.pay(value.weight(self.left) - 1)?;
                Ok(value)
            }
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                let operand = self.run(&select.operand)?;
                if select.test {
                    return present(&operand, &select.field).map(Val::Bool);
                }
                field(operand, &select.field)
            }
            Expr::List(list) => {
                let mut items = Vec::with_capacity(list.elements.len());
                for (index, element) in list.elements.iter().enumerate() {
                    let value = self.run(element)?;
                    match (list.optional_indices.contains(&index), value) {
                        (true, Val::Optional(inner)) => {
                            items.extend(inner.map(|value| (*value).clone()));
                        }
                        (_, value) => items.push(value),
                    }
                }
                Ok(Val::list(items))
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return Err(RuleFault::Unknown("a struct".to_owned()));
                    };
                    let key = self.run(&entry.key)?;
                    let value = self.run(&entry.value)?;
                    match (entry.optional, value) {
                        (true, Val::Optional(inner)) => {
                            entries.extend(inner.map(|value| (key, (*value).clone())));
                        }
                        (_, value) => entries.push((key, value)),
                    }
                }
                Ok(Val::Map(Rc::new(entries)))
            }
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(loops) => self.comprehension(loops),
            Expr::Struct(_) | Expr::Unspecified => Err(RuleFault::Unknown("a struct".to_owned())),
        }
    }

    /// Subtracts steps from the limit.
    pub(super) fn pay(&mut self, steps: u64) -> Result<(), RuleFault> {
        if self.stop.load(Ordering::Relaxed) {
            self.left = 0;
        }
        let left = self.left.checked_sub(steps);
        self.left = left.unwrap_or_default();
        left.map(drop).ok_or(RuleFault::Cost)
    }

    /// Subtracts the steps of reading a whole value from the limit.
    pub(super) fn pay_for(&mut self, value: &Val<'a>) -> Result<(), RuleFault> {
        let weight = value.weight(self.left.saturating_add(1));
        self.pay(weight)
    }

    fn variable(&mut self, name: &str) -> Evaluated<'a> {
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        match found {
            Some((_, value)) => value.clone(),
            None => match name {
                "int" => Ok(Val::Type("int")),
                "uint" => Ok(Val::Type("uint")),
                "double" => Ok(Val::Type("double")),
                "string" => Ok(Val::Type("string")),
                "bool" => Ok(Val::Type("bool")),
                "bytes" => Ok(Val::Type("bytes")),
                "list" => Ok(Val::Type("list")),
                "map" => Ok(Val::Type("map")),
                "null_type" => Ok(Val::Type("null_type")),
                other => Err(RuleFault::Unknown(other.to_owned())),
            },
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.variables.iter().any(|(known, _)| known == name)
    }

    fn call(&mut self, call: &CallExpr) -> Evaluated<'a> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operator::LOGICAL_AND, [one, other]) => self.logical(one, other, false),
            (operator::LOGICAL_OR, [one, other]) => self.logical(one, other, true),
            (operator::CONDITIONAL, [condition, yes, no]) => match self.run(condition)? {
                Val::Bool(true) => self.run(yes),
                Val::Bool(false) => self.run(no),
                other => Err(mismatch("?:", &other)),
            },
            (operator::NOT_STRICTLY_FALSE, [value]) => match self.run(value) {
                Err(RuleFault::Cost) => Err(RuleFault::Cost),
                Ok(Val::Bool(value)) => Ok(Val::Bool(value)),
                _ => Ok(Val::Bool(true)),
            },
            (operator::ADD, [one, other]) => {
                // A loop appends to its result: the list is moved, not copied each time.
                let one = match &one.expr {
                    Expr::Ident(name) if name.starts_with('@') => self.take(name)?,
                    _ => self.run(one)?,
                };
                let other = self.run(other)?;
                self.add(one, other)
            }
            (operator::OPT_SELECT, [operand, name]) => {
                let operand = self.run(operand)?;
                let Expr::Literal(LiteralValue::String(name)) = &name.expr else {
                    return Err(RuleFault::Unknown("a field of this form".to_owned()));
                };
                optional_field(operand, name.inner())
            }
            (name, arguments) => {
                let space = call
                    .target
                    .as_deref()
                    .and_then(|target| match &target.expr {
                        Expr::Ident(space) if !self.knows(space) => Some(space.as_str()),
                        _ => None,
                    });
                let mut values = Vec::with_capacity(arguments.len() + 1);
                if let (Some(target), None) = (&call.target, space) {
                    values.push(self.run(target)?);
                }
                for argument in arguments {
                    values.push(self.run(argument)?);
                }
                match (space, &call.target) {
                    (Some(space), _) => self.function(&format!("{space}.{name}"), values),
                    (None, Some(_)) => self.method(name, &values),
                    (None, None) => self.function(name, values),
                }
            }
        }
    }

    /// Evaluates `&&` or `||`: a value that decides hides a fault of the other side.
    fn logical(&mut self, one: &IdedExpr, other: &IdedExpr, decides: bool) -> Evaluated<'a> {
        let first = self.run(one);
        match first {
            Ok(Val::Bool(value)) if value == decides => return Ok(Val::Bool(decides)),
            Err(RuleFault::Cost) => return Err(RuleFault::Cost),
            _ => {}
        }
        match (first, self.run(other)) {
            (_, Ok(Val::Bool(value))) if value == decides => Ok(Val::Bool(decides)),
            (_, Err(RuleFault::Cost)) => Err(RuleFault::Cost),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
            (Ok(Val::Bool(_)), Ok(Val::Bool(value))) => Ok(Val::Bool(value)),
            (Ok(Val::Bool(_)), Ok(wrong)) | (Ok(wrong), _) => Err(mismatch("&& and ||", &wrong)),
        }
    }

    /// Moves the result of a loop out of its variable, which is set again after the step.
    fn take(&mut self, name: &str) -> Evaluated<'a> {
        let found = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name);
        match found {
            Some((_, value)) => match value {
                Ok(Val::List(_)) => std::mem::replace(value, Ok(Val::Null)),
                other => other.clone(),
            },
            None => Err(RuleFault::Unknown(name.to_owned())),
        }
    }

    fn comprehension(&mut self, loops: &ComprehensionExpr) -> Evaluated<'a> {
        let range = self.run(&loops.iter_range)?;
        let start = self.run(&loops.accu_init);
        let outer = self.variables.len();
        self.variables.push((loops.accu_var.clone(), start));
        let result = self.iterate(loops, &range, outer);
        self.variables.truncate(outer);
        result
    }

    fn iterate(
        &mut self,
        loops: &ComprehensionExpr,
        range: &Val<'a>,
        accumulator: usize,
    ) -> Evaluated<'a> {
        let entries = range.entries();
        let Some(length) = range.length() else {
            return Err(mismatch("a loop", range));
        };
        self.pay(length as u64 / 10)?;
        for index in 0..length {
            let (key, value) = if let Some(entries) = &entries {
                entries[index].clone()
            } else {
                let number = i64::try_from(index).unwrap_or(i64::MAX);
                let item = range.item(index).unwrap_or(Val::Null);
                (Val::Int(number), item)
            };
            if !matches!(self.run(&loops.loop_cond)?, Val::Bool(true)) {
                break;
            }
            let inner = self.variables.len();
            if let Some(second) = &loops.iter_var2 {
                self.variables.push((loops.iter_var.clone(), Ok(key)));
                self.variables.push((second.clone(), Ok(value)));
            } else {
                let each = if entries.is_some() { key } else { value };
                self.variables.push((loops.iter_var.clone(), Ok(each)));
            }
            let next = self.run(&loops.loop_step);
            self.variables.truncate(inner);
            if next == Err(RuleFault::Cost) {
                return next;
            }
            self.variables[accumulator].1 = next;
        }
        self.run(&loops.result)
    }
}

impl PartialEq for Val<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other)
    }
}

fn constant<'a>(literal: &LiteralValue) -> Val<'a> {
    match literal {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Val::Bytes(Rc::new(value.inner().to_vec())),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(value) => Val::text(value.inner()),
        LiteralValue::UInt(value) => Val::Uint(*value.inner()),
    }
}

/// The fault of an operation that a type does not have.
pub(super) fn mismatch(operation: &str, value: &Val<'_>) -> RuleFault {
    RuleFault::Failed(format!(
        "{operation} does not apply to {}",
        value.type_name()
    ))
}

/// Evaluates `has()`.
fn present(operand: &Val<'_>, name: &str) -> Result<bool, RuleFault> {
    match operand {
        Val::Optional(None) => Ok(false),
        Val::Optional(Some(inner)) => present(inner, name),
        other => Ok(other.select(name)?.is_some()),
    }
}

fn field<'a>(operand: Val<'a>, name: &str) -> Evaluated<'a> {
    if matches!(operand, Val::Optional(_)) {
        return optional_field(operand, name);
    }
    operand
        .select(name)?
        .ok_or_else(|| RuleFault::Failed(format!("no such key: {name}")))
}

fn optional_field<'a>(operand: Val<'a>, name: &str) -> Evaluated<'a> {
    let inner = match operand {
        Val::Optional(None) => return Ok(Val::Optional(None)),
        Val::Optional(Some(inner)) => (*inner).clone(),
        other => other,
    };
    Ok(Val::Optional(inner.select(name)?.map(Rc::new)))
}
