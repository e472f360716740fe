//! Differences of texts and resources, line by line, as `diff -u` shows them. This is the feature
//! `diff`.

use crate::encoding::{self, Format};
use crate::package::ResourceDifference;
use crate::resource::Resource;
use similar::udiff::UnifiedHunkHeader;
use similar::{ChangeTag, DiffOp, TextDiff};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The longest text in which the smallest difference is searched, in lines.
const MAX_LINES: usize = 100_000;

/// The time until which one caller searches for the smallest differences.
///
/// Later differences are right, too, but larger: from the first line that differs to the last. The
/// search can take very long if large texts have little in common.
#[derive(Clone, Copy, Debug)]
pub struct DiffDeadline {
    start: Instant,
    end: Instant,
}

impl DiffDeadline {
    /// The time to search for all differences of one command or request.
    pub const SEARCH: Duration = Duration::from_secs(5);

    /// A search that starts now and may take this long.
    pub fn new(now: Instant, search: Duration) -> Self {
        Self {
            start: now,
            end: now + search,
        }
    }
}

impl ResourceDifference {
    /// The difference in the format of `diff -u`, of the resources as YAML.
    ///
    /// The names of the resources are in the place of the names of files. Escape control characters
    /// before you show the lines to people: only those in the names are escaped.
    pub fn unified(&self, deadline: DiffDeadline) -> String {
        let [before, after] = [self.before(), self.after()];
        let lines = unified(&yaml(before), &yaml(after), deadline);
        format!("--- {}\n+++ {}\n{lines}", name(before), name(after))
    }
}

/// The name of a resource in place of that of a file, in one line.
fn name(resource: Option<&Arc<Resource>>) -> String {
    let Some(resource) = resource else {
        return "/dev/null".to_owned();
    };
    let identifier = resource.identifier();
    let name = format!("{} {identifier}", identifier.gvk.api_version());
    // Otherwise a name could look like other lines of the difference.
    let mut line = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn yaml(resource: Option<&Arc<Resource>>) -> String {
    let values = resource.into_iter().map(|resource| resource.value());
    String::from_utf8_lossy(&encoding::encode(values, Format::Yaml)).into_owned()
}

/// The difference, with `…` between its parts; empty if the texts are equal.
pub fn changed_lines(before: &str, after: &str, deadline: DiffDeadline) -> String {
    let between = |part: usize, _: &[DiffOp]| (part > 0).then(|| "…\n".to_owned());
    parts(before, after, deadline, between)
}

/// The difference in the format of `diff -u`, without the names of files; empty if the texts are
/// equal.
pub fn unified(before: &str, after: &str, deadline: DiffDeadline) -> String {
    let header = |_: usize, part: &[DiffOp]| Some(format!("{}\n", UnifiedHunkHeader::new(part)));
    parts(before, after, deadline, header)
}

/// The parts of the difference, each after its header.
fn parts(
    before: &str,
    after: &str,
    deadline: DiffDeadline,
    header: impl Fn(usize, &[DiffOp]) -> Option<String>,
) -> String {
    let is_long = [before, after]
        .iter()
        .any(|text| text.lines().count() > MAX_LINES);
    // A deadline that has passed: there is no search.
    let deadline = if is_long {
        deadline.start
    } else {
        deadline.end
    };
    let diff = TextDiff::configure()
        .deadline(deadline)
        .diff_lines(before, after);
    let mut shown = String::new();
    for (at, part) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        shown.extend(header(at, part));
        for change in part
            .iter()
            .flat_map(|operation| diff.iter_changes(operation))
        {
            shown.push(match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            });
            shown.push_str(change.value().trim_end_matches('\n'));
            shown.push('\n');
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{DiffDeadline, MAX_LINES, changed_lines, unified};
    use crate::package::Package;
    use serde_json::{Value, json};
    use std::fmt::Write;
    use std::time::{Duration, Instant};

    fn deadline() -> DiffDeadline {
        DiffDeadline::new(Instant::now(), DiffDeadline::SEARCH)
    }

    fn lines(count: usize) -> String {
        (0..count).fold(String::new(), |mut text, line| {
            writeln!(text, "{line}").expect("into memory");
            text
        })
    }

    fn config(name: &str, text: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "web"},
            "data": {"a": text},
        })
    }

    fn package(values: impl IntoIterator<Item = Value>) -> Package {
        Package::from_values(values).expect("a package")
    }

    #[test]
    fn changed_lines_are_shown_with_some_around() {
        let before = lines(20);
        let after = before.replace("10\n", "ten\n");
        let shown = changed_lines(&before, &after, deadline());
        assert_eq!(shown, " 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n");
        assert_eq!(
            unified(&before, &after, deadline()),
            format!("@@ -8,7 +8,7 @@\n{shown}")
        );
        assert_eq!(changed_lines(&before, &before, deadline()), "");
        assert_eq!(unified(&before, &before, deadline()), "");
    }

    #[test]
    fn parts_are_separate() {
        let before = lines(40);
        let after = before.replace("10\n", "ten\n").replace("30\n", "thirty\n");
        let shown = changed_lines(&before, &after, deadline());
        assert!(shown.contains(" 13\n…\n 27\n"), "{shown}");
        let shown = unified(&before, &after, deadline());
        assert!(shown.contains(" 13\n@@ -28,7 +28,7 @@\n 27\n"), "{shown}");
    }

    #[test]
    fn differences_that_are_not_searched_are_larger_but_right() {
        let passed = DiffDeadline::new(Instant::now(), Duration::ZERO);
        let shown = changed_lines("a\n1\nb\n2\nc\n", "a\n3\nb\n4\nc\n", passed);
        assert_eq!(shown, " a\n-1\n-b\n-2\n+3\n+b\n+4\n c\n");
        // The texts share every second line, so a search would take minutes.
        let text = |word: &str| {
            (0..=MAX_LINES).fold(String::new(), |mut text, line| {
                let _ = writeln!(text, "{}", if line % 2 == 0 { "same" } else { word });
                text
            })
        };
        let shown = unified(&text("old"), &text("new"), deadline());
        assert_eq!(shown.matches("-old\n").count(), MAX_LINES / 2);
    }

    #[test]
    fn each_resource_has_a_unified_diff() {
        let before = package([config("a", "1"), config("b", "1")]);
        let after = package([config("a", "2"), config("c", "1")]);
        let differences = before.differences(&after);
        let shown: String = differences
            .iter()
            .map(|difference| difference.unified(deadline()))
            .collect();
        let expected = "\
--- v1 ConfigMap web/a
+++ v1 ConfigMap web/a
@@ -4,4 +4,4 @@
   name: a
   namespace: web
 data:
-  a: \"1\"
+  a: \"2\"
--- /dev/null
+++ v1 ConfigMap web/c
@@ -0,0 +1,7 @@
+apiVersion: v1
+kind: ConfigMap
+metadata:
+  name: c
+  namespace: web
+data:
+  a: \"1\"
--- v1 ConfigMap web/b
+++ /dev/null
@@ -1,7 +0,0 @@
-apiVersion: v1
-kind: ConfigMap
-metadata:
-  name: b
-  namespace: web
-data:
-  a: \"1\"
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_name_cannot_look_like_another_line() {
        let added = Package::default().differences(&package([config("a\n-a: 1", "1")]));
        let shown = added[0].unified(deadline());
        assert!(
            shown.starts_with("--- /dev/null\n+++ v1 ConfigMap web/a\\n-a: 1\n@@ "),
            "{shown}"
        );
    }
}
