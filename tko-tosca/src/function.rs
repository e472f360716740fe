//! Functions: values that are computed from inputs and from other properties.

use crate::analysis::Analysis;
use crate::template::{InputValue, Instance};
use crate::yaml::{YamlContent, YamlEntry, YamlNode};
use std::collections::HashSet;
use std::rc::Rc;

/// Functions that can be evaluated.
const KNOWN: [&str; 5] = ["get_input", "get_property", "concat", "join", "token"];

/// Functions of TOSCA 1.3 and 2.0 that need a running system or are not supported.
const REFUSED: [&str; 5] = [
    "get_attribute",
    "get_artifact",
    "get_nodes_of_type",
    "get_operation_output",
    "get_operation",
];

/// Maximum number of levels of functions and values inside each other.
const MOST_LEVELS: usize = 128;

/// The function that a value calls, without the prefix; `None` if it is not a call.
fn call<'v>(value: &'v YamlNode, prefix: &str) -> Option<(&'v str, &'v YamlEntry)> {
    let [entry] = value.as_map()?.as_slice() else {
        return None;
    };
    let name = entry.key.strip_prefix(prefix)?;
    let function = !prefix.is_empty() && !name.starts_with(prefix)
        || KNOWN.contains(&name)
        || REFUSED.contains(&name);
    function.then_some((name, entry))
}

/// Number of values in which functions are looked for in one step.
const VISITS_PER_STEP: usize = 8;

/// Whether a value has no functions in it. Adds to `visited` how many values this looked at.
fn is_constant(value: &YamlNode, prefix: &str, visited: &mut usize) -> bool {
    *visited += 1;
    if call(value, prefix).is_some() {
        return false;
    }
    match &value.content {
        YamlContent::Scalar { .. } => true,
        YamlContent::List(items) => items.iter().all(|item| is_constant(item, prefix, visited)),
        YamlContent::Map(entries) => entries
            .iter()
            .all(|entry| is_constant(&entry.value, prefix, visited)),
    }
}

impl Analysis<'_> {
    /// Whether a value has no functions in it. `None` if reading must end.
    pub(crate) fn is_constant(
        &mut self,
        value: &YamlNode,
        prefix: &str,
        path: &str,
    ) -> Option<bool> {
        if self.is_stopped() {
            return None;
        }
        let mut visited = 0;
        let constant = is_constant(value, prefix, &mut visited);
        self.search(visited / VISITS_PER_STEP, value.at, path)
            .then_some(constant)
    }
}

/// The context of a function call, which determines what its names mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallSite<'c> {
    /// The number of the node template; `None` outside of one.
    pub node: Option<usize>,
    /// The document whose keywords count.
    pub document: usize,
    /// The path of the value, for messages.
    pub path: &'c str,
}

impl Instance<'_, '_> {
    /// Replaces every function in a value by its result. `None`, with a problem, if one fails.
    pub(crate) fn evaluate(&mut self, value: &YamlNode, site: CallSite<'_>) -> Option<YamlNode> {
        if self.levels >= MOST_LEVELS {
            let message = format!("functions and values are nested deeper than {MOST_LEVELS}");
            self.analysis.problems.error(value.at, site.path, message);
            return None;
        }
        self.levels += 1;
        let result = self.evaluate_inner(value, site);
        self.levels -= 1;
        result
    }

    fn evaluate_inner(&mut self, value: &YamlNode, site: CallSite<'_>) -> Option<YamlNode> {
        let prefix = self.analysis.documents[site.document]
            .grammar
            .function_prefix;
        if self.analysis.is_constant(value, prefix, site.path)? {
            return Some(value.clone());
        }
        if let Some((name, entry)) = call(value, prefix) {
            return self.apply(name, value, &entry.value, site);
        }
        let content = match &value.content {
            YamlContent::Scalar { .. } => value.content.clone(),
            YamlContent::List(items) => {
                if !self.fill(items.len(), value, site) {
                    return None;
                }
                let items: Vec<_> = items.iter().map(|item| self.evaluate(item, site)).collect();
                YamlContent::List(Rc::new(items.into_iter().collect::<Option<_>>()?))
            }
            YamlContent::Map(entries) => {
                if !self.fill(entries.len(), value, site) {
                    return None;
                }
                let mut evaluated = Vec::with_capacity(entries.len());
                let mut complete = true;
                for entry in entries.iter() {
                    match self.evaluate(&entry.value, site) {
                        Some(value) => evaluated.push(YamlEntry {
                            value,
                            ..entry.clone()
                        }),
                        None => complete = false,
                    }
                }
                complete.then_some(())?;
                YamlContent::Map(Rc::new(evaluated))
            }
        };
        let filled = YamlNode::new(value.at, content);
        let limit = self.analysis.limits.depth;
        if filled.height > limit {
            // The property keeps no value, so that a chain of properties cannot grow further: values
            // are checked and dropped recursively.
            let message =
                format!("the value is nested deeper than {limit} levels, with functions filled in");
            self.analysis.problems.error(value.at, site.path, message);
            return None;
        }
        Some(filled)
    }

