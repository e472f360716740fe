//! Reports in the formats of kubeconform: text, JSON, JUnit and TAP.

mod totals;

pub(super) use totals::Totals;

use crate::output::OutputFormat;
use crate::printable::printable;
use anyhow::bail;
use quick_xml::escape::escape;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;
use tko_core::{Gvk, Identifier, Resource};

/// The location of a resource.
pub(super) struct ReportPlace<'a> {
    pub(super) file: &'a str,
    /// Line from 1; 0 if it is not known.
    pub(super) line: usize,
}

impl std::fmt::Display for ReportPlace<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}", printable(self.file, &[])),
            line => write!(f, "{}:{line}", printable(self.file, &[])),
        }
    }
}

/// The result for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ResourceStatus {
    #[default]
    Valid,
    Invalid,
    /// It could not be read or checked.
    Error,
    Skipped,
    /// No source has a schema of its kind, so it was not checked.
    WithoutSchema,
}

/// One problem of a resource.
pub(super) struct ReportedProblem {
    line: usize,
    path: String,
    message: String,
}

/// A resource that was checked, or a document that could not be.
#[derive(Default)]
pub(super) struct CheckedFile {
    identifier: Option<Identifier>,
    pub(super) status: ResourceStatus,
    problems: Vec<ReportedProblem>,
    pub(super) skipped_rules: usize,
    pub(super) is_unavailable: bool,
}

impl CheckedFile {
    /// Creates a valid resource without problems.
    pub(super) fn new(resource: &Arc<Resource>) -> Self {
        Self {
            identifier: Some(resource.identifier().clone()),
            ..Self::default()
        }
    }

