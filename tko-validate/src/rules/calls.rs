//! Operators and functions of rules: those of CEL and those that Kubernetes adds.

use super::evaluate::{Evaluation, mismatch};
use super::fault::RuleFault;
use super::value::{Evaluated, Val};
use super::{moment, network, text};
use crate::formats::quantity::Quantity;
use cel::common::ast::operators as operator;
use std::cmp::Ordering;
use std::rc::Rc;

impl<'a> Evaluation<'a> {
    /// Evaluates `+`.
    pub(super) fn add(&mut self, one: Val<'a>, other: Val<'a>) -> Evaluated<'a> {
        match (one, other) {
            (Val::Text(one), Val::Text(other)) => {
                self.pay((one.len() + other.len()) as u64 / 10)?;
                Ok(Val::text(format!("{one}{other}")))
            }
            (Val::List(mut one), other @ (Val::List(_) | Val::Items(..))) => {
                let more = other.length().unwrap_or_default();
                if Rc::get_mut(&mut one).is_none() {
                    self.pay(one.len() as u64)?;
                }
                self.pay(more as u64)?;
                Rc::make_mut(&mut one).extend((0..more).filter_map(|index| other.item(index)));
                Ok(Val::List(one))
            }
            (one @ Val::Items(..), other @ (Val::List(_) | Val::Items(..))) => {
                let lengths = (one.length(), other.length());
                let (Some(first), Some(more)) = lengths else {
                    return Err(mismatch("+", &one));
                };
                self.pay((first + more) as u64)?;
                let items = (0..first).filter_map(|index| one.item(index));
                let more = (0..more).filter_map(|index| other.item(index));
                Ok(Val::list(items.chain(more).collect()))
            }
            (one, other) => arithmetic(operator::ADD, &one, &other),
        }
    }

    /// Calls a function that is not a method.
    pub(super) fn function(&mut self, name: &str, mut values: Vec<Val<'a>>) -> Evaluated<'a> {
        for value in &values {
            if !matches!(name, operator::INDEX | operator::OPT_INDEX | "size") {
                self.pay_for(value)?;
            }
        }
        match (name, values.as_mut_slice()) {
            (operator::EQUALS, [one, other]) => Ok(Val::Bool(one.equals(other))),
            (operator::NOT_EQUALS, [one, other]) => Ok(Val::Bool(!one.equals(other))),
            (operator::LESS, [one, other]) => ordered("<", one, other, Ordering::is_lt),
            (operator::LESS_EQUALS, [one, other]) => ordered("<=", one, other, Ordering::is_le),
            (operator::GREATER, [one, other]) => ordered(">", one, other, Ordering::is_gt),
            (operator::GREATER_EQUALS, [one, other]) => ordered(">=", one, other, Ordering::is_ge),
            (operator::LOGICAL_NOT, [Val::Bool(value)]) => Ok(Val::Bool(!*value)),
            (operator::NEGATE, [value]) => match value {
                Val::Int(number) => number.checked_neg().map(Val::Int).ok_or_else(overflow),
                Val::Double(number) => Ok(Val::Double(-*number)),
                Val::Duration(time) => time.checked_neg().map(Val::Duration).ok_or_else(overflow),
                other => Err(mismatch("-", other)),
            },
            (
                operator::SUBSTRACT | operator::MULTIPLY | operator::DIVIDE | operator::MODULO,
                [one, other],
            ) => arithmetic(name, one, other),
            (operator::IN, [item, list]) => contains(item, list).map(Val::Bool),
            (operator::INDEX, [operand, index]) => indexed(operand, index)?
                .ok_or_else(|| RuleFault::Failed("no such key or index".to_owned())),
            (operator::OPT_INDEX, [operand, index]) => {
                let inner = match &*operand {
                    Val::Optional(None) => return Ok(Val::Optional(None)),
                    Val::Optional(Some(inner)) => (**inner).clone(),
                    other => other.clone(),
                };
                Ok(Val::Optional(indexed(&inner, index)?.map(Rc::new)))
            }
            ("size", [value]) => self.size(value),
            ("dyn", [value]) => Ok(value.clone()),
            ("type", [value]) => Ok(Val::Type(value.type_name())),
            ("optional.none", []) => Ok(Val::Optional(None)),
            ("optional.of", [value]) => Ok(Val::some(value.clone())),
            ("optional.ofNonZeroValue", [value]) => Ok(if is_zero(value) {
                Val::Optional(None)
            } else {
                Val::some(value.clone())
            }),
            ("int" | "uint" | "double" | "string" | "bool" | "bytes", [value]) => {
                convert(name, value)
            }
            ("duration", [Val::Text(text)]) => crate::formats::duration_nanoseconds(text)
                .map(Val::Duration)
                .ok_or_else(|| RuleFault::Failed(format!("{text:?} is not a duration"))),
            ("timestamp", [Val::Text(text)]) => moment::time(text)
                .map(Val::Time)
                .ok_or_else(|| RuleFault::Failed(format!("{text:?} is not a time"))),
            ("timestamp" | "duration", [value @ (Val::Time(_) | Val::Duration(_))]) => {
                Ok(value.clone())
            }
            ("isQuantity", [Val::Text(text)]) => Ok(Val::Bool(Quantity::parse(text).is_some())),
            ("quantity", [Val::Text(text)]) => Quantity::parse(text)
                .map(Val::Quantity)
                .ok_or_else(|| RuleFault::Failed(format!("{text:?} is not a quantity"))),
            ("sets.contains" | "sets.intersects" | "sets.equivalent", [one, other]) => {
                self.sets(name, one, other).map(Val::Bool)
            }
            (name, values) => match network::function(name, values) {
                Some(result) => result,
                None if name.starts_with('_') || name.starts_with('!') || name.starts_with('@') => {
                    Err(RuleFault::Failed(
                        "an operator does not apply to these types".to_owned(),
                    ))
                }
                None => Err(RuleFault::Unknown(name.to_owned())),
            },
        }
    }

    /// Evaluates `size()`. The characters of a text are counted.
    fn size(&mut self, value: &Val<'a>) -> Evaluated<'a> {
        let size = match value {
            Val::Text(text) => {
                self.pay(text.len() as u64 / 100)?;
                text.chars().count()
            }
            Val::Bytes(bytes) => bytes.len(),
            other => other.length().ok_or_else(|| mismatch("size", other))?,
        };
        Ok(number(Some(size)))
    }

    /// Compares two lists as sets.
    fn sets(&mut self, name: &str, one: &Val<'a>, other: &Val<'a>) -> Result<bool, RuleFault> {
        let limit = self.left().saturating_add(1);
        let (weight, other_weight) = (one.weight(limit), other.weight(limit));
        let (one, other) = (items(one)?, items(other)?);
        // Each item of one list is compared with all items of the other.
        let steps = (one.len() as u64).saturating_mul(other_weight);
        let other_steps = (other.len() as u64).saturating_mul(weight);
        self.pay(steps.min(other_steps))?;
        let has = |list: &[Val<'a>], item: &Val<'a>| list.iter().any(|there| there.equals(item));
        Ok(match name {
            "sets.contains" => other.iter().all(|item| has(&one, item)),
            "sets.intersects" => other.iter().any(|item| has(&one, item)),
            _ => {
                other.iter().all(|item| has(&one, item)) && one.iter().all(|item| has(&other, item))
            }
        })
    }

    /// Calls a method; the first value is the one on which it is called.
    pub(super) fn method(&mut self, name: &str, values: &[Val<'a>]) -> Evaluated<'a> {
        if !matches!(name, "size" | "hasValue" | "value" | "orValue" | "or") {
            for value in values {
                self.pay_for(value)?;
            }
        }
        match (name, values) {
            ("size", [value]) => self.size(value),
            ("hasValue", [Val::Optional(inner)]) => Ok(Val::Bool(inner.is_some())),
            ("value", [Val::Optional(inner)]) => match inner {
                Some(inner) => Ok((**inner).clone()),
                None => Err(RuleFault::Failed("the optional has no value".to_owned())),
            },
            ("orValue", [Val::Optional(inner), other]) => Ok(inner
                .as_ref()
                .map_or_else(|| other.clone(), |inner| (**inner).clone())),
            ("or", [one @ Val::Optional(inner), other]) => Ok(if inner.is_some() {
                one.clone()
            } else {
                other.clone()
            }),
            ("isSorted", [list]) => {
                let items = items(list)?;
                let mut pairs = items.windows(2);
                Ok(Val::Bool(pairs.all(|pair| {
                    pair[0].compare(&pair[1]).is_some_and(Ordering::is_le)
                })))
            }
            ("sum", [list]) => {
                let items = items(list)?;
                let mut sum = Val::Int(0);
                for (index, item) in items.iter().enumerate() {
                    sum = if index == 0 {
                        item.clone()
                    } else {
                        arithmetic(operator::ADD, &sum, item)?
                    };
                }
                Ok(sum)
            }
            ("min" | "max", [list]) => {
                let wanted = if name == "min" {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
                let mut items = items(list)?.into_iter();
                let first = items
                    .next()
                    .ok_or_else(|| RuleFault::Failed(format!("{name} of an empty list")))?;
                Ok(items.fold(first, |best, item| {
                    if item.compare(&best) == Some(wanted) {
                        item
                    } else {
                        best
                    }
                }))
            }
            ("indexOf" | "lastIndexOf", [list @ (Val::List(_) | Val::Items(..)), item]) => {
                let items = items(list)?;
                let found = if name == "indexOf" {
                    items.iter().position(|there| there.equals(item))
                } else {
                    items.iter().rposition(|there| there.equals(item))
                };
                Ok(number(found))
            }
            ("isInteger", [Val::Quantity(one)]) => Ok(Val::Bool(one.integer().is_some())),
            ("asInteger", [Val::Quantity(one)]) => one.integer().map(Val::Int).ok_or_else(overflow),
            ("asApproximateFloat", [Val::Quantity(one)]) => Ok(Val::Double(one.double())),
            ("sign", [Val::Quantity(one)]) => Ok(Val::Int(one.sign())),
            ("isLessThan", [Val::Quantity(one), Val::Quantity(other)]) => {
                Ok(Val::Bool(one < other))
            }
            ("isGreaterThan", [Val::Quantity(one), Val::Quantity(other)]) => {
                Ok(Val::Bool(one > other))
            }
            ("compareTo", [Val::Quantity(one), Val::Quantity(other)]) => {
                Ok(Val::Int(one.cmp(other) as i64))
            }
            ("add" | "sub", [Val::Quantity(one), other]) => {
                let other = match other {
                    Val::Quantity(other) => *other,
                    Val::Int(number) => Quantity::of(*number),
                    other => return Err(mismatch(name, other)),
                };
                Ok(Val::Quantity(if name == "add" {
                    one.plus(other)
                } else {
                    one.minus(other)
                }))
            }
            ("matches" | "find" | "findAll", [Val::Text(text), Val::Text(pattern), ..]) => {
                let pattern = self.pattern(pattern)?;
                self.pay(pattern.steps(text.len()))?;
                match name {
                    "matches" => Ok(Val::Bool(pattern.regex.is_match(text))),
                    "find" => Ok(Val::text(
                        pattern.regex.find(text).map_or("", |found| found.as_str()),
                    )),
                    _ => {
                        let limit = match values.get(2) {
                            Some(Val::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
                            _ => usize::MAX,
                        };
                        let mut all = Vec::new();
                        for found in pattern.regex.find_iter(text).take(limit) {
                            // The search for one may have read the rest of the text.
                            let rest = text.len() - found.start();
                            self.pay(1 + pattern.steps(rest) / 100)?;
                            all.push(Val::text(found.as_str()));
                        }
                        Ok(Val::list(all))
                    }
                }
            }
            (name, [Val::Text(own), arguments @ ..]) => {
                match text::method(self, name, own, arguments)? {
                    Some(value) => Ok(value),
                    None => Err(RuleFault::Unknown(name.to_owned())),
                }
            }
            ("join", [list @ (Val::List(_) | Val::Items(..)), separator @ ..]) => {
                let separator = match separator {
                    [Val::Text(separator)] => separator.as_ref(),
                    _ => "",
                };
                let mut texts = Vec::new();
                for item in items(list)? {
                    match item {
                        Val::Text(text) => texts.push(text),
                        other => return Err(mismatch("join", &other)),
                    }
                }
                self.pay((separator.len() * texts.len()) as u64 / 10)?;
                let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
                Ok(Val::text(texts.join(separator)))
            }
            (name, values) => {
                match network::method(name, values).or_else(|| moment::method(name, values)) {
                    Some(result) => result,
                    None => Err(RuleFault::Unknown(name.to_owned())),
                }
            }
        }
    }
}

/// Converts a position to a number: -1 if there is none.
pub(super) fn number<'a>(position: Option<usize>) -> Val<'a> {
    Val::Int(position.map_or(-1, |position| i64::try_from(position).unwrap_or(i64::MAX)))
}

fn overflow() -> RuleFault {
    RuleFault::Failed("the number is out of range".to_owned())
}

fn items<'a>(list: &Val<'a>) -> Result<Vec<Val<'a>>, RuleFault> {
    match list {
        Val::List(items) => Ok(items.to_vec()),
        Val::Items(items, _) => Ok((0..items.len())
            .filter_map(|index| list.item(index))
            .collect()),
        other => Err(mismatch("a function of lists", other)),
    }
}

fn contains(item: &Val<'_>, list: &Val<'_>) -> Result<bool, RuleFault> {
    match list {
        Val::Fields(..) | Val::Map(_) => Ok(list.at(item).is_some()),
        _ => Ok(items(list)?.iter().any(|there| there.equals(item))),
    }
}

fn indexed<'a>(operand: &Val<'a>, index: &Val<'a>) -> Result<Option<Val<'a>>, RuleFault> {
    match (operand, index) {
        (Val::List(_) | Val::Items(..), Val::Int(index)) => Ok(usize::try_from(*index)
            .ok()
            .and_then(|index| operand.item(index))),
        (Val::Fields(..) | Val::Map(_), key) => Ok(operand.at(key)),
        (other, _) => Err(mismatch("[]", other)),
    }
}

fn is_zero(value: &Val<'_>) -> bool {
    match value {
        Val::Null => true,
        Val::Bool(value) => !value,
        Val::Text(text) => text.is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::Optional(inner) => inner.is_none(),
        other => other.length() == Some(0) || other.double() == Some(0.0),
    }
}

fn ordered<'a>(
    name: &str,
    one: &Val<'a>,
    other: &Val<'a>,
    is: fn(Ordering) -> bool,
) -> Evaluated<'a> {
    match one.compare(other) {
        Some(ordering) => Ok(Val::Bool(is(ordering))),
        // Comparisons with NaN are false.
        None if one.double().is_some() && other.double().is_some() => Ok(Val::Bool(false)),
        None => Err(mismatch(name, one)),
    }
}

fn arithmetic<'a>(name: &str, one: &Val<'a>, other: &Val<'a>) -> Evaluated<'a> {
    let zero = || RuleFault::Failed("division by zero".to_owned());
    match (one, other) {
        (Val::Int(one), Val::Int(other)) => {
            let result = match name {
                operator::ADD => one.checked_add(*other),
                operator::SUBSTRACT => one.checked_sub(*other),
                operator::MULTIPLY => one.checked_mul(*other),
                _ if *other == 0 => return Err(zero()),
                operator::DIVIDE => one.checked_div(*other),
                _ => one.checked_rem(*other),
            };
            result.map(Val::Int).ok_or_else(overflow)
        }
        (Val::Uint(one), Val::Uint(other)) => {
            let result = match name {
                operator::ADD => one.checked_add(*other),
                operator::SUBSTRACT => one.checked_sub(*other),
                operator::MULTIPLY => one.checked_mul(*other),
                _ if *other == 0 => return Err(zero()),
                operator::DIVIDE => one.checked_div(*other),
                _ => one.checked_rem(*other),
            };
            result.map(Val::Uint).ok_or_else(overflow)
        }
        (Val::Time(one), Val::Time(other)) if name == operator::SUBSTRACT => one
            .checked_sub(*other)
            .map(Val::Duration)
            .ok_or_else(overflow),
        (Val::Time(one), Val::Duration(other)) if name == operator::SUBSTRACT => {
            one.checked_sub(*other).map(Val::Time).ok_or_else(overflow)
        }
        (Val::Time(one), Val::Duration(other)) | (Val::Duration(other), Val::Time(one))
            if name == operator::ADD =>
        {
            one.checked_add(*other).map(Val::Time).ok_or_else(overflow)
        }
        (Val::Duration(one), Val::Duration(other)) if name == operator::ADD => one
            .checked_add(*other)
            .map(Val::Duration)
            .ok_or_else(overflow),
        (Val::Duration(one), Val::Duration(other)) if name == operator::SUBSTRACT => one
            .checked_sub(*other)
            .map(Val::Duration)
            .ok_or_else(overflow),
        _ => match (one.double(), other.double()) {
            (Some(one), Some(other)) => Ok(Val::Double(match name {
                operator::ADD => one + other,
                operator::SUBSTRACT => one - other,
                operator::MULTIPLY => one * other,
                operator::DIVIDE => one / other,
                _ => return Err(RuleFault::Failed("% needs integers".to_owned())),
            })),
            _ => Err(RuleFault::Failed(format!(
                "{} does not apply to {} and {}",
                name.trim_matches('_'),
                one.type_name(),
                other.type_name()
            ))),
        },
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)] // In range: checked.
fn convert<'a>(name: &str, value: &Val<'a>) -> Evaluated<'a> {
    let failed = || {
        RuleFault::Failed(format!(
            "{name}() does not apply to this {}",
            value.type_name()
        ))
    };
    let converted = match (name, value) {
        ("int", Val::Int(_))
        | ("uint", Val::Uint(_))
        | ("double", Val::Double(_))
        | ("string", Val::Text(_))
        | ("bool", Val::Bool(_))
        | ("bytes", Val::Bytes(_)) => Some(value.clone()),
        ("int", Val::Uint(number)) => i64::try_from(*number).ok().map(Val::Int),
        ("int", Val::Double(number)) if number.abs() < 9.2e18 => Some(Val::Int(*number as i64)),
        ("int", Val::Text(text)) => text.parse().ok().map(Val::Int),
        ("int", Val::Time(time)) => i64::try_from(time.div_euclid(1_000_000_000))
            .ok()
            .map(Val::Int),
        ("uint", Val::Int(number)) => u64::try_from(*number).ok().map(Val::Uint),
        ("uint", Val::Double(number)) if *number >= 0.0 && *number < 1.8e19 => {
            Some(Val::Uint(*number as u64))
        }
        ("uint", Val::Text(text)) => text.parse().ok().map(Val::Uint),
        ("double", Val::Int(number)) => Some(Val::Double(*number as f64)),
        ("double", Val::Uint(number)) => Some(Val::Double(*number as f64)),
        ("double", Val::Text(text)) => text.parse().ok().map(Val::Double),
        ("string", Val::Int(number)) => Some(Val::text(number.to_string())),
        ("string", Val::Uint(number)) => Some(Val::text(number.to_string())),
        ("string", Val::Double(number)) => Some(Val::text(number.to_string())),
        ("string", Val::Bool(value)) => Some(Val::text(value.to_string())),
        ("string", Val::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).ok().map(Val::text),
        ("string", Val::Address(address)) => Some(Val::text(address.to_string())),
        ("string", Val::Network(address, length)) => Some(Val::text(format!("{address}/{length}"))),
        ("string", Val::Time(_) | Val::Duration(_) | Val::Quantity(_)) => {
            return Err(RuleFault::Unknown("string".to_owned()));
        }
        ("bool", Val::Text(text)) => match text.as_ref() {
            "1" | "t" | "true" | "TRUE" | "True" => Some(Val::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" => Some(Val::Bool(false)),
            _ => None,
        },
        ("bytes", Val::Text(text)) => Some(Val::Bytes(Rc::new(text.as_bytes().to_vec()))),
        _ => None,
    };
    converted.ok_or_else(failed)
}