    /// Counts the items or entries of a copy that gets results of functions: defaults are copied for
    /// each node template. Returns false if reading must end, because there are too many or for
    /// another reason.
    fn fill(&mut self, more: usize, value: &YamlNode, site: CallSite<'_>) -> bool {
        self.filled_values = self.filled_values.saturating_add(more);
        let limit = self.analysis.limits.values;
        if self.filled_values > limit {
            let message = format!("lists and maps with functions hold more than {limit} values");
            self.analysis.stop(value.at, site.path, message);
        }
        !self.analysis.is_stopped()
    }

    fn apply(
        &mut self,
        name: &str,
        whole: &YamlNode,
        argument: &YamlNode,
        site: CallSite<'_>,
    ) -> Option<YamlNode> {
        if !KNOWN.contains(&name) {
            let message = format!("function {name} is not supported");
            self.analysis.problems.error(whole.at, site.path, message);
            return None;
        }
        let arguments: Vec<YamlNode> = match argument.as_list() {
            Some(items) => items.to_vec(),
            None => vec![argument.clone()],
        };
        let mut evaluated = Vec::with_capacity(arguments.len());
        for argument in &arguments {
            evaluated.push(self.evaluate(argument, site)?);
        }
        let mut result = match name {
            "get_input" => self.get_input(whole, &evaluated, site)?,
            "get_property" => self.get_property(whole, &evaluated, site)?,
            "concat" => {
                let text = self.texts(whole, &evaluated, 0, site)?.concat();
                self.made(whole, &text, site)?
            }
            "join" => {
                let (list, delimiter) = match evaluated.as_slice() {
                    [list] => (list, ""),
                    [list, delimiter] => (list, delimiter.as_scalar().unwrap_or_default()),
                    _ => return self.misused(whole, "join: [[TEXT, …], DELIMITER]", site),
                };
                let Some(items) = list.as_list() else {
                    return self.misused(whole, "join: [[TEXT, …], DELIMITER]", site);
                };
                let text = self.texts(whole, items, delimiter.len(), site)?;
                let text = text.join(delimiter);
                self.made(whole, &text, site)?
            }
            _ => {
                let usage = "token: [TEXT, SEPARATORS, INDEX]";
                let [text, separators, index] = evaluated.as_slice() else {
                    return self.misused(whole, usage, site);
                };
                let index = index.as_integer().and_then(|n| usize::try_from(n).ok());
                let (Some(text), Some(separators), Some(index)) =
                    (text.as_scalar(), separators.as_scalar(), index)
                else {
                    return self.misused(whole, usage, site);
                };
                let steps = text.len().saturating_add(separators.len());
                if !self.analysis.search(steps, whole.at, site.path) {
                    return None;
                }
                let separators: HashSet<char> = separators.chars().collect();
                let Some(part) = text.split(|c: char| separators.contains(&c)).nth(index) else {
                    let message = format!("\"{text}\" has no part {index}");
                    self.analysis.problems.error(whole.at, site.path, message);
                    return None;
                };
                self.made(whole, part, site)?
            }
        };
        // A result of the wrong type is reported at the call.
        result.at = whole.at;
        Some(result)
    }

    fn misused<T>(&mut self, whole: &YamlNode, usage: &str, site: CallSite<'_>) -> Option<T> {
        let message = format!("expected {usage}");
        self.analysis.problems.error(whole.at, site.path, message);
        None
    }

    /// The text that a function made, within the limit for all functions together.
    fn made(&mut self, whole: &YamlNode, text: &str, site: CallSite<'_>) -> Option<YamlNode> {
        self.made_bytes = self.made_bytes.saturating_add(text.len());
        let limit = self.analysis.limits.function_bytes;
        if self.made_bytes > limit {
            let message = format!("functions make more than {limit} bytes of text");
            self.analysis.problems.error(whole.at, site.path, message);
            return None;
        }
        Some(YamlNode::text(whole.at, text))
    }

