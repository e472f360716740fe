//! Finds the line of a property in the text of a document.

/// Texts beyond this size are not searched; the line of the document is reported instead.
const MAX_SEARCHED: usize = 1 << 20;

/// A line that has content.
#[derive(Clone, Copy, Debug)]
struct TextLine<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// A part of a path.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// Returns how many lines after the beginning of `text` the property at `path` is. For a missing
/// property, it is the line of the map that would contain it.
///
/// The path is that of a violation, such as `spec.containers[0].image`.
///
/// This follows the indentation, so in flow style it finds the line on which the outermost map or
/// list begins.
pub fn line_offset(text: &[u8], path: &str) -> usize {
    if text.len() > MAX_SEARCHED {
        return 0;
    }
    let text = String::from_utf8_lossy(text);
    let mut within: Vec<TextLine<'_>> = text
        .lines()
        .enumerate()
        .filter_map(TextLine::read)
        .collect();
    let mut found = within.first().map_or(0, |line| line.number);
    for segment in segments(path) {
        let Some(place) = place(&within, &segment) else {
            break;
        };
        let line = within[place];
        found = line.number;
        let is_item = matches!(segment, Segment::Index(_)) && line.is_item();
        let rest = &within[place + 1..];
        let end = rest.iter().position(|next| {
            let is_beside = is_item || !next.is_item() || line.is_item();
            next.indent < line.indent || (next.indent == line.indent && is_beside)
        });
        // The first property of an item is on the line of its dash.
        let first = is_item.then(|| line.after_dash()).flatten();
        let rest = &rest[..end.unwrap_or(rest.len())];
        within = first.into_iter().chain(rest.iter().copied()).collect();
    }
    found
}

/// Returns the line of a key or an item within the map or list on these lines.
fn place(lines: &[TextLine<'_>], segment: &Segment) -> Option<usize> {
    let first = lines.first()?;
    let beside = |line: &TextLine<'_>| line.indent == first.indent;
    match segment {
        Segment::Key(name) => lines
            .iter()
            .position(|line| beside(line) && line.has_key(name)),
        Segment::Index(index) => {
            let is_item = |line: &TextLine<'_>| {
                if first.is_item() {
                    line.is_item()
                } else {
                    // JSON: every line at this indentation that does not close something.
                    !line.text.starts_with(['}', ']'])
                }
            };
            let items = lines.iter().enumerate();
            let mut items = items.filter(|(_, line)| beside(line) && is_item(line));
            items.nth(*index).map(|(place, _)| place)
        }
    }
}

impl<'a> TextLine<'a> {
    fn read((number, line): (usize, &'a str)) -> Option<Self> {
        let line = line.strip_prefix("--- ").unwrap_or(line);
        let text = line.trim();
        let is_empty = text.is_empty() || text.starts_with('#') || text == "---" || text == "{";
        (!is_empty && !line.starts_with('%')).then_some(Self {
            number,
            indent: line.len() - line.trim_start().len(),
            text,
        })
    }

    fn is_item(&self) -> bool {
        self.text == "-" || self.text.starts_with("- ")
    }

    /// Returns the text after the dash of an item, as a separate line.
    fn after_dash(&self) -> Option<Self> {
        let rest = self.text.strip_prefix('-')?;
        let text = rest.trim_start();
        (!text.is_empty()).then_some(Self {
            number: self.number,
            indent: self.indent + 1 + rest.len() - text.len(),
            text,
        })
    }

    fn has_key(&self, name: &str) -> bool {
        let unquoted = match self.text.as_bytes().first() {
            Some(b'"') => self.text[1..]
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('"')),
            Some(b'\'') => self.text[1..]
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('\'')),
            _ => self.text.strip_prefix(name),
        };
        unquoted.is_some_and(|rest| rest.trim_start().starts_with(':'))
    }
}

/// Splits a path such as `spec.containers[0].image` or `metadata.labels['a/b']`.
fn segments(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let end = quoted.find("']").unwrap_or(quoted.len());
            segments.push(Segment::Key(quoted[..end].to_owned()));
            rest = quoted.get(end + 2..).unwrap_or_default();
        } else if let Some(index) = rest.strip_prefix('[') {
            let end = index.find(']').unwrap_or(index.len());
            match index[..end].parse() {
                Ok(index) => segments.push(Segment::Index(index)),
                Err(_) => break,
            }
            rest = index.get(end + 1..).unwrap_or_default();
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                break;
            }
            segments.push(Segment::Key(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::line_offset;

    #[test]
    fn properties_are_found_by_indentation() {
        let yaml = "\
---
# a comment
apiVersion: v1
kind: Pod
metadata:
  labels:
    'a/b': c
spec:
  containers:
  - name: a
    image: b
  -
    image: c
    ports:
      - containerPort: 1
      - containerPort: 2
  volumes: [{name: v}]
";
        for (path, line) in [
            ("", 2),
            ("kind", 3),
            ("metadata.labels['a/b']", 6),
            ("metadata.name", 4),
            ("spec.containers[0].name", 9),
            ("spec.containers[0].image", 10),
            ("spec.containers[0].gone", 9),
            ("spec.containers[1].image", 12),
            ("spec.containers[1].ports[1].containerPort", 15),
            ("spec.volumes[0].name", 16),
            ("spec.containers[7].name", 8),
            ("[", 2),
            ("['", 2),
        ] {
            assert_eq!(line_offset(yaml.as_bytes(), path), line, "{path}");
        }
    }

    #[test]
    fn properties_are_found_in_json_of_one_line_each() {
        let json = "{\n  \"kind\": \"List\",\n  \"items\": [\n    {\n      \"kind\": \"A\"\n    },\n    {\n      \"kind\": \"B\"\n    }\n  ]\n}\n";
        assert_eq!(line_offset(json.as_bytes(), "kind"), 1);
        assert_eq!(line_offset(json.as_bytes(), "items"), 2);
        assert_eq!(line_offset(b"", "a"), 0);
    }
}
