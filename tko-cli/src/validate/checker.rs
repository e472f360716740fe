//! Checks the documents of one package after the other.

use super::documents::{YamlDocument, YamlDocuments};
use super::files::{self, Found};
use super::report::{CheckedFile, ReportPlace, ResourceStatus, ValidationReport};
use crate::console::to_stderr;
use regex::Regex;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader, Seek};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tko_core::encoding::{DecodeError, Decoded, Dialect, Format, Limits, Position, decode_placed};
use tko_core::{ErrorKind, Gvk, Identifier, Package, Resource, annotation};
use tko_source::line_offset;
use tko_validate::SchemaValidator;

/// The name of standard input in reports.
const STDIN: &str = "stdin";

/// A kind, in any or in one group and version.
#[derive(Clone, Debug)]
pub(super) enum KindFilter {
    Kind(String),
    Gvk(Gvk),
}

impl FromStr for KindFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('/') {
            _ if text.is_empty() => Err("a kind is empty".to_owned()),
            Some((api_version, kind)) if !api_version.is_empty() && !kind.is_empty() => {
                Ok(Self::Gvk(Gvk::of(api_version, kind)))
            }
            Some(_) => Err(format!("expected Kind or group/version/Kind, got {text:?}")),
            None => Ok(Self::Kind(text.to_owned())),
        }
    }
}

impl KindFilter {
    fn matches(&self, gvk: &Gvk) -> bool {
        match self {
            Self::Kind(kind) => *gvk.kind == **kind,
            Self::Gvk(one) => one == gvk,
        }
    }
}

/// Checks packages.
pub(super) struct PackageChecker<'a> {
    pub(super) validator: SchemaValidator,
    pub(super) complete: bool,
    /// Time limit for one resource.
    pub(super) time: Duration,
    pub(super) skip: Vec<KindFilter>,
    pub(super) reject: Vec<KindFilter>,
    pub(super) ignored: Vec<Regex>,
    /// Whether the check stops at the first problem.
    pub(super) stops: bool,
    pub(super) report: ValidationReport<'a>,
}

/// The resources of one package that were seen: file and line, by a hash of the identifier.
#[derive(Default)]
struct SeenResources {
    files: Vec<String>,
    places: HashMap<(u64, u64), (u32, u32)>,
}

impl SeenResources {
    /// Returns where the same resource occurred before.
    fn before(&mut self, identifier: &Identifier, place: &ReportPlace<'_>) -> Option<String> {
        let hash = |seed: u8| {
            let mut hasher = DefaultHasher::new();
            (seed, identifier).hash(&mut hasher);
            hasher.finish()
        };
        if self.files.last().is_none_or(|file| file != place.file) {
            self.files.push(place.file.to_owned());
        }
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        match self.places.entry((hash(0), hash(1))) {
            Entry::Occupied(there) => {
                let (file, line) = *there.get();
                let file = self.files.get(file as usize).map_or("", String::as_str);
                Some(if line == 0 {
                    file.to_owned()
                } else {
                    format!("{file}:{line}")
                })
            }
            Entry::Vacant(free) => {
                free.insert((number(self.files.len() - 1), number(place.line)));
                None
            }
        }
    }
}

