//! YAML input. `granit-parser` gives events; this module builds values.
//!
//! Aliases are copies, counted before they are made. Merge keys (`<<`) are expanded: the map's own
//! keys win over merged keys at any position, and earlier merged maps win over later ones.

use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::error::{DecodeError, DecodeFault, InputPlace, Position};
use super::limits::{Budget, Limit, MAX_DEPTH};
use super::{Decoded, Dialect, Format, scalar};

/// Reads every document of a stream; empty documents are null.
pub(super) fn read(
    text: &str,
    dialect: Dialect,
    budget: &mut Budget<'_>,
) -> Result<Vec<Decoded>, DecodeError> {
    let options = granit_parser::options! {
        emit_comments: false,
        // This matches libyaml, which the Kubernetes tools and Python use.
        block_scalar_eof_without_line_feed: true,
        // Slightly above the depth that is checked here, because the message here is better.
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
    };
    let mut composer = Composer {
        parser: Parser::new_from_str_with_options(text, options),
        dialect,
        budget,
        anchors: HashMap::new(),
        document: 0,
        item: None,
    };
    let mut documents = Vec::new();
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::DocumentStart(..) => documents.push(composer.document(span)?),
            _ => {}
        }
    }
}

struct Composer<'a, 'l> {
    parser: Parser<'a, StrInput<'a>>,
    dialect: Dialect,
    budget: &'a mut Budget<'l>,
    /// The values of this document's anchors, by the parser's number.
    anchors: HashMap<usize, Anchored>,
    document: usize,
    /// The position of the current item in a top-level list, from 1.
    item: Option<usize>,
}

/// A value with an anchor, and the cost of a copy.
struct Anchored {
    value: Value,
    weight: Weight,
}

#[derive(Clone, Copy, Default)]
struct Weight {
    values: usize,
    bytes: usize,
    /// The levels of lists and maps.
    height: usize,
}