    /// Adds a violation.
    pub(super) fn refuse(&mut self, line: usize, path: &str, message: &str) {
        if self.status != ResourceStatus::Error {
            self.status = ResourceStatus::Invalid;
        }
        self.problems.push(ReportedProblem {
            line,
            path: path.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Adds the reason why it could not be checked.
    pub(super) fn fail(&mut self, line: usize, message: &str) {
        self.refuse(line, "", message);
        self.status = ResourceStatus::Error;
    }

    fn gvk(&self) -> Option<&Gvk> {
        self.identifier.as_ref().map(|identifier| &identifier.gvk)
    }

    /// Returns the name of the resource, for people.
    fn name(&self) -> String {
        self.identifier
            .as_ref()
            .map(|identifier| printable(&identifier.to_string(), &[]).into_owned())
            .unwrap_or_default()
    }
}

/// Writes a report while resources are checked.
pub(super) struct ValidationReport<'a> {
    format: OutputFormat,
    summary: bool,
    out: &'a mut dyn Write,
    totals: Totals,
    /// For JUnit: the file, its test cases, and the totals before it.
    suite: Option<(String, String, Totals)>,
    reported: u64,
}

impl<'a> ValidationReport<'a> {
    /// Creates a report and writes its beginning.
    ///
    /// # Errors
    /// The format is not a report format, or writing fails.
    pub(super) fn new(
        format: OutputFormat,
        summary: bool,
        out: &'a mut dyn Write,
    ) -> anyhow::Result<Self> {
        match format {
            OutputFormat::Text => {}
            OutputFormat::Json => write!(out, "{{\"resources\":[")?,
            OutputFormat::Junit => writeln!(
                out,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tko validate\">"
            )?,
            OutputFormat::Tap => writeln!(out, "TAP version 13")?,
            _ => bail!(tko_core::Error::bad(
                "format",
                "validate writes text, json, junit and tap; choose one with -o"
            )),
        }
        Ok(Self {
            format,
            summary,
            out,
            totals: Totals::default(),
            suite: None,
            reported: 0,
        })
    }

    /// Returns the counts so far.
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Begins the resources of a file.
    pub(super) fn begin_file(&mut self, file: &str) {
        self.totals.files += 1;
        if self.format == OutputFormat::Junit {
            self.suite = Some((file.to_owned(), String::new(), self.totals.clone()));
        }
    }

    /// Ends the resources of a file.
    pub(super) fn end_file(&mut self) -> anyhow::Result<()> {
        let Some((file, cases, before)) = self.suite.take() else {
            return Ok(());
        };
        let now = &self.totals;
        writeln!(
            self.out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n{cases}  </testsuite>",
            escape(printable(&file, &[])),
            now.documents() - before.documents(),
            now.invalid - before.invalid,
            now.errors - before.errors,
            now.skipped + now.without_schema - before.skipped - before.without_schema,
        )?;
        Ok(())
    }

    /// Reports a resource.
    pub(super) fn resource(
        &mut self,
        place: &ReportPlace<'_>,
        checked: &CheckedFile,
    ) -> anyhow::Result<()> {
        self.totals.add(
            checked.status,
            checked.problems.len(),
            checked.skipped_rules,
            checked.gvk(),
        );
        self.totals.is_unavailable |= checked.is_unavailable;
        match self.format {
            OutputFormat::Text => write_text(place, checked),
            OutputFormat::Json => self.json(place, checked),
            OutputFormat::Junit => self.junit(place, checked),
            _ => self.tap(place, checked),
        }
    }

    /// Lists only invalid resources, as kubeconform does.
    fn json(&mut self, place: &ReportPlace<'_>, checked: &CheckedFile) -> anyhow::Result<()> {
        let status = match checked.status {
            ResourceStatus::Invalid => "statusInvalid",
            ResourceStatus::Error => "statusError",
            _ => return Ok(()),
        };
        let name = checked.name();
        let messages: Vec<String> = checked.problems.iter().map(ReportedProblem::text).collect();
        let problems: Vec<Value> = checked
            .problems
            .iter()
            .map(|one| json!({"path": one.path, "msg": one.message, "line": one.line}))
            .collect();
        let resource = json!({
            "filename": place.file,
            "line": place.line,
            "kind": checked.gvk().map_or("", |gvk| &gvk.kind),
            "version": checked.gvk().map(Gvk::api_version).unwrap_or_default(),
            "name": checked.identifier.as_ref().map_or("", |one| &one.name),
            "resource": name,
            "status": status,
            "msg": messages.join("; "),
            "validationErrors": problems,
        });
        let separator = if self.reported == 0 { "\n" } else { ",\n" };
        self.reported += 1;
        write!(self.out, "{separator}{resource}")?;
        Ok(())
    }

    fn junit(&mut self, place: &ReportPlace<'_>, checked: &CheckedFile) -> anyhow::Result<()> {
        // A file that cannot be opened does not have its own suite yet.
        let is_alone = self.suite.is_none();
        if is_alone {
            let mut before = self.totals.clone();
            before.errors = before.errors.saturating_sub(1);
            self.suite = Some((place.file.to_owned(), String::new(), before));
        }
        if let Some((_, cases, _)) = &mut self.suite {
            let name = match checked.name() {
                name if name.is_empty() => place.to_string(),
                name => name,
            };
            let class = checked.gvk().map(ToString::to_string).unwrap_or_default();
            write!(
                cases,
                "    <testcase name=\"{}\" classname=\"{}\"",
                escape(name),
                escape(printable(&class, &[]))
            )?;
            let element = match checked.status {
                ResourceStatus::Valid => {
                    cases.push_str("/>\n");
                    None
                }
                ResourceStatus::Skipped => {
                    cases.push_str("><skipped message=\"--skip\"/></testcase>\n");
                    None
                }
                ResourceStatus::WithoutSchema => {
                    cases.push_str("><skipped message=\"no schema\"/></testcase>\n");
                    None
                }
                ResourceStatus::Invalid => Some("failure"),
                ResourceStatus::Error => Some("error"),
            };
            if let Some(element) = element {
                cases.push_str(">\n");
                for problem in &checked.problems {
                    let line = line(place, problem, "");
                    writeln!(cases, "      <{element} message=\"{}\"/>", escape(line))?;
                }
                cases.push_str("    </testcase>\n");
            }
        }
        if is_alone { self.end_file() } else { Ok(()) }
    }

    fn tap(&mut self, place: &ReportPlace<'_>, checked: &CheckedFile) -> anyhow::Result<()> {
        self.reported += 1;
        let (number, name) = (self.reported, checked.name());
        let title = format!("{place} {name}").replace('#', "\\#");
        match checked.status {
            ResourceStatus::Valid => writeln!(self.out, "ok {number} - {title}")?,
            ResourceStatus::Skipped => writeln!(self.out, "ok {number} - {title} # SKIP --skip")?,
            ResourceStatus::WithoutSchema => {
                writeln!(self.out, "ok {number} - {title} # SKIP no schema")?;
            }
            ResourceStatus::Invalid | ResourceStatus::Error => {
                writeln!(self.out, "not ok {number} - {title}")?;
                for problem in &checked.problems {
                    writeln!(self.out, "# {}", line(place, problem, ""))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the end of the report.
    pub(super) fn finish(self) -> anyhow::Result<Totals> {
        let totals = self.totals;
        match self.format {
            OutputFormat::Text => {
                if self.summary {
                    writeln!(self.out, "Summary: {}", totals.in_full())?;
                }
            }
            OutputFormat::Json => {
                let end = if self.reported == 0 { "" } else { "\n" };
                writeln!(self.out, "{end}],\"summary\":{}}}", totals.json())?;
            }
            OutputFormat::Junit => writeln!(self.out, "</testsuites>")?,
            _ => writeln!(self.out, "1..{}\n# {}", self.reported, totals.in_full())?,
        }
        Ok(totals)
    }
}

/// Writes problems to standard error, as other commands do.
fn write_text(place: &ReportPlace<'_>, checked: &CheckedFile) -> anyhow::Result<()> {
    let mut lines = String::new();
    for problem in &checked.problems {
        lines.push_str(&line(place, problem, &checked.name()));
        lines.push('\n');
    }
    std::io::stderr().write_all(lines.as_bytes())?;
    Ok(())
}

impl ReportedProblem {
    fn text(&self) -> String {
        if self.path.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.path, self.message)
        }
    }
}

/// Returns a problem as one line: file and line, the resource if it is named, path and message.
fn line(place: &ReportPlace<'_>, problem: &ReportedProblem, resource: &str) -> String {
    let at = ReportPlace {
        file: place.file,
        line: problem.line,
    };
    let resource = if resource.is_empty() {
        String::new()
    } else {
        format!("{resource}: ")
    };
    format!("{at}: {resource}{}", printable(&problem.text(), &[]))
}
