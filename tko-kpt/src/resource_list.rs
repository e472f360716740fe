//! The `ResourceList`: the input and the output of a function.
//!
//! Its wire form is one YAML or JSON document of kind `ResourceList`. Comments `# kpt-set:` are
//! kept: in memory, they are part of each [`Item`].

use crate::annotations::{self, INDEX, ITEM, LEGACY_INDEX, LEGACY_PATH, PATH};
use crate::results::{FunctionResult, Severity};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tko_core::annotation::SETTERS;
use tko_core::encoding::{self, DecodeError, LineComment};
use tko_core::{Dialect, Error, Format, Limits, Resource, Result};

/// The `apiVersion` of a `ResourceList`.
pub const API_VERSION: &str = "config.kubernetes.io/v1";
/// An older `apiVersion`, which is read as well.
pub const OLD_API_VERSION: &str = "config.kubernetes.io/v1beta1";

/// The file that items without one are marked with.
const NO_FILE: &str = "package.yaml";
/// Maximum number of results that are read.
const MOST_RESULTS: usize = 10_000;

/// One resource of a list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// The whole resource: a map with `apiVersion`, `kind` and `metadata.name`.
    pub value: Value,
    /// The setters of its fields, such as `${replicas}`, by JSON pointer.
    pub setters: BTreeMap<String, String>,
    /// Its position in the input of the pipeline; `None` if a function added it.
    pub origin: Option<usize>,
}

impl Item {
    /// An item with this content, without setters.
    pub fn new(value: Value) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }

    /// An item with the content of a resource of a package. Its setters are taken from the
    /// annotation [`SETTERS`], as readers of packages write it.
    pub fn of_resource(mut value: Value) -> Self {
        let setters = annotations::get(&value, SETTERS)
            .and_then(|text| serde_json::from_str::<BTreeMap<String, String>>(text).ok());
        let Some(setters) = setters else {
            return Self::new(value);
        };
        annotations::remove(&mut value, &[SETTERS]);
        Self {
            value,
            setters,
            origin: None,
        }
    }

    /// The content for a package: with the setters as an annotation.
    pub fn into_resource(self) -> Value {
        let Self {
            mut value, setters, ..
        } = self;
        if !setters.is_empty() {
            let text = serde_json::to_string(&setters).expect("a map of texts always encodes");
            annotations::set(&mut value, SETTERS, &text);
        }
        value
    }
}

/// The beginning of a comment with a setter.
const SETTER: &str = "kpt-set:";

/// Resources with the configuration of a function, and its results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceList {
    /// The resources, in the order of the list.
    pub items: Vec<Item>,
    /// The configuration of the function, if it has one.
    pub function_config: Option<Value>,
    /// The results that the function reported; empty in its input.
    pub results: Vec<FunctionResult>,
}

impl ResourceList {
    /// Reads a list.
    ///
    /// # Errors
    /// `BadArgument`: the text is not one document of kind `ResourceList`, is over the limits, or an
    /// item is not a resource.
    pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Self> {
        let decoded = decode_any(bytes, limits);
        let mut documents = decoded.map_err(|error| bad(tko_core::error::chain(&error)))?;
        let document = match documents.len() {
            1 => documents.remove(0),
            0 => {
                return Err(bad(
                    "it is empty; expected one document of kind ResourceList",
                ));
            }
            count => {
                let message =
                    format!("it has {count} documents; expected one of kind ResourceList");
                return Err(bad(message));
            }
        };
        let mut list = Self::from_value(document)?;
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        for comment in encoding::line_comments(text, SETTER, Dialect::Programs) {
            list.add_setter(&comment);
        }
        Ok(list)
    }

    /// Adds the setter of a comment to its item, if the comment is in one.
    fn add_setter(&mut self, comment: &LineComment) {
        let rest = comment.pointer.strip_prefix("/items/");
        let Some((index, _)) = rest.and_then(|rest| rest.split_once('/')) else {
            return;
        };
        let Some(item) = index
            .parse()
            .ok()
            .and_then(|index: usize| self.items.get_mut(index))
        else {
            return;
        };
        let pointer = &comment.pointer["/items/".len() + index.len()..];
        let pattern = comment.text.trim_start_matches(SETTER).trim();
        item.setters.insert(pointer.to_owned(), pattern.to_owned());
    }