    /// The texts of values that a function puts together, with `between` bytes between two of them.
    fn texts(
        &mut self,
        whole: &YamlNode,
        values: &[YamlNode],
        between: usize,
        site: CallSite<'_>,
    ) -> Option<Vec<String>> {
        // Empty texts have no bytes to count.
        if !self.analysis.search(values.len(), whole.at, site.path) {
            return None;
        }
        let mut texts = Vec::with_capacity(values.len());
        let gaps = values.len().saturating_sub(1);
        let mut bytes = self.made_bytes.saturating_add(gaps.saturating_mul(between));
        for value in values {
            let text = self.analysis.problems.text(value, site.path)?;
            bytes = bytes.saturating_add(text.len());
            if bytes > self.analysis.limits.function_bytes {
                // Refused by `made`, before the text is assembled.
                self.made_bytes = bytes;
                return self.made(value, "", site).map(|_| Vec::new());
            }
            texts.push(text.to_owned());
        }
        Some(texts)
    }

    fn get_input(
        &mut self,
        whole: &YamlNode,
        arguments: &[YamlNode],
        site: CallSite<'_>,
    ) -> Option<YamlNode> {
        let Some((name, rest)) = arguments
            .split_first()
            .and_then(|(name, rest)| name.as_scalar().map(|name| (name.to_owned(), rest)))
        else {
            return self.misused(whole, "get_input: NAME", site);
        };
        match self.inputs.get(name.as_str()) {
            Some(InputValue::Given(value)) => {
                let value = value.clone();
                self.descend(whole, &value, rest, site)
            }
            Some(InputValue::Absent) => {
                let message = format!("input \"{name}\" has no value: give it one, or a default");
                self.analysis.problems.error(whole.at, site.path, message);
                None
            }
            Some(InputValue::Wrong) => None,
            None => {
                let message = format!("unknown input \"{name}\"");
                self.analysis.problems.error(whole.at, site.path, message);
                None
            }
        }
    }

    fn get_property(
        &mut self,
        whole: &YamlNode,
        arguments: &[YamlNode],
        site: CallSite<'_>,
    ) -> Option<YamlNode> {
        let usage = "get_property: [SELF or NODE, PROPERTY, …]";
        let [owner, name, rest @ ..] = arguments else {
            return self.misused(whole, usage, site);
        };
        let (Some(owner), Some(name)) = (owner.as_scalar(), name.as_scalar()) else {
            return self.misused(whole, usage, site);
        };
        let node = if owner == "SELF" {
            site.node
        } else {
            self.numbers.get(owner).copied()
        };
        let Some(node) = node else {
            let message = match owner {
                "SELF" => "SELF has a meaning only inside a node template".to_owned(),
                "SOURCE" | "TARGET" | "HOST" => format!("get_property of {owner} is not supported"),
                _ => format!("unknown node template \"{owner}\""),
            };
            self.analysis.problems.error(whole.at, site.path, message);
            return None;
        };
        if let Some(property) = self.property_of(node, name, whole, site) {
            let value = property?;
            return self.descend(whole, &value, rest, site);
        }
        let capability = self.nodes[node].capabilities.contains_key(name);
        let Some((property, rest)) = rest.split_first().filter(|_| capability) else {
            let other = &self.nodes[node];
            let requirements = &other.node_type.requirements;
            if !self
                .analysis
                .search(requirements.len(), whole.at, site.path)
            {
                return None;
            }
            let through = matches!(name, "RELATIONSHIP" | "CAPABILITY")
                || requirements.iter().any(|known| &*known.name == name);
            let message = if through {
                format!("get_property through \"{name}\" is not supported: name the other node")
            } else {
                format!(
                    "node template \"{}\" has no property \"{name}\"",
                    other.name
                )
            };
            self.analysis.problems.error(whole.at, site.path, message);
            return None;
        };
        let property = property.as_scalar().unwrap_or_default();
        let Some(value) = self.capability_property_of(node, name, property, whole, site) else {
            let message = format!("capability \"{name}\" has no property \"{property}\"");
            self.analysis.problems.error(whole.at, site.path, message);
            return None;
        };
        self.descend(whole, &value?, rest, site)
    }

    /// Follows keys and indexes into a value.
    fn descend(
        &mut self,
        whole: &YamlNode,
        value: &YamlNode,
        steps: &[YamlNode],
        site: CallSite<'_>,
    ) -> Option<YamlNode> {
        let mut value = value.clone();
        for step in steps {
            let key = step.as_scalar().unwrap_or_default();
            let index = step
                .as_integer()
                .and_then(|index| usize::try_from(index).ok());
            let inner = if let (YamlContent::List(items), Some(index)) = (&value.content, index) {
                items.get(index).cloned()
            } else {
                let keys = value.as_map().map_or(0, |entries| entries.len());
                if !self.analysis.search(keys, whole.at, site.path) {
                    return None;
                }
                value.get(key).cloned()
            };
            let Some(inner) = inner else {
                let message = format!("the value has no \"{key}\"");
                self.analysis.problems.error(whole.at, site.path, message);
                return None;
            };
            value = inner;
        }
        Some(value)
    }
}
