//! Problems: each with its message, file, line and column.

use std::fmt;

/// A place in one of the files that were read.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SourcePosition {
    /// The number of the file, in the order in which files were opened.
    pub file: usize,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column, from 1; 0 for the file as a whole.
    pub column: usize,
}

/// Whether a problem stops the service template from being used.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ProblemLevel {
    /// The service template is not valid.
    Error,
    /// A part was read that has no effect.
    Warning,
}

/// One problem of a service template, with its position.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Problem {
    /// An error, or a warning.
    pub level: ProblemLevel,
    /// The path of the file inside the archive or folder.
    pub file: String,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: usize,
    /// The column, from 1; 0 if the file as a whole is meant.
    pub column: usize,
    /// The path in the document, as keys separated by points; empty at the top.
    pub path: String,
    /// The fault and the remedy, in lower case.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(match self.level {
            ProblemLevel::Error => ": ",
            ProblemLevel::Warning => ": warning: ",
        })?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Maximum number of bytes of a problem's path.
const MOST_PATH: usize = 512;

/// Maximum number of bytes of a problem's message: keys and values that it quotes may be long.
const MOST_MESSAGE: usize = 2_000;

/// The beginning of a text that is too long.
fn shortened(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    format!("{}…", &text[..end])
}

/// The path of an entry: `PATH.KEY`. It is cut shortly after the length that problems show, because
/// the path of each value below a long key would copy the key.
pub(crate) fn path_within(path: &str, key: &str) -> String {
    // Longer than problems show, so that they end it with an ellipsis.
    let most = MOST_PATH + char::MAX.len_utf8();
    let mut path = format!("{path}.{}", &key[..key.floor_char_boundary(most)]);
    path.truncate(path.floor_char_boundary(most));
    path
}

/// Collects problems, up to a limit.
#[derive(Debug)]
pub(crate) struct ProblemList {
    most: usize,
    files: Vec<String>,
    found: Vec<(SourcePosition, Problem)>,
    errors: usize,
    left_out: usize,
}

impl ProblemList {
    /// An empty list that keeps `most` problems.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            files: Vec::new(),
            found: Vec::new(),
            errors: 0,
            left_out: 0,
        }
    }

    /// Adds a file, and returns its number.
    pub(crate) fn file(&mut self, path: &str) -> usize {
        self.files.push(path.to_owned());
        self.files.len() - 1
    }

    /// The path of a file.
    pub(crate) fn path_of(&self, file: usize) -> &str {
        self.files.get(file).map_or("", String::as_str)
    }

    /// The number of errors reported so far, including those left out.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Reports an error.
    pub(crate) fn error(&mut self, at: SourcePosition, path: &str, message: impl Into<String>) {
        self.errors += 1;
        self.add(ProblemLevel::Error, at, path, &message.into());
    }

    /// Reports something that has no effect.
    pub(crate) fn warning(&mut self, at: SourcePosition, path: &str, message: impl Into<String>) {
        self.add(ProblemLevel::Warning, at, path, &message.into());
    }

    fn add(&mut self, level: ProblemLevel, at: SourcePosition, path: &str, message: &str) {
        if self.found.len() >= self.most {
            self.left_out += 1;
            return;
        }
        let problem = Problem {
            level,
            file: self.path_of(at.file).to_owned(),
            line: at.line,
            column: at.column,
            path: shortened(path, MOST_PATH),
            message: shortened(message, MOST_MESSAGE),
        };
        self.found.push((at, problem));
    }

    /// The problems in the order of files, lines and columns, each once.
    pub(crate) fn finish(mut self) -> Vec<Problem> {
        self.found.sort_by(|(a, left), (b, right)| {
            (a, left.level, &left.message).cmp(&(b, right.level, &right.message))
        });
        let mut problems: Vec<Problem> = self.found.into_iter().map(|(_, found)| found).collect();
        problems.dedup();
        if self.left_out > 0 {
            problems.push(Problem {
                level: ProblemLevel::Error,
                file: self.files.first().cloned().unwrap_or_default(),
                line: 0,
                column: 0,
                path: String::new(),
                message: format!("{} more problems are not shown", self.left_out),
            });
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_PATH, path_within, shortened};

    #[test]
    fn a_path_ends_where_problems_cut_it() {
        assert_eq!(path_within("node_templates", "a"), "node_templates.a");
        let long = "é".repeat(1 << 20);
        let path = path_within("node_templates", &long);
        assert!(path.len() <= MOST_PATH + 4, "{}", path.len());
        assert!(shortened(&path, MOST_PATH).ends_with("é…"));
        let below = path_within(&format!("{path}.properties"), "a");
        assert!(below.len() <= MOST_PATH + 4, "{}", below.len());
    }
}
