//! Imports: determines the files of a service template.
//!
//! A file that several others import is read once. Its key is the normalized path, so that
//! `x/types.yaml` and `y/types.yaml` are distinct.

use crate::analysis::Analysis;
use crate::csar::Csar;
use crate::document::{Import, ToscaDocument};
use crate::problem::SourcePosition;
use crate::yaml::{self, YamlNode};
use std::collections::HashMap;

/// The path of an imported file, from the path of the file that imports it.
///
/// # Errors
/// The reason why the path is refused: it is empty, absolute or a URL, or leads out of the archive.
pub(crate) fn resolve(importer: &str, text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if text.contains("://") || text.starts_with("git:") {
        return Err(format!(
            "\"{text}\" is a URL: only files of the same archive can be imported"
        ));
    }
    if text.starts_with('/') || text.contains('\\') {
        return Err(format!(
            "\"{text}\" is not a relative path with \"/\" between its parts"
        ));
    }
    let mut parts: Vec<&str> = importer.split('/').collect();
    parts.pop();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!("\"{text}\" leads out of the archive"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Reads the service template and all that it imports.
///
/// Problems are reported in `analysis`. The first document is the service template.
pub(crate) fn load(analysis: &mut Analysis<'_>, csar: &Csar) {
    let mut loader = Loader {
        csar,
        known: HashMap::new(),
        open: Vec::new(),
        values: 0,
        bytes: 0,
    };
    loader.document(analysis, csar.entry(), SourcePosition::default(), "");
}

/// Follows imports, depth first.
struct Loader<'a> {
    csar: &'a Csar,
    /// Documents by path; `None` for files that could not be read.
    known: HashMap<String, Option<usize>>,
    /// The paths of files whose imports are being followed, outermost first.
    open: Vec<String>,
    values: usize,
    bytes: u64,
}

impl Loader<'_> {
    /// Reads one file and its imports; returns its number.
    fn document(
        &mut self,
        analysis: &mut Analysis<'_>,
        path: &str,
        at: SourcePosition,
        trail: &str,
    ) -> Option<usize> {
        if let Some(start) = self.open.iter().position(|open| open == path) {
            let mut names = self.open[start..].to_vec();
            names.push(path.to_owned());
            let message = format!("files import each other in a loop: {}", names.join(" -> "));
            analysis.problems.error(at, trail, message);
            return None;
        }
        if let Some(known) = self.known.get(path) {
            return *known;
        }
        let number = self.read(analysis, path, at, trail);
        self.known.insert(path.to_owned(), number);
        let number = number?;
        self.open.push(path.to_owned());
        let imports = analysis.documents[number].import_list.clone();
        for (index, import) in imports.iter().enumerate() {
            let trail = format!("imports[{index}]");
            let Some((target, at, prefix)) = Self::import(analysis, number, path, import, &trail)
            else {
                continue;
            };
            if let Some(document) = self.document(analysis, &target, at, &trail) {
                let import = Import { document, prefix };
                analysis.documents[number].imports.push(import);
            }
        }
        self.open.pop();
        Some(number)
    }

    /// Reads one file without its imports.
    fn read(
        &mut self,
        analysis: &mut Analysis<'_>,
        path: &str,
        at: SourcePosition,
        trail: &str,
    ) -> Option<usize> {
        let limits = analysis.limits;
        if analysis.documents.len() > limits.imports {
            let message = format!("more than {} files are imported", limits.imports);
            analysis.problems.error(at, trail, message);
            return None;
        }
        let text = match self.csar.read(path, limits) {
            Ok(Some(text)) => text,
            Ok(None) => {
                let at = Self::place(analysis, path, at);
                analysis
                    .problems
                    .error(at, trail, format!("there is no file \"{path}\""));
                return None;
            }
            Err(error) => {
                let at = Self::place(analysis, path, at);
                analysis.problems.error(at, trail, error.to_string());
                return None;
            }
        };
        self.bytes += text.len() as u64;
        if self.bytes > limits.total_bytes {
            let message = format!("the files have more than {} bytes", limits.total_bytes);
            let at = Self::place(analysis, path, at);
            analysis.problems.error(at, trail, message);
            return None;
        }
        let file = analysis.problems.file(path);
        let node = yaml::read(
            &text,
            file,
            limits,
            &mut self.values,
            &mut analysis.problems,
        )?;
        let document = ToscaDocument::read(&node, &mut analysis.problems)?;
        analysis.documents.push(document);
        Some(analysis.documents.len() - 1)
    }

    /// The position of a problem with a whole file: that of its import; for the first file, the file
    /// itself.
    fn place(analysis: &mut Analysis<'_>, path: &str, at: SourcePosition) -> SourcePosition {
        if analysis.documents.is_empty() {
            let file = analysis.problems.file(path);
            return SourcePosition { file, ..at };
        }
        at
    }

    /// The path, position and prefix of one import.
    fn import(
        analysis: &mut Analysis<'_>,
        document: usize,
        importer: &str,
        import: &YamlNode,
        trail: &str,
    ) -> Option<(String, SourcePosition, Option<String>)> {
        let grammar = analysis.documents[document].grammar;
        let (path, prefix) = if let Some(text) = import.as_text() {
            (YamlNode::text(import.at, text), None)
        } else if import.as_map().is_some() {
            let allowed = [
                grammar.import_path,
                grammar.import_prefix,
                "description",
                "metadata",
            ];
            let refused = ["repository", "profile", "namespace_uri"];
            let refused: Vec<&str> = refused
                .into_iter()
                .filter(|key| *key != grammar.import_prefix)
                .collect();
            analysis
                .problems
                .keys(import, trail, &allowed, &refused, &[]);
            let prefix = match import.get(grammar.import_prefix) {
                Some(prefix) => Some(analysis.problems.text(prefix, trail)?.to_owned()),
                None => None,
            };
            let Some(path) = import.get(grammar.import_path) else {
                let key = grammar.import_path;
                if import.get("profile").is_none() {
                    let message = format!("key \"{key}\" is missing");
                    analysis.problems.error(import.at, trail, message);
                }
                return None;
            };
            (path.clone(), prefix)
        } else {
            let message = format!("an import is text or a map, not {}", import.kind());
            analysis.problems.error(import.at, trail, message);
            return None;
        };
        let text = analysis.problems.text(&path, trail)?.to_owned();
        match resolve(importer, &text) {
            Ok(target) => Some((target, path.at, prefix)),
            Err(message) => {
                analysis.problems.error(path.at, trail, message);
                None
            }
        }
    }
}
