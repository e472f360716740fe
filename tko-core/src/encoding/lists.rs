//! Splitting lists of resources into their items, as `kubectl` does.
//!
//! A top-level list is replaced by its items in every dialect and format. A map of kind `List` is
//! replaced by its items only in the people's dialect, because a program means what it sends.
//!
//! The order is that of the text, depth first. The other fields of a list, such as its metadata,
//! are dropped. An item has the place of its document, and its number in the innermost list.

use serde_json::{Map, Value};

use super::error::{DecodeError, DecodeFault};
use super::limits::Budget;
use super::{Decoded, Dialect};

/// Adds the resources of a document to `out`: none for an empty document, the items for a list.
///
/// An empty document is null; a null within a list is an error.
///
/// # Errors
/// - `NotAMap`: the document or an item is neither a map nor, at the top, a list.
/// - `LimitExceeded`: `out` would have more resources than the limit on documents allows. Also if
///   the items would get more copies of the version and kind of their list than the limits on
///   aliases allow.
pub(super) fn spread(
    document: Decoded,
    dialect: Dialect,
    budget: &mut Budget<'_>,
    out: &mut Vec<Decoded>,
) -> Result<(), DecodeError> {
    match document.value {
        Value::Null => Ok(()),
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .try_for_each(|(index, value)| {
                let at = document.at.clone().item(Some(index + 1));
                add(Decoded { value, at }, dialect, budget, out)
            }),
        _ => add(document, dialect, budget, out),
    }
}

/// Adds one resource to `out`, or the items of a list, which may themselves be lists.
///
/// The number of resources is checked before each one is added. Fails as [`spread`].
///
/// A list within a list is split in turn. Its items take their numbers from the inner list.
fn add(
    resource: Decoded,
    dialect: Dialect,
    budget: &mut Budget<'_>,
    out: &mut Vec<Decoded>,
) -> Result<(), DecodeError> {
    let at = resource.at;
    let found = match resource.value {
        Value::Object(map) => match take_apart(map, dialect) {
            Taken::Resource(map) => {
                if let Err(fault) = budget.resources(out.len() + 1) {
                    return Err(fault.at(at));
                }
                let value = Value::Object(map);
                out.push(Decoded { value, at });
                return Ok(());
            }
            Taken::Items { items, implied } => {
                // The depth limit also bounds lists within lists.
                for (index, item) in items.into_iter().enumerate() {
                    let at = at.clone().item(Some(index + 1));
                    let value = match &implied {
                        Some(implied) => implied
                            .complete(item, budget)
                            .map_err(|fault| fault.at(at.clone()))?,
                        None => item,
                    };
                    add(Decoded { value, at }, dialect, budget, out)?;
                }
                return Ok(());
            }
        },
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
    };
    Err(DecodeFault::NotAMap(found).at(at))
}

/// A map of the input, once it is known whether it is a list.
enum Taken {
    /// An ordinary resource, unchanged.
    Resource(Map<String, Value>),
    /// A list.
    Items {
        /// The items, of any type. The caller checks that they are maps.
        items: Vec<Value>,
        /// The fields that the items may omit.
        implied: Option<Implied>,
    },
}

/// The version and kind that a list implies for its items.
struct Implied {
    version: String,
    kind: String,
}

impl Implied {
    /// Adds both fields to an item that has neither. They come first.
    ///
    /// They count as copies, because a list may have a long version and very many items.
    fn complete(&self, item: Value, budget: &mut Budget<'_>) -> Result<Value, DecodeFault> {
        let Value::Object(item) = item else {
            return Ok(item);
        };
        if item.contains_key("kind") || item.contains_key("apiVersion") {
            return Ok(Value::Object(item));
        }
        budget.copy(2, self.version.len() + self.kind.len())?;
        let implied = [("apiVersion", &self.version), ("kind", &self.kind)];
        let implied = implied.map(|(key, text)| (key.to_owned(), Value::from(text.as_str())));
        Ok(Value::Object(implied.into_iter().chain(item).collect()))
    }
}

/// Splits a list. `List` and `ResourceList` are always lists. Another kind that ends in `List`
/// (`ConfigMapList`) is a list if it has a list of `items` and, unlike every resource, no name. Its
/// items may omit the kind and version that the list implies.
///
/// An item gets the implied fields only if it has neither. In the programs' dialect every map is a
/// resource.
fn take_apart(mut map: Map<String, Value>, dialect: Dialect) -> Taken {
    let item_kind = match map.get("kind").and_then(Value::as_str) {
        _ if dialect == Dialect::Programs => return Taken::Resource(map),
        Some("List" | "ResourceList") => None,
        Some(kind) => match kind.strip_suffix("List") {
            Some(kind) if !has_name(&map) && has_items(&map) => Some(kind.to_owned()),
            _ => return Taken::Resource(map),
        },
        None => return Taken::Resource(map),
    };
    let items = match map.remove("items") {
        Some(Value::Array(items)) => items,
        // An empty list may omit its items, or set them to null.
        None | Some(Value::Null) => Vec::new(),
        // The item is refused later, because it is not a map.
        Some(item) => vec![item],
    };
    let implied = match (item_kind, map.remove("apiVersion")) {
        (Some(kind), Some(Value::String(version))) => Some(Implied { version, kind }),
        // A version that is not text is not valid, so it is not copied.
        _ => None,
    };
    Taken::Items { items, implied }
}

/// Whether `metadata.name` exists, with a value of any type.
fn has_name(map: &Map<String, Value>) -> bool {
    map.get("metadata")
        .is_some_and(|metadata| metadata.get("name").is_some())
}

/// Whether `items` exists and is a list, even an empty one.
fn has_items(map: &Map<String, Value>) -> bool {
    map.get("items").is_some_and(Value::is_array)
}
