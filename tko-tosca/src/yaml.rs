//! YAML with positions: every value knows its file, line and column.
//!
//! Scalars stay text until a type asks for them. TOSCA says of every value which type it must have,
//! and a version such as `1.10` must not become a number on the way.

use crate::limits::ToscaLimits;
use crate::problem::{ProblemList, SourcePosition};
use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// A value and its position.
#[derive(Clone, Debug)]
pub(crate) struct YamlNode {
    /// Where the value begins.
    pub at: SourcePosition,
    /// The content.
    pub content: YamlContent,
    /// How many levels of values are inside this one: 0 for scalars, empty lists and empty maps.
    pub height: usize,
}

/// The content of a YAML value. Copies are cheap, because they share the content.
#[derive(Clone, Debug)]
pub(crate) enum YamlContent {
    /// Text; plain text may also be a number, a boolean or null.
    Scalar {
        /// The text without quotes and escapes.
        text: Rc<str>,
        /// Whether it has no quotes, so that it may be something other than text.
        plain: bool,
    },
    /// A list.
    List(Rc<Vec<YamlNode>>),
    /// A map in the order of the text, without duplicate keys.
    Map(Rc<Vec<YamlEntry>>),
}

/// One key of a map and its value.
#[derive(Clone, Debug)]
pub(crate) struct YamlEntry {
    /// The key.
    pub key: Rc<str>,
    /// The position of the key.
    pub at: SourcePosition,
    /// The value.
    pub value: YamlNode,
}

impl YamlNode {
    /// A value at a position. Takes time for the direct items or entries only.
    pub(crate) fn new(at: SourcePosition, content: YamlContent) -> Self {
        let level = |inner: &Self| inner.height.saturating_add(1);
        let highest = match &content {
            YamlContent::Scalar { .. } => None,
            YamlContent::List(items) => items.iter().map(level).max(),
            YamlContent::Map(entries) => entries.iter().map(|entry| level(&entry.value)).max(),
        };
        Self {
            at,
            content,
            height: highest.unwrap_or(0),
        }
    }

    /// A value that is text, at a position.
    pub(crate) fn text(at: SourcePosition, text: &str) -> Self {
        let content = YamlContent::Scalar {
            text: text.into(),
            plain: false,
        };
        Self::new(at, content)
    }

    /// An empty map at a position.
    pub(crate) fn empty_map(at: SourcePosition) -> Self {
        Self::new(at, YamlContent::Map(Rc::new(Vec::new())))
    }

