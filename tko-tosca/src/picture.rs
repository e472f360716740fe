//! Pictures of topologies: the language of Graphviz, and SVG.

use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The topology in the DOT language of Graphviz.
pub fn dot(topology: &Topology) -> String {
    let mut text = String::from(
        "digraph topology {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for (name, node) in &topology.nodes {
        let kind = node.types.first().map_or("", String::as_str);
        let label = format!("{}\\n{}", quoted(name), quoted(kind));
        let _ = writeln!(text, "  \"{}\" [label=\"{label}\"];", quoted(name));
    }
    for (name, node) in &topology.nodes {
        for relationship in &node.relationships {
            let _ = writeln!(
                text,
                "  \"{}\" -> \"{}\" [label=\"{}\"];",
                quoted(name),
                quoted(&relationship.target),
                quoted(&relationship.name)
            );
        }
    }
    text.push_str("}\n");
    text
}

/// Text inside double quotes of the DOT language.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace(['\n', '\r'], " ")
}

const BOX_WIDTH: usize = 200;
const BOX_HEIGHT: usize = 44;
const COLUMN: usize = BOX_WIDTH + 120;
const ROW: usize = BOX_HEIGHT + 24;
const MARGIN: usize = 16;
/// Maximum number of characters of a line in a box.
const MOST_CHARACTERS: usize = 26;

/// The topology as an SVG picture.
///
/// Nodes are arranged in columns: a node is to the left of those that it has relationships to,
/// unless there are cycles.
pub fn svg(topology: &Topology) -> String {
    let columns = columns(topology);
    let mut places: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    for (name, column) in &columns {
        let row = rows.entry(*column).or_default();
        places.insert(name, (MARGIN + column * COLUMN, MARGIN + *row * ROW));
        *row += 1;
    }
    let width = 2 * MARGIN
        + rows
            .keys()
            .max()
            .map_or(0, |last| last * COLUMN + BOX_WIDTH);
    let height = 2 * MARGIN + rows.values().max().map_or(0, |most| most * ROW);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#57606a\"/></marker>\
         </defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (name, node) in &topology.nodes {
        for relationship in &node.relationships {
            let (Some(from), Some(to)) = (
                places.get(name.as_str()),
                places.get(relationship.target.as_str()),
            ) else {
                continue;
            };
            arrow(&mut text, *from, *to, &relationship.name);
        }
    }
    for (name, node) in &topology.nodes {
        let Some((x, y)) = places.get(name.as_str()) else {
            continue;
        };
        let kind = node.types.first().map_or("", String::as_str);
        let (tx, ty) = (x + 10, y + 18);
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\" \
             fill=\"#f6f8fa\" stroke=\"#57606a\"/><text x=\"{tx}\" y=\"{ty}\" \
             font-weight=\"bold\">{}</text><text x=\"{tx}\" y=\"{}\" fill=\"#57606a\">{}</text>",
            escaped(name),
            ty + 16,
            escaped(kind)
        );
    }
    text.push_str("</svg>\n");
    text
}

fn arrow(text: &mut String, from: (usize, usize), to: (usize, usize), label: &str) {
    let middle = BOX_HEIGHT / 2;
    // Between columns from side to side; within a column, or back, around the right side.
    let (x1, y1) = (from.0 + BOX_WIDTH, from.1 + middle);
    let (x2, y2, bend) = if to.0 > from.0 {
        (to.0, to.1 + middle, to.0 - 50)
    } else {
        (
            to.0 + BOX_WIDTH,
            to.1 + middle,
            x1.max(to.0 + BOX_WIDTH) + 50,
        )
    };
    let start = x1 + 50;
    let (label_x, label_y) = (usize::midpoint(x1, x2), usize::midpoint(y1, y2));
    let _ = writeln!(
        text,
        "<path d=\"M{x1} {y1}C{start} {y1} {bend} {y2} {x2} {y2}\" fill=\"none\" \
         stroke=\"#57606a\" marker-end=\"url(#arrow)\"/><text x=\"{label_x}\" y=\"{}\" \
         text-anchor=\"middle\" fill=\"#57606a\">{}</text>",
        label_y.saturating_sub(4),
        escaped(label)
    );
}

/// Text of a picture, truncated to the width of a box.
fn escaped(text: &str) -> String {
    let mut cut: String = text.chars().take(MOST_CHARACTERS).collect();
    if cut.len() < text.len() {
        cut.pop();
        cut.push('…');
    }
    cut.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The column of each node: the length of the longest path from a node to which no other refers.
fn columns(topology: &Topology) -> BTreeMap<&str, usize> {
    let mut incoming: BTreeMap<&str, usize> = topology
        .nodes
        .keys()
        .map(|name| (name.as_str(), 0))
        .collect();
    for node in topology.nodes.values() {
        for relationship in &node.relationships {
            if let Some(count) = incoming.get_mut(relationship.target.as_str()) {
                *count += 1;
            }
        }
    }
    let mut columns: BTreeMap<&str, usize> = incoming.keys().map(|name| (*name, 0)).collect();
    let mut ready: Vec<&str> = incoming
        .iter()
        .filter(|(_, n)| **n == 0)
        .map(|(k, _)| *k)
        .collect();
    let mut done = BTreeSet::new();
    while let Some(name) = ready.pop() {
        done.insert(name);
        let column = columns.get(name).copied().unwrap_or_default();
        for relationship in &topology.nodes[name].relationships {
            let target = relationship.target.as_str();
            let Some((target, left)) = incoming.get_key_value(target).map(|(k, v)| (*k, *v)) else {
                continue;
            };
            let place = columns.entry(target).or_default();
            *place = (*place).max(column + 1);
            incoming.insert(target, left - 1);
            if left == 1 && !done.contains(target) {
                ready.push(target);
            }
        }
    }
    columns
}