impl PackageChecker<'_> {
    /// Whether a problem ended the check.
    pub(super) fn is_over(&self) -> bool {
        let totals = self.report.totals();
        self.stops && totals.violations + totals.errors > 0
    }

    /// Checks one package.
    ///
    /// # Errors
    /// The report cannot be written. Problems of the package are reported instead.
    pub(super) async fn url(&mut self, url: &str, quiet: bool) -> anyhow::Result<()> {
        let path = Path::new(url);
        if url == "-" {
            return self.standard_input().await;
        }
        let is_local = path.is_dir() || (path.exists() && !is_archive(url));
        if !is_local {
            return self.source(url).await;
        }
        let found = match files::find(path, &self.ignored) {
            Ok(found) => found,
            Err(error) => return self.fault(url, 0, &format!("{error:#}"), false),
        };
        let mut names: Vec<PathBuf> = Vec::new();
        for one in found {
            match one {
                Found::File(path) => names.push(path),
                Found::Skipped(message) if !quiet => {
                    to_stderr(format_args!("warning: {message}"));
                }
                Found::Skipped(_) => {}
            }
        }
        // Definitions apply to the whole package, whatever the order of its files.
        let mut definitions = Vec::new();
        for path in &names {
            if let Ok(file) = files::open(path) {
                collect_definitions(BufReader::new(file), is_json(path), &mut definitions);
            }
        }
        self.learn(definitions);
        let mut seen = SeenResources::default();
        for path in &names {
            let name = path.display().to_string();
            match files::open(path) {
                Ok(file) => {
                    let reader = BufReader::with_capacity(1 << 16, file);
                    self.stream(&name, reader, is_json(path), &mut seen).await?;
                }
                Err(error) => self.fault(&name, 0, &format!("{error:#}"), false)?,
            }
            if self.is_over() {
                break;
            }
        }
        self.validator.crds().forget(SOURCE);
        Ok(())
    }

    /// Checks standard input. It is read twice, so it is kept in an unnamed temporary file.
    async fn standard_input(&mut self) -> anyhow::Result<()> {
        let mut file = tempfile::tempfile()?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
        file.rewind()?;
        let mut definitions = Vec::new();
        collect_definitions(BufReader::new(&file), false, &mut definitions);
        self.learn(definitions);
        file.rewind()?;
        let reader = BufReader::with_capacity(1 << 16, &file);
        self.stream(STDIN, reader, false, &mut SeenResources::default())
            .await?;
        self.validator.crds().forget(SOURCE);
        Ok(())
    }

    /// Checks an archive, a repository or a URL as a whole.
    async fn source(&mut self, url: &str) -> anyhow::Result<()> {
        let package = match crate::source::package_quietly(url).await? {
            Ok(package) => package,
            Err(error) => {
                let is_unavailable = error.kind() == ErrorKind::Unavailable;
                let message = tko_core::error::chain(&error);
                return self.fault(url, 0, &message, is_unavailable);
            }
        };
        self.report.begin_file(url);
        self.learn(package.resources().to_vec());
        for resource in &package {
            let place = ReportPlace { file: url, line: 0 };
            self.resource(resource, &place, &[], "").await?;
            if self.is_over() {
                break;
            }
        }
        self.validator.crds().forget(SOURCE);
        self.report.end_file()
    }

    fn learn(&self, mut resources: Vec<Arc<Resource>>) {
        let mut seen = std::collections::HashSet::new();
        resources.retain(|resource| seen.insert(resource.identifier().clone()));
        if let Ok(package) = Package::new(resources) {
            self.validator.crds().learn(SOURCE, &package);
        }
    }

    async fn stream(
        &mut self,
        name: &str,
        reader: impl BufRead,
        is_json: bool,
        seen: &mut SeenResources,
    ) -> anyhow::Result<()> {
        self.report.begin_file(name);
        let mut documents = YamlDocuments::new(reader, limits().bytes, is_json);
        loop {
            let document = match documents.next() {
                Ok(Some(document)) => document,
                Ok(None) => break,
                Err(error) => {
                    self.fault(name, 0, &format!("cannot read it: {error}"), false)?;
                    break;
                }
            };
            self.document(name, &document, is_json, seen).await?;
            if self.is_over() {
                break;
            }
        }
        self.report.end_file()
    }

    async fn document(
        &mut self,
        name: &str,
        document: &YamlDocument,
        is_json: bool,
        seen: &mut SeenResources,
    ) -> anyhow::Result<()> {
        if document.is_cut {
            let limit = limits().bytes;
            let message = format!("the document has more than {limit} bytes; split it");
            return self.fault(name, document.line, &message, false);
        }
        let decoded = match decoded(document, is_json) {
            Ok(decoded) => decoded,
            Err(error) => {
                let place = error.place();
                let (line, column) = match place.position {
                    Some(Position::Text { line, column }) => (line, format!("column {column}: ")),
                    _ => (1, String::new()),
                };
                let message = error.to_string();
                let message = message
                    .strip_prefix(&format!("{place}: "))
                    .unwrap_or(&message);
                let message = format!("{column}{message}");
                return self.fault(name, document.line + line - 1, &message, false);
            }
        };
        for one in decoded {
            let (prefix, start) = within(&one, document);
            let place = ReportPlace {
                file: name,
                line: document.line + start,
            };
            match Resource::new(one.value) {
                Ok(resource) => {
                    let resource = Arc::new(resource);
                    if let Some(before) = seen.before(resource.identifier(), &place) {
                        let message = format!("is there twice, the first time at {before}");
                        self.resource_with(&resource, &place, &message)?;
                    } else {
                        self.resource(&resource, &place, &document.text, &prefix)
                            .await?;
                    }
                }
                Err(error) => {
                    let message = match &error {
                        tko_core::Error::BadArgument { message, .. } => message.clone(),
                        other => other.to_string(),
                    };
                    self.fault(
                        name,
                        place.line,
                        &format!("is not a resource: it {message}"),
                        false,
                    )?;
                }
            }
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Checks a resource. `text` and `prefix` find the lines of its properties.
    async fn resource(
        &mut self,
        resource: &Arc<Resource>,
        place: &ReportPlace<'_>,
        text: &[u8],
        prefix: &str,
    ) -> anyhow::Result<()> {
        let gvk = resource.gvk();
        let mut checked = CheckedFile::new(resource);
        if self.skip.iter().any(|filter| filter.matches(gvk)) {
            checked.status = ResourceStatus::Skipped;
            return self.report.resource(place, &checked);
        }
        if self.reject.iter().any(|filter| filter.matches(gvk)) {
            checked.refuse(place.line, "kind", "is refused by --reject");
            return self.report.resource(place, &checked);
        }
        let alone = Package::new(vec![resource.clone()])?;
        let mut violations = annotation::check(&alone);
        let verdict = self.validator.verdict(&alone, resource, self.complete);
        match tokio::time::timeout(self.time, verdict).await {
            Ok(Ok(verdict)) => {
                violations.extend(verdict.violations);
                checked.skipped_rules = verdict.skipped_rules;
                if verdict.without_schema {
                    checked.status = ResourceStatus::WithoutSchema;
                }
            }
            Ok(Err(error)) => {
                checked.is_unavailable = error.kind() == ErrorKind::Unavailable;
                checked.fail(place.line, &tko_core::error::chain(&error));
            }
            Err(_) => {
                let message = format!("validation took longer than {:?}", self.time);
                checked.fail(place.line, &message);
            }
        }
        for violation in violations {
            let line = match (place.line, text) {
                (line, []) => line,
                // `text` begins where the document does, not where the resource does.
                (line, text) => {
                    let path = match (prefix, violation.path.as_str()) {
                        ("", path) => path.to_owned(),
                        (prefix, "") => prefix.to_owned(),
                        (prefix, path) => format!("{prefix}.{path}"),
                    };
                    let start = line_offset(text, prefix);
                    line + line_offset(text, &path).saturating_sub(start)
                }
            };
            checked.refuse(line, &violation.path, &violation.message);
        }
        self.report.resource(place, &checked)
    }

    /// Reports one violation of a resource as a whole.
    fn resource_with(
        &mut self,
        resource: &Arc<Resource>,
        place: &ReportPlace<'_>,
        message: &str,
    ) -> anyhow::Result<()> {
        let mut checked = CheckedFile::new(resource);
        checked.refuse(place.line, "", message);
        self.report.resource(place, &checked)
    }

    /// Reports a document that is not a resource, or a file that cannot be read.
    fn fault(
        &mut self,
        file: &str,
        line: usize,
        message: &str,
        is_unavailable: bool,
    ) -> anyhow::Result<()> {
        let mut checked = CheckedFile::default();
        checked.is_unavailable = is_unavailable;
        checked.fail(line, message);
        self.report.resource(&ReportPlace { file, line }, &checked)
    }
}

/// Names the definitions of the package that is being checked.
const SOURCE: &str = "the package";

fn limits() -> Limits {
    Limits::new().documents(1_000_000)
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

fn is_archive(name: &str) -> bool {
    let name = name.to_lowercase();
    [".tar", ".tar.gz", ".tgz", ".zip"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn decoded(document: &YamlDocument, is_json: bool) -> Result<Vec<Decoded>, DecodeError> {
    let format = if is_json { Format::Json } else { Format::Yaml };
    decode_placed(&document.text, format, Dialect::People, &limits())
}

/// Returns the path of a resource within its document, and the number of lines from the start of
/// the document to the resource.
fn within(one: &Decoded, document: &YamlDocument) -> (String, usize) {
    let is_list = document.text.trim_ascii_start().starts_with(b"[");
    let prefix = match one.at.item {
        Some(item) if is_list => format!("[{}]", item - 1),
        Some(item) => format!("items[{}]", item - 1),
        None => String::new(),
    };
    let start = line_offset(&document.text, &prefix);
    (prefix, start)
}

/// Collects the definitions of a stream; unreadable documents are reported later.
fn collect_definitions(reader: impl BufRead, is_json: bool, found: &mut Vec<Arc<Resource>>) {
    const KIND: &[u8] = b"CustomResourceDefinition";
    let mut documents = YamlDocuments::new(reader, limits().bytes, is_json);
    while let Ok(Some(document)) = documents.next() {
        if document.is_cut || !document.text.windows(KIND.len()).any(|part| part == KIND) {
            continue;
        }
        let values = decoded(&document, is_json).unwrap_or_default();
        let resources = values
            .into_iter()
            .filter_map(|one| Resource::new(one.value).ok());
        found.extend(
            resources
                .filter(|resource| resource.gvk().kind.as_bytes() == KIND)
                .map(Arc::new),
        );
    }
}