    /// Whether the value is null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.content, YamlContent::Scalar { text, plain: true }
            if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The text of any scalar except null, in any notation.
    pub(crate) fn as_scalar(&self) -> Option<&str> {
        match &self.content {
            YamlContent::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// The value as text, if it is quoted, or if it is plain and cannot be of another type.
    pub(crate) fn as_text(&self) -> Option<&str> {
        let YamlContent::Scalar { text, plain } = &self.content else {
            return None;
        };
        let other = *plain
            && (self.is_null()
                || self.as_boolean().is_some()
                || self.as_integer().is_some()
                || self.as_float().is_some());
        (!other).then_some(text)
    }

    /// The value as a boolean.
    pub(crate) fn as_boolean(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// The value as an integer: decimal, or with `0x` or `0o`.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        let text = self.plain()?;
        if let Some(digits) = text.strip_prefix("0x") {
            return i64::from_str_radix(digits, 16).ok();
        }
        if let Some(digits) = text.strip_prefix("0o") {
            return i64::from_str_radix(digits, 8).ok();
        }
        text.parse().ok()
    }

    /// The value as a finite number with a point or an exponent.
    pub(crate) fn as_float(&self) -> Option<f64> {
        let text = self.plain()?;
        let begins = text.trim_start_matches(['+', '-']);
        if !begins.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn plain(&self) -> Option<&str> {
        match &self.content {
            YamlContent::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// The items, if the value is a list.
    pub(crate) fn as_list(&self) -> Option<&Rc<Vec<YamlNode>>> {
        match &self.content {
            YamlContent::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if the value is a map.
    pub(crate) fn as_map(&self) -> Option<&Rc<Vec<YamlEntry>>> {
        match &self.content {
            YamlContent::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&YamlNode> {
        self.as_map()?
            .iter()
            .find(|entry| &*entry.key == key)
            .map(|entry| &entry.value)
    }

    /// The type of the value, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.content {
            YamlContent::List(_) => "a list",
            YamlContent::Map(_) => "a map",
            YamlContent::Scalar { .. } if self.is_null() => "null",
            YamlContent::Scalar { .. } if self.as_boolean().is_some() => "a boolean",
            YamlContent::Scalar { .. } if self.as_integer().is_some() => "an integer",
            YamlContent::Scalar { .. } if self.as_float().is_some() => "a float",
            YamlContent::Scalar { .. } => "a string",
        }
    }
}

/// Reads the one document of a file. `None` if it is not YAML; the problem is reported then.
///
/// `values` counts the values of all files together.
pub(crate) fn read(
    text: &str,
    file: usize,
    limits: &ToscaLimits,
    values: &mut usize,
    problems: &mut ProblemList,
) -> Option<YamlNode> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: 2 * limits.depth,
        block_nesting_limit: 2 * limits.depth,
    };
    let mut composer = YamlComposer {
        parser: Parser::new_from_str_with_options(text, options),
        file,
        limits,
        values,
        anchors: HashMap::new(),
    };
    match composer.stream() {
        Ok(document) => Some(document),
        Err((at, message)) => {
            problems.error(at, "", message);
            None
        }
    }
}

/// A mistake in the text, and where.
type Mistake = (SourcePosition, String);

/// Builds values from the parser's events.
struct YamlComposer<'a, 'l> {
    parser: Parser<'a, StrInput<'a>>,
    file: usize,
    limits: &'l ToscaLimits,
    values: &'l mut usize,
    /// Values with an anchor, and how many values each holds.
    anchors: HashMap<usize, (YamlNode, usize)>,
}

impl<'a> YamlComposer<'a, '_> {
    fn stream(&mut self) -> Result<YamlNode, Mistake> {
        let mut document = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => {
                    let at = SourcePosition {
                        file: self.file,
                        line: 0,
                        column: 0,
                    };
                    return document.ok_or_else(|| (at, "the file is empty".to_owned()));
                }
                Event::DocumentStart(..) if document.is_some() => {
                    let message = "a file holds one document: remove all that follows `---`";
                    return Err((at, message.to_owned()));
                }
                Event::DocumentStart(..) => {
                    let (event, at) = self.next()?;
                    document = Some(self.node(event, at, 0)?.0);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, SourcePosition), Mistake> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.position(span))),
            Some(Err(error)) => {
                let marker = error.marker();
                let at = SourcePosition {
                    file: self.file,
                    line: marker.line(),
                    column: marker.col() + 1,
                };
                Err((at, format!("malformed YAML: {}", error.kind())))
            }
            None => Ok((Event::StreamEnd, SourcePosition::default())),
        }
    }

    fn position(&self, span: Span) -> SourcePosition {
        SourcePosition {
            file: self.file,
            line: span.start.line(),
            column: span.start.col() + 1,
        }
    }

    fn count(&mut self, at: SourcePosition, more: usize) -> Result<(), Mistake> {
        *self.values = self.values.saturating_add(more);
        if *self.values > self.limits.values {
            let message = format!(
                "the files hold more than {} values, with aliases expanded",
                self.limits.values
            );
            return Err((at, message));
        }
        Ok(())
    }

    /// Reads the value that an event begins; returns it and how many values it holds.
    fn node(
        &mut self,
        event: Event<'a>,
        at: SourcePosition,
        depth: usize,
    ) -> Result<(YamlNode, usize), Mistake> {
        if depth > self.limits.depth {
            let message = format!("nested deeper than {} levels", self.limits.depth);
            return Err((at, message));
        }
        let (content, anchor, size) = match event {
            Event::Alias(anchor) => {
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err((at, "an alias refers to its own value".to_owned()));
                };
                // Levels count as if the value were written here: recursion over values relies on it.
                if depth.saturating_add(value.height) > self.limits.depth {
                    let message = format!(
                        "nested deeper than {} levels, with aliases expanded",
                        self.limits.depth
                    );
                    return Err((at, message));
                }
                self.count(at, size)?;
                // The position of a repeated value is that of its definition: mistakes are reported
                // there.
                return Ok((value, size));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.count(at, 1)?;
                let text = Rc::from(&*text);
                (YamlContent::Scalar { text, plain }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.count(at, 1)?;
                let (items, size) = self.list(depth + 1)?;
                (YamlContent::List(Rc::new(items)), anchor, size + 1)
            }
            Event::MappingStart(_, anchor, _) => {
                self.count(at, 1)?;
                let (entries, size) = self.map(depth + 1)?;
                (YamlContent::Map(Rc::new(entries)), anchor, size + 1)
            }
            _ => return Err((at, "a value is missing".to_owned())),
        };
        let node = YamlNode::new(at, content);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok((node, size))
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<YamlNode>, usize), Mistake> {
        let (mut items, mut sum) = (Vec::new(), 0);
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((items, sum));
            }
            let (item, size) = self.node(event, at, depth)?;
            items.push(item);
            sum += size;
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<YamlEntry>, usize), Mistake> {
        let (mut entries, mut sum): (Vec<YamlEntry>, usize) = (Vec::new(), 0);
        let mut known: HashSet<Rc<str>> = HashSet::new();
        let mut merged: Vec<YamlEntry> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            let key: Rc<str> = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => Rc::from(&*text),
                _ => return Err((at, "a key must be text".to_owned())),
            };
            let (event, value_at) = self.next()?;
            let (value, size) = self.node(event, value_at, depth)?;
            sum += size;
            if !known.insert(Rc::clone(&key)) {
                return Err((at, format!("key \"{key}\" is there twice")));
            }
            if &*key == "<<" {
                merged = merge_sources(&value)?;
            } else {
                entries.push(YamlEntry { key, at, value });
            }
        }
        // The map's own keys win, then the first merged one.
        for entry in merged {
            if known.insert(Rc::clone(&entry.key)) {
                entries.push(entry);
            }
        }
        Ok((entries, sum))
    }
}

/// The entries of the maps that a merge key names.
fn merge_sources(value: &YamlNode) -> Result<Vec<YamlEntry>, Mistake> {
    let maps = match &value.content {
        YamlContent::Map(entries) => vec![Rc::clone(entries)],
        YamlContent::List(items) => items.iter().filter_map(|i| i.as_map().cloned()).collect(),
        YamlContent::Scalar { .. } => Vec::new(),
    };
    if maps.is_empty() {
        return Err((value.at, "`<<` needs a map or a list of maps".to_owned()));
    }
    Ok(maps.iter().flat_map(|map| map.iter().cloned()).collect())
}
