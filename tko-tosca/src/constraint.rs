//! Constraints: rules that a value must satisfy beyond its type.

use crate::primitive::{Primitive, Rank};
use crate::yaml::{YamlContent, YamlNode};
use regex::Regex;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::rc::Rc;

/// Maximum number of allowed values that a problem names; the others are counted.
const MOST_NAMES: usize = 8;

/// Number of bytes of text that are copied or compared in one step.
const BYTES_PER_STEP: usize = 64;

/// A rule that a value must satisfy.
#[derive(Clone, Debug)]
pub(crate) enum ToscaConstraint {
    /// The value compares with another value in one of the allowed ways; `name` is the name of the
    /// rule.
    Compare {
        name: &'static str,
        other: YamlNode,
        allowed: &'static [Ordering],
    },
    /// The value is neither below the first nor above the second. `None` is unbounded.
    InRange(YamlNode, Option<YamlNode>),
    /// The value is one of these.
    ValidValues(Rc<Vec<YamlNode>>),
    /// The length is between these.
    Length(usize, usize),
    /// The whole text matches; the first field is the pattern as written.
    Pattern(String, Box<Regex>),
}

impl ToscaConstraint {
    /// How many steps the check of a value takes, at least one. See
    /// [`ToscaLimits::steps`](crate::ToscaLimits::steps).
    pub(crate) fn steps(&self, value: &YamlNode) -> usize {
        let bytes = |node: &YamlNode| node.as_scalar().map_or(0, str::len);
        let (others, own) = match self {
            Self::Compare { other, .. } => (weight(other), weight(value)),
            Self::InRange(low, high) => {
                let bounds = weight(low) + high.as_ref().map_or(0, weight);
                (bounds, weight(value))
            }
            Self::ValidValues(values) => (values.iter().map(weight).sum::<usize>(), weight(value)),
            Self::Length(..) => (0, 1 + bytes(value) / BYTES_PER_STEP),
            // Matching is slower than comparing.
            Self::Pattern(written, _) => {
                let own = 1 + bytes(value) / BYTES_PER_STEP;
                (written.len() / BYTES_PER_STEP + bytes(value), own)
            }
        };
        own.saturating_add(others)
    }

    /// Why a value does not satisfy the constraint, or why the constraint cannot be applied; `None`
    /// if the value satisfies it.
    pub(crate) fn violation(&self, primitive: Primitive, value: &YamlNode) -> Option<String> {
        self.verify(primitive, value).err()
    }

    fn verify(&self, primitive: Primitive, value: &YamlNode) -> Result<(), String> {
        let shown = value.as_scalar().unwrap_or("the value");
        match self {
            Self::Compare {
                name,
                other,
                allowed,
            } => {
                let own = primitive.rank(value);
                let held = if **allowed == [Ordering::Equal] {
                    is_equal(primitive, own.as_ref(), value, other)?
                } else {
                    let own = own.ok_or_else(|| inapplicable(name, primitive))?;
                    let order = own.compare(&operand(primitive, shown, other)?);
                    order.is_some_and(|order| allowed.contains(&order))
                };
                let reason = || format!("{shown} is not {name} {}", name_of(other));
                held.then_some(()).ok_or_else(reason)
            }
            Self::InRange(low, high) => {
                // A range is in a range if both of its bounds are.
                let bounds = value.as_list().map(|list| list.as_slice());
                let (scalar, first, last) = match (primitive, bounds) {
                    (Primitive::Range, Some([first, last])) => (Primitive::Integer, first, last),
                    _ => (primitive, value, value),
                };
                let least = scalar.rank(first);
                let least = least.ok_or_else(|| inapplicable("in range", primitive))?;
                let low_rank = operand(scalar, shown, low)?;
                let above = least.compare(&low_rank).is_some_and(Ordering::is_ge);
                let below = match high {
                    Some(high) => {
                        let high_rank = operand(scalar, shown, high)?;
                        // An upper bound without a rank is UNBOUNDED.
                        let order = scalar.rank(last).and_then(|most| most.compare(&high_rank));
                        order.is_some_and(Ordering::is_le)
                    }
                    None => true,
                };
                let reason = || {
                    let high = high.as_ref().map_or("UNBOUNDED", name_of);
                    format!("{shown} is not in range [{}, {high}]", name_of(low))
                };
                (above && below).then_some(()).ok_or_else(reason)
            }
            Self::ValidValues(values) => {
                let own = primitive.rank(value);
                let mut held = false;
                for other in values.iter() {
                    // The others are checked, too: a wrong one is a mistake in the constraint.
                    held |= is_equal(primitive, own.as_ref(), value, other)?;
                }
                let reason = || {
                    if values.iter().any(|other| other.as_scalar().is_none()) {
                        return format!("{shown} is not one of the valid values in the constraint");
                    }
                    let names: Vec<&str> = values.iter().take(MOST_NAMES).map(name_of).collect();
                    let more = match values.len() - names.len() {
                        0 => String::new(),
                        more => format!(" and {more} more"),
                    };
                    format!("{shown} is not one of {}{more}", names.join(", "))
                };
                held.then_some(()).ok_or_else(reason)
            }
            Self::Length(least, most) => {
                let length = match &value.content {
                    YamlContent::Scalar { text, .. } => text.chars().count(),
                    YamlContent::List(items) => items.len(),
                    YamlContent::Map(entries) => entries.len(),
                };
                let expected = match (least, most) {
                    (least, most) if least == most => format!("{least}"),
                    (0, most) => format!("at most {most}"),
                    (least, _) => format!("at least {least}"),
                };
                let held = (least..=most).contains(&&length);
                let reason = || format!("the length is {length}, and must be {expected}");
                held.then_some(()).ok_or_else(reason)
            }
            Self::Pattern(written, pattern) => {
                let held = value.as_scalar().is_some_and(|text| pattern.is_match(text));
                let reason = || format!("{shown} does not match {written}");
                held.then_some(()).ok_or_else(reason)
            }
        }
    }
}

