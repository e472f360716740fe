//! Locates violations in the files of a package.

use std::fmt::Write;
use tko_core::{Dialect, Format, Limits, Package, Violation};
use tko_source::{SourceFile, line_offset};

/// Maximum number of violations of one package that are listed.
const MAX_LISTED: usize = 10;

/// Lists violations, each with its file and line.
pub(crate) fn located(violations: &[Violation], files: &[SourceFile]) -> String {
    let mut text = String::new();
    for violation in violations.iter().take(MAX_LISTED) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        // Writing to a string cannot fail.
        let _ = match place(violation, files) {
            Some((file, line)) => write!(text, "{file}:{line}: {violation}"),
            None => write!(text, "{violation}"),
        };
    }
    if violations.len() > MAX_LISTED {
        let _ = write!(text, "; and {} more", violations.len() - MAX_LISTED);
    }
    text
}

/// The file and line of a violation; `None` if it concerns the package as a whole.
fn place<'a>(violation: &Violation, files: &'a [SourceFile]) -> Option<(&'a str, usize)> {
    let resource = violation.resource.as_ref()?;
    for file in files {
        for (line, document) in documents(&file.bytes) {
            let package =
                Package::decode(document, Format::Yaml, Dialect::People, &Limits::default());
            let has = |package: Package| package.iter().any(|one| one.identifier() == resource);
            if package.is_ok_and(has) {
                let line = line + line_offset(document, &violation.path);
                return Some((&file.name, line));
            }
        }
    }
    None
}

/// The documents of a file, each with the number of its first line. YAML allows `---` at the
/// beginning of a line only between documents.
fn documents(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut found = Vec::new();
    let (mut start, mut first, mut at) = (0, 1, 0);
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if line.starts_with(b"---") && at > start {
            found.push((first, &bytes[start..at]));
            (start, first) = (at, index + 1);
        }
        at += line.len();
    }
    found.push((first, &bytes[start..]));
    found
}

#[cfg(test)]
mod tests {
    use super::located;
    use tko_core::{Dialect, Format, Limits, Package, Violation};
    use tko_source::SourceFile;

    #[test]
    fn violations_have_files_and_lines() {
        let text = "# first\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\ndata:\n  c: 1\n";
        let other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n";
        let file = |name: &str, text: &str| SourceFile {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
        };
        let files = [file("p/a.yaml", other), file("p/b.yaml", text)];
        let package = Package::decode(
            text.as_bytes(),
            Format::Yaml,
            Dialect::People,
            &Limits::default(),
        );
        let package = package.expect("a package");
        let of = |index: usize| package.resources()[index].identifier().clone();
        let violations = [
            Violation::new("not text").resource(of(1)).path("data.c"),
            Violation::new("odd").resource(of(0)),
            Violation::new("whole"),
        ];
        let said = located(&violations, &files);
        let mut lines = said.split("; ");
        let next = lines.next().expect("the first");
        assert!(next.starts_with("p/b.yaml:12: "), "{said}");
        let next = lines.next().expect("the second");
        assert!(next.starts_with("p/b.yaml:3: "), "{said}");
        assert_eq!(lines.next(), Some("whole"));
        let many = vec![Violation::new("whole"); 12];
        assert!(located(&many, &[]).ends_with("and 2 more"));
    }
}
