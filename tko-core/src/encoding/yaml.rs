//! YAML input. `granit-parser` gives events; this module builds values.
//!
//! Aliases are copies, counted before they are made. Merge keys (`<<`) are expanded: the map's own
//! keys win over merged keys at any position, and earlier merged maps win over later ones.
//!
//! Each document is built in one recursive pass over the parser's events. Nothing is read twice: a
//! duplicate key, an excessive depth or an unknown tag ends the read at its event.
//!
//! Terms:
//! - an *anchor* (`&name`) marks a value; an *alias* (`*name`) repeats it within the same document;
//! - the *weight* of a value is the cost of a copy: its values, its bytes of text and its levels;
//! - the *depth* of a value is the number of lists and maps around it in the same resource.
//!
//! Invariants:
//! - the order of keys is that of the text; a key that overrides a merged key keeps the merged
//!   position;
//! - a plain top-level list is the package, so it counts neither as a level nor as a value;
//! - every error has the document, line and column of its cause.

use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::error::{DecodeError, DecodeFault, InputPlace, Position};
use super::limits::{Budget, Limit, MAX_DEPTH};
use super::{Decoded, Dialect, Format, scalar};

/// Reads every document of a stream; empty documents are null.
///
/// The dialect decides the types of plain scalars and of keys. The budget is shared by all
/// documents, so a stream of many small documents costs no more than one large document.
///
/// # Errors
/// - `Malformed`: the parser refuses the text, an alias has no earlier value, a scalar does not fit
///   its tag, or a merge key has no maps.
/// - `DuplicateKey`: a map has a key twice.
/// - `Unsupported`: a tag, number or key has no equivalent in the data model.
/// - `LimitExceeded`: the budget is used up, or the value is nested too deeply.
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

/// Builds values from parser events, for all documents of one stream.
///
/// The methods call each other recursively. The depth limit bounds the stack that this needs.
struct Composer<'a, 'l> {
    /// The source of the events.
    parser: Parser<'a, StrInput<'a>>,
    /// The rules for plain scalars and for keys.
    dialect: Dialect,
    /// The limits, and the part of them that this stream has used so far.
    budget: &'a mut Budget<'l>,
    /// The values of this document's anchors, by the parser's number.
    anchors: HashMap<usize, Anchored>,
    /// The number of the current document, from 1; 0 before the first.
    document: usize,
    /// The position of the current item in a top-level list, from 1.
    item: Option<usize>,
}

/// A value with an anchor, and the cost of a copy.
struct Anchored {
    /// The value, copied for each alias.
    value: Value,
    /// The weight of the value, computed once rather than for each alias.
    weight: Weight,
}

/// The cost of a copy of a value, counted against the limits before an alias is expanded.
///
/// Without this count a few nested aliases could expand to billions of values.
#[derive(Clone, Copy, Default)]
struct Weight {
    /// The number of values: itself and everything inside it, but not keys.
    values: usize,
    /// The bytes of all texts and keys; numbers and booleans count as none.
    bytes: usize,
    /// The levels of lists and maps.
    ///
    /// 0 for a scalar, 1 for a flat or empty list or map.
    height: usize,
}

impl<'a> Composer<'a, '_> {
    /// Reads one document, whose start event has just been read.
    ///
    /// Anchors are cleared first, because they are valid only within their document. The place of
    /// the result is that of its first event. A top-level list with an anchor or a tag is read like
    /// any other value, so that it counts as a level.
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

    /// Reads the items of a top-level list, whose start event has just been read.
    ///
    /// While an item is read, its number is part of the place of every error.
    ///
    /// The list is the package itself, not part of a resource, so its items begin at depth 0.
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
    ///
    /// The tag and the depth of a list or map are checked before its content is read. The value
    /// itself is counted after its content; an alias counts as a copy instead. A value with an
    /// anchor is remembered. An event that begins no value is `Malformed`.
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

    /// Keeps a copy of a value for the aliases of its anchor; does nothing for anchor 0, which
    /// means none.
    ///
    /// The copy counts against the alias limits even if no alias follows, because it takes memory.
    /// A later anchor has its own number, so it never changes an earlier one.
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

    /// Reads the items of a list, whose start event has just been read.
    ///
    /// `depth` includes this list: it is the number of lists and maps around each item.
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

    /// Reads the pairs of a map, whose start event has just been read; `depth` includes this map.
    ///
    /// A merge key adds only keys that the map does not have yet. A later key of the map's own may
    /// then override a merged one, once; every other repetition is `DuplicateKey`. A second merge
    /// key in one map is a duplicate too: a list of maps is the way to merge several.
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

    /// Reads one key as text.
    ///
    /// Keys are not counted as values, but a key with an anchor, or given by an alias, counts as a
    /// copy.
    ///
    /// A list or a map as a key is refused at its start event, in both dialects.
    ///
    /// # Errors
    /// `Unsupported`: the dialect does not accept a key of this type. Otherwise as for the scalar
    /// or the alias.
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

    /// Returns a copy of the value of an anchor, counted with its whole weight.
    ///
    /// The levels of the copy are added to `depth`, so that aliases cannot exceed the depth limit.
    /// The parser reports unknown anchors itself. An anchor without a value is therefore still
    /// being read, and the alias is inside it: a cycle, which is `Malformed`.
    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Value, DecodeError> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            let problem = "an alias is inside the value of its own anchor";
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

    /// Checks that a list (`kind` is `seq`) or map (`map`) may begin here: its tag, and its level.
    ///
    /// `depth` is the number of lists and maps around it, so the new level is one more.
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

    /// Returns the next event and its span. After the last event it returns the end of the stream.
    fn next(&mut self) -> Result<(Event<'a>, Span), DecodeError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Converts an error of the parser, so that it reads like the errors of this module.
    ///
    /// The parser's own nesting limit becomes the depth limit, with its value and advice. An
    /// unknown anchor gets a clearer message. Everything else is `Malformed`, with the parser's
    /// text.
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

    /// Adds the place of an event to the error of a result, if it has one.
    fn check<T>(&self, span: Span, result: Result<T, DecodeFault>) -> Result<T, DecodeError> {
        result.map_err(|fault| self.fault(span, fault))
    }

    /// Adds the place of an event to an error.
    fn fault(&self, span: Span, fault: DecodeFault) -> DecodeError {
        fault.at(self.place(span))
    }

    /// The place of the start of a span: document, item, line and column.
    ///
    /// The parser counts columns from 0, and places count from 1. An error before the first
    /// document is reported in document 1.
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

/// Whether an event is a merge key: a plain `<<` without a tag, in either dialect.
///
/// A quoted `"<<"` is an ordinary key.
fn is_merge(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// Adds the keys of a map, or of a list of maps, that are not present yet. Returns those keys.
///
/// Existing keys keep their values, so of several maps in a list the first with a key decides.
///
/// # Errors
/// `Malformed`: the value, or an item of the list, is not a map.
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

/// Computes the weight of a value by visiting all of it.
///
/// This runs once for each anchor. The depth limit, already checked, bounds the recursion.
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
