//! Constraints: rules that a value must satisfy beyond its type.

use crate::primitive::{Primitive, Rank};
use crate::yaml::{YamlContent, YamlNode};
use regex::Regex;
use std::cmp::Ordering;
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
        let compared = |node: &YamlNode| 1 + bytes(node) / BYTES_PER_STEP;
        let others = match self {
            Self::Compare { other, .. } => compared(other),
            Self::InRange(low, high) => compared(low) + high.as_ref().map_or(0, compared),
            Self::ValidValues(values) => values.iter().map(compared).sum::<usize>(),
            Self::Length(..) => 0,
            // Matching is slower than comparing.
            Self::Pattern(written, _) => written.len() / BYTES_PER_STEP + bytes(value),
        };
        others.saturating_add(compared(value))
    }

    /// Why a value does not satisfy the constraint; `None` if it does.
    pub(crate) fn violation(&self, primitive: Primitive, value: &YamlNode) -> Option<String> {
        let rank = |node: &YamlNode| -> Option<Rank> { primitive.rank(node) };
        let shown = value.as_scalar().unwrap_or("the value");
        let text = |node: &YamlNode| node.as_scalar().unwrap_or("?").to_owned();
        match self {
            Self::Compare {
                name,
                other,
                allowed,
            } => {
                let order = rank(value)?.compare(&rank(other)?);
                let held = order.is_some_and(|order| allowed.contains(&order));
                (!held).then(|| format!("{shown} is not {name} {}", text(other)))
            }
            Self::InRange(low, high) => {
                let own = rank(value)?;
                let above = own.compare(&rank(low)?).is_none_or(Ordering::is_ge);
                let below = match high {
                    Some(high) => own.compare(&rank(high)?).is_none_or(Ordering::is_le),
                    None => true,
                };
                let high = high.as_ref().map_or_else(|| "UNBOUNDED".to_owned(), text);
                (!(above && below))
                    .then(|| format!("{shown} is not in range [{}, {high}]", text(low)))
            }
            Self::ValidValues(values) => {
                let own = rank(value)?;
                let held = values
                    .iter()
                    .filter_map(rank)
                    .any(|other| own.compare(&other) == Some(Ordering::Equal));
                (!held).then(|| {
                    let names: Vec<String> = values.iter().take(MOST_NAMES).map(text).collect();
                    let more = match values.len() - names.len() {
                        0 => String::new(),
                        more => format!(" and {more} more"),
                    };
                    format!("{shown} is not one of {}{more}", names.join(", "))
                })
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
                (!held).then(|| format!("the length is {length}, and must be {expected}"))
            }
            Self::Pattern(written, pattern) => {
                let held = value.as_scalar().is_some_and(|text| pattern.is_match(text));
                (!held).then(|| format!("{shown} does not match {written}"))
            }
        }
    }
}