/// How many steps it takes to compare a value with another, at least one.
fn weight(node: &YamlNode) -> usize {
    let text = |text: &str| text.len() / BYTES_PER_STEP;
    let inner: usize = match &node.content {
        YamlContent::Scalar { text: written, .. } => text(written),
        YamlContent::List(items) => items.iter().map(weight).sum(),
        YamlContent::Map(entries) => {
            let weights = entries.iter().map(|e| text(&e.key) + weight(&e.value));
            weights.sum()
        }
    };
    1 + inner
}

/// A value of a constraint, for messages.
fn name_of(node: &YamlNode) -> &str {
    match &node.content {
        YamlContent::Scalar { text, .. } if !text.is_empty() => text,
        YamlContent::Scalar { .. } => "an empty text",
        YamlContent::List(_) => "the list in the constraint",
        YamlContent::Map(_) => "the map in the constraint",
    }
}

/// How a value of a constraint compares, or a problem if it is not of the type.
fn operand(primitive: Primitive, shown: &str, other: &YamlNode) -> Result<Rank, String> {
    let rank = primitive.rank(other);
    rank.ok_or_else(|| incomparable(primitive, shown, other))
}

fn incomparable(primitive: Primitive, shown: &str, other: &YamlNode) -> String {
    // The quotes may be why it is not of the type.
    let name = match &other.content {
        YamlContent::Scalar { text, plain: false } => format!("\"{text}\""),
        _ => name_of(other).to_owned(),
    };
    format!(
        "{shown} cannot be compared with {name}, which is not of type {}",
        primitive.name()
    )
}

fn inapplicable(constraint: &str, primitive: Primitive) -> String {
    let name = primitive.name();
    format!("the constraint \"{constraint}\" does not apply to values of type {name}")
}

/// Whether a value equals one of a constraint, or a problem if that is not of the type. `own` is the
/// rank of the value; lists, maps and ranges have none and are compared as they are written.
fn is_equal(
    primitive: Primitive,
    own: Option<&Rank>,
    value: &YamlNode,
    other: &YamlNode,
) -> Result<bool, String> {
    if let Some(own) = own {
        let shown = value.as_scalar().unwrap_or("the value");
        let other = operand(primitive, shown, other)?;
        return Ok(own.compare(&other) == Some(Ordering::Equal));
    }
    let is_same_kind = match primitive {
        Primitive::Map => other.as_map().is_some(),
        _ => other.as_list().is_some(),
    };
    if !is_same_kind {
        return Err(incomparable(primitive, "the value", other));
    }
    Ok(is_same(value, other))
}

/// Whether two values are the same, whatever the notation of numbers and the order of keys.
fn is_same(left: &YamlNode, right: &YamlNode) -> bool {
    match (&left.content, &right.content) {
        (YamlContent::List(left), YamlContent::List(right)) => {
            let mut pairs = left.iter().zip(right.iter());
            left.len() == right.len() && pairs.all(|(left, right)| is_same(left, right))
        }
        (YamlContent::Map(left), YamlContent::Map(right)) => {
            if left.len() != right.len() {
                return false;
            }
            let by_key: HashMap<&str, &YamlNode> =
                right.iter().map(|e| (&*e.key, &e.value)).collect();
            left.iter().all(|entry| {
                let other = by_key.get(&*entry.key);
                other.is_some_and(|other| is_same(&entry.value, other))
            })
        }
        (YamlContent::Scalar { text: own, .. }, YamlContent::Scalar { text: other, .. }) => {
            // Only a short text is read as a number: it is read for each value of the constraint.
            let is_short = own.len().max(other.len()) <= BYTES_PER_STEP;
            (own == other && left.kind() == right.kind())
                || (is_short && (is_same_number(left, right) || is_same_boolean(left, right)))
        }
        _ => false,
    }
}

fn is_same_number(left: &YamlNode, right: &YamlNode) -> bool {
    if let (Some(left), Some(right)) = (left.as_integer(), right.as_integer()) {
        return left == right;
    }
    let left = Primitive::Float.rank(left);
    left.is_some() && left == Primitive::Float.rank(right)
}

fn is_same_boolean(left: &YamlNode, right: &YamlNode) -> bool {
    let left = left.as_boolean();
    left.is_some() && left == right.as_boolean()
}