    /// Reads a list from its content.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn from_value(document: Value) -> Result<Self> {
        let Value::Object(mut map) = document else {
            return Err(bad(
                "it is not a map; expected a document of kind ResourceList",
            ));
        };
        let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind != "ResourceList" || ![API_VERSION, OLD_API_VERSION].contains(&api_version) {
            let found = format!("apiVersion {api_version:?}, kind {kind:?}");
            return Err(bad(format!(
                "it has {found}; expected apiVersion {API_VERSION:?}, kind \"ResourceList\""
            )));
        }
        let items = match map.remove("items") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(bad("it has items that are not a list")),
        };
        let items = items.into_iter().enumerate().map(|(at, value)| {
            // The identity is checked here, so that every function can rely on it.
            let resource = Resource::new(value).map_err(|error| {
                let message = match error {
                    Error::BadArgument { message, .. } => message,
                    other => other.to_string(),
                };
                bad(format!("item {} {message}", at + 1))
            })?;
            Ok(Item::of_resource(resource.into_value()))
        });
        let items = items.collect::<Result<_>>()?;
        let function_config = map
            .remove("functionConfig")
            .filter(|value| !value.is_null());
        if function_config
            .as_ref()
            .is_some_and(|value| !value.is_object())
        {
            return Err(bad("it has a functionConfig that is not a map"));
        }
        let results = match map.remove("results") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(results)) => results,
            // The specification of v1alpha1 had a map with items.
            Some(Value::Object(mut old)) => match old.remove("items") {
                Some(Value::Array(results)) => results,
                _ => Vec::new(),
            },
            Some(_) => return Err(bad("it has results that are not a list")),
        };
        let results = results.into_iter().take(MOST_RESULTS);
        Ok(Self {
            items,
            function_config,
            results: results.map(FunctionResult::read).collect(),
        })
    }

    /// Writes the list as YAML, with setters as comments.
    pub fn encode(&self) -> Vec<u8> {
        let yaml = encoding::encode([&self.to_value()], Format::Yaml);
        let comments: Vec<LineComment> = self.comments().collect();
        encoding::with_line_comments(yaml, &comments)
    }

    /// Writes the list as JSON, which every reader of YAML reads, and which is faster. Setters are
    /// left out.
    pub fn encode_json(&self) -> Vec<u8> {
        let results = self.results.iter().map(FunctionResult::to_value);
        let document = JsonList {
            api_version: API_VERSION,
            kind: "ResourceList",
            items: JsonItems(&self.items),
            function_config: self.function_config.as_ref(),
            results: results.collect(),
        };
        serde_json::to_vec(&document).expect("a JSON value always encodes")
    }

    /// Whether an item has setters.
    pub fn has_setters(&self) -> bool {
        self.items.iter().any(|item| !item.setters.is_empty())
    }

    /// Whether a result has the severity error, so that the function failed.
    pub fn has_errors(&self) -> bool {
        let mut results = self.results.iter();
        results.any(|result| result.severity == Severity::Error)
    }

    fn comments(&self) -> impl Iterator<Item = LineComment> {
        let items = self.items.iter().enumerate();
        items.flat_map(|(at, item)| {
            item.setters.iter().map(move |(pointer, pattern)| {
                LineComment::new(
                    1,
                    format!("/items/{at}{pointer}"),
                    format!("{SETTER} {pattern}"),
                )
            })
        })
    }

    /// The content of the list, without setters.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("apiVersion".to_owned(), json!(API_VERSION));
        map.insert("kind".to_owned(), json!("ResourceList"));
        let items = self.items.iter().map(|item| item.value.clone()).collect();
        map.insert("items".to_owned(), Value::Array(items));
        if let Some(config) = &self.function_config {
            map.insert("functionConfig".to_owned(), config.clone());
        }
        if !self.results.is_empty() {
            let results = self.results.iter().map(FunctionResult::to_value).collect();
            map.insert("results".to_owned(), Value::Array(results));
        }
        Value::Object(map)
    }

    /// Marks every item with its file and its origin, for a function outside this process. Returns
    /// the origins, for [`unmark`](Self::unmark).
    pub fn mark(&mut self) -> BTreeSet<usize> {
        let mut sent = BTreeSet::new();
        for item in &mut self.items {
            let Some(origin) = item.origin else {
                continue;
            };
            sent.insert(origin);
            let path = annotations::get(&item.value, PATH)
                .unwrap_or(NO_FILE)
                .to_owned();
            let index = origin.to_string();
            for (name, text) in [
                (PATH, &path),
                (LEGACY_PATH, &path),
                (INDEX, &index),
                (LEGACY_INDEX, &index),
                (ITEM, &index),
            ] {
                annotations::set(&mut item.value, name, text);
            }
        }
        sent
    }

    /// Removes the marks of [`mark`](Self::mark), which returned the origins that were sent. If two
    /// items carry the same mark, it applies to the first; a mark that was not sent is ignored.
    pub fn unmark(&mut self, mut sent: BTreeSet<usize>) {
        for item in &mut self.items {
            // Positions in files are no marks: functions give them to items that they add, too.
            let mark = annotations::get(&item.value, ITEM);
            let origin: Option<usize> = mark.and_then(|mark| mark.parse().ok());
            item.origin = origin.filter(|origin| sent.remove(origin));
            let path = annotations::get(&item.value, PATH);
            let mut names = vec![ITEM, INDEX, LEGACY_INDEX, LEGACY_PATH];
            if path.is_none_or(|path| path == NO_FILE) {
                names.push(PATH);
            }
            annotations::remove(&mut item.value, &names);
        }
    }
}

/// A list that serializes like [`ResourceList::to_value`], without copying the items.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonList<'a> {
    api_version: &'static str,
    kind: &'static str,
    items: JsonItems<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_config: Option<&'a Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    results: Vec<Value>,
}

struct JsonItems<'a>(&'a [Item]);

impl Serialize for JsonItems<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| &item.value))
    }
}

/// Reads JSON if the text looks like it, otherwise YAML.
fn decode_any(bytes: &[u8], limits: &Limits) -> Result<Vec<Value>, DecodeError> {
    let is_json = bytes.trim_ascii_start().starts_with(b"{");
    if is_json && let Ok(values) = encoding::decode(bytes, Format::Json, Dialect::Programs, limits)
    {
        return Ok(values);
    }
    encoding::decode(bytes, Format::Yaml, Dialect::Programs, limits)
}

/// The error for text that is not a list. The message is a clause with its own subject.
fn bad(message: impl Into<String>) -> Error {
    Error::bad("ResourceList", message)
}