impl<'a> Composer<'a, '_> {
    fn document(&mut self, start: Span) -> Result<Decoded, DecodeError> {
        self.document += 1;
        self.anchors.clear();
        self.budget
            .document()
            .map_err(|fault| self.fault(start, fault))?;
        let (event, span) = self.next()?;
        let at = self.place(span);
        let value = match event {
            Event::SequenceStart(_, 0, None) => self.top_level_list()?,
            event => self.node(event, span, 0)?,
        };
        Ok(Decoded { value, at })
    }

    /// The list around a package's resources does not count as a level.
    fn top_level_list(&mut self) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                self.item = None;
                return Ok(Value::Array(items));
            }
            self.item = Some(items.len() + 1);
            items.push(self.node(event, span, 0)?);
        }
    }

    /// Reads the value that an event begins, inside `depth` lists and maps.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Value, DecodeError> {
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(text, style, tag.as_deref(), self.dialect);
                (self.check(span, value)?, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.enter(span, tag.as_deref(), "seq", depth)?;
                (self.list(depth + 1)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.enter(span, tag.as_deref(), "map", depth)?;
                (self.map(depth + 1)?, anchor)
            }
            _ => {
                return Err(self.fault(
                    span,
                    DecodeFault::Malformed("a value is missing".to_owned()),
                ));
            }
        };
        let counted = self.budget.value();
        self.check(span, counted)?;
        self.remember(anchor, &value, span)?;
        Ok(value)
    }

    fn remember(&mut self, anchor: usize, value: &Value, span: Span) -> Result<(), DecodeError> {
        // The parser counts anchors from 1; 0 means none.
        if anchor == 0 {
            return Ok(());
        }
        let weight = weigh(value);
        let counted = self.budget.copy(weight.values, weight.bytes);
        self.check(span, counted)?;
        let value = value.clone();
        self.anchors.insert(anchor, Anchored { value, weight });
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            items.push(self.node(event, span, depth)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let mut map = Map::new();
        // Keys that only a merge has set so far; almost always none.
        let mut merged: Option<HashSet<String>> = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Object(map));
            }
            if is_merge(&event) {
                if merged.is_some() {
                    return Err(self.fault(span, DecodeFault::duplicate("<<")));
                }
                let (event, span) = self.next()?;
                let value = self.node(event, span, depth)?;
                let keys = merge(&mut map, value);
                merged = Some(self.check(span, keys)?);
                continue;
            }
            let key = self.key(event, span)?;
            let overrides = merged.as_mut().is_some_and(|merged| merged.remove(&key));
            if map.contains_key(&key) && !overrides {
                return Err(self.fault(span, DecodeFault::duplicate(&key)));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth)?;
            map.insert(key, value);
        }
    }

    fn key(&mut self, event: Event<'a>, span: Span) -> Result<String, DecodeError> {
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar::resolve(text, style, tag.as_deref(), self.dialect);
                let value = self.check(span, value)?;
                self.remember(anchor, &value, span)?;
                value
            }
            Event::Alias(anchor) => self.alias(anchor, span, 0)?,
            // Their content does not matter, because neither can be a key.
            Event::SequenceStart(..) => Value::Array(Vec::new()),
            _ => Value::Object(Map::new()),
        };
        let key = scalar::key(value, self.dialect);
        self.check(span, key)
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Value, DecodeError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            let problem = "an alias stands inside the value of its own anchor";
            return Err(self.fault(span, DecodeFault::Malformed(problem.to_owned())));
        };
        let weight = anchored.weight;
        let counted = self
            .budget
            .depth(depth + weight.height)
            .and_then(|()| self.budget.copy(weight.values, weight.bytes));
        let value = anchored.value.clone();
        self.check(span, counted.map(|()| value))
    }

    fn enter(
        &self,
        span: Span,
        tag: Option<&Tag>,
        kind: &str,
        depth: usize,
    ) -> Result<(), DecodeError> {
        let entered = scalar::check_tag(tag, kind).and_then(|()| self.budget.depth(depth + 1));
        self.check(span, entered)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), DecodeError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn scan_error(&self, error: &ScanError) -> DecodeError {
        let at = self.place(Span::empty(*error.marker()));
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => match self.budget.depth(usize::MAX) {
                Err(fault) => fault.at(at),
                Ok(()) => DecodeError::LimitExceeded {
                    at,
                    limit: Limit::Depth,
                    most: MAX_DEPTH,
                },
            },
            ErrorKind::UnknownAnchor => {
                DecodeFault::Malformed("an alias names no anchor of this document".to_owned())
                    .at(at)
            }
            _ => DecodeFault::Malformed(error.info()).at(at),
        }
    }

    fn check<T>(&self, span: Span, result: Result<T, DecodeFault>) -> Result<T, DecodeError> {
        result.map_err(|fault| self.fault(span, fault))
    }

    fn fault(&self, span: Span, fault: DecodeFault) -> DecodeError {
        fault.at(self.place(span))
    }

    fn place(&self, span: Span) -> InputPlace {
        InputPlace::new(Format::Yaml)
            .document(self.document.max(1))
            .item(self.item)
            .position(Position::Text {
                line: span.start.line(),
                column: span.start.col() + 1,
            })
    }
}

fn is_merge(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// Adds the keys of a map, or of a list of maps, that are not present yet. Returns those keys.
fn merge(map: &mut Map<String, Value>, value: Value) -> Result<HashSet<String>, DecodeFault> {
    let maps = match value {
        Value::Array(items) => items,
        value => vec![value],
    };
    let mut merged = HashSet::new();
    for value in maps {
        let Value::Object(pairs) = value else {
            return Err(DecodeFault::Malformed(
                "merge key << needs a map or a list of maps; quote it if it is an ordinary key"
                    .to_owned(),
            ));
        };
        for (key, value) in pairs {
            if let Entry::Vacant(entry) = map.entry(key) {
                merged.insert(entry.key().clone());
                entry.insert(value);
            }
        }
    }
    Ok(merged)
}

fn weigh(value: &Value) -> Weight {
    let mut total = Weight {
        values: 1,
        ..Weight::default()
    };
    let mut add = |child: Weight| {
        total.values += child.values;
        total.bytes += child.bytes;
        total.height = total.height.max(child.height);
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => total.bytes = text.len(),
        Value::Array(items) => {
            items.iter().map(weigh).for_each(add);
            total.height += 1;
        }
        Value::Object(map) => {
            for (key, value) in map {
                let child = weigh(value);
                add(Weight {
                    bytes: child.bytes + key.len(),
                    ..child
                });
            }
            total.height += 1;
        }
    }
    total
}
