//! Schemas from files.

use super::SchemaSource;
use super::file_names::{candidates, is_nameable};
use super::stated_kind::is_of_another_group;
use crate::bounded::Bounded;
use crate::crds::{Crd, is_crd};
use crate::definitions::Definitions;
use crate::schema::Schema;
use async_trait::async_trait;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::encoding::{Dialect, Format, Limits, decode};
use tko_core::{Error, Gvk, Resource, Result};
use tokio::task::spawn_blocking;

/// Maximum size of a file in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Maximum number of files in a folder.
const MAX_FILES: usize = 100_000;
/// Maximum depth of nested folders.
const MAX_FOLDERS: usize = 16;

/// Minimum number of kinds that are remembered, unless their files are large.
const REMEMBERED: usize = 2048;
/// Maximum size of the files of all kinds that are remembered, in bytes.
const REMEMBERED_BYTES: usize = 64 << 20;

/// Schemas in one file, or in a folder and its subfolders. Three forms are supported:
///
/// - YAML files with `CustomResourceDefinition`s; other documents in them are ignored;
/// - a Kubernetes release's `swagger.json`, or another file whose name contains `swagger`;
/// - JSON Schemas, one per file, named as by kubeconform (`deployment-apps-v1.json`) or its catalog of custom resources (`cert-manager.io/issuer_v1.json`).
///
/// A name such as `deployment-apps-v1.json` has only the first part of a group, so that kinds of
/// several groups share it. If the JSON Schema names its `apiVersion`, or has
/// `x-kubernetes-group-version-kind`, it applies to that group only.
///
/// YAML and swagger files are read when the source is opened, JSON Schemas on first use. Changes to
/// files that were read are not noticed at once. If several files define one kind, the first path
/// applies.
pub struct Directory {
    read: HashMap<Gvk, Arc<Schema>>,
    by_name: HashMap<String, PathBuf>,
    /// The schemas of kinds that have a file. `None`: the file is of another group.
    ///
    /// The key is not the file: a schema accepts only its own kind, and kinds can share a file.
    known: Mutex<Bounded<Gvk, Option<Arc<Schema>>>>,
}

impl Directory {
    /// Opens a folder or a single file. Blocks while it reads.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: a file cannot be read or its content does not match its name; the
    /// message names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let root = path.as_ref();
        let mut files = Vec::new();
        find_files(root, 0, &mut files)?;
        files.sort();
        let mut directory = Self {
            read: HashMap::new(),
            by_name: HashMap::new(),
            known: Mutex::new(Bounded::with_weight(REMEMBERED, REMEMBERED_BYTES)),
        };
        for file in files {
            directory.add(file)?;
        }
        Ok(directory)
    }

    /// Returns true if there is no schema and no file that could be one.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && self.by_name.is_empty()
    }

    fn add(&mut self, file: PathBuf) -> Result<()> {
        let name = lower_case_name(&file);
        let (_, extension) = name.rsplit_once('.').unwrap_or_default();
        if matches!(extension, "yaml" | "yml") {
            let values = decode(
                &read(&file)?,
                Format::Yaml,
                Dialect::People,
                &Limits::default(),
            )
            .map_err(|error| refused(&file, &error))?;
            for value in values {
                // Only documents that define kinds have to be valid resources.
                let crd = Resource::new(value).ok().filter(is_crd).map(Arc::new);
                for (gvk, schema) in crd.iter().flat_map(|crd| Crd::read(crd).kinds) {
                    self.read.entry(gvk).or_insert(schema);
                }
            }
        } else if extension == "json" && name.contains("swagger") {
            let document = parse(&file, &read(&file)?)?;
            let origin = file.display().to_string();
            let definitions = Arc::new(Definitions::swagger(&origin, document)?);
            for (gvk, name) in definitions.kinds() {
                self.read.entry(gvk.clone()).or_insert_with(|| {
                    Arc::new(Schema::definition(origin.clone(), gvk, &definitions, name))
                });
            }
        } else if extension == "json" {
            let folder = file.parent().map(lower_case_name).unwrap_or_default();
            self.by_name
                .entry(format!("{folder}/{name}"))
                .or_insert_with(|| file.clone());
            self.by_name.entry(name).or_insert(file);
        }
        Ok(())
    }
}

#[async_trait]
impl SchemaSource for Directory {
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>> {
        if let Some(schema) = self.read.get(gvk) {
            return Ok(Some(schema.clone()));
        }
        if self.by_name.is_empty() || !is_nameable(gvk) {
            return Ok(None);
        }
        let files: Vec<CandidateFile> = candidates(gvk)
            .into_iter()
            .filter_map(|name| {
                Some(CandidateFile {
                    path: self.by_name.get(&name.text)?.clone(),
                    is_shared: name.is_shared,
                })
            })
            .collect();
        if files.is_empty() {
            return Ok(None);
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = known().get(gvk) {
            return Ok(schema);
        }
        let wanted = gvk.clone();
        let loaded = spawn_blocking(move || load(&files, &wanted))
            .await
            .map_err(|error| Error::internal(format!("read the schema of {gvk}"), error))??;
        let (schema, size) = match loaded {
            Some((schema, size)) => (Some(Arc::new(schema)), size),
            None => (None, 0),
        };
        let mut known = known();
        if let Some(schema) = known.get(gvk) {
            // A concurrent lookup was faster, and its schema may already be compiled.
            return Ok(schema);
        }
        known.insert_weighted(gvk.clone(), schema.clone(), size);
        Ok(schema)
    }
}

/// A file that may have the schema of a kind.
struct CandidateFile {
    path: PathBuf,
    /// Whether kinds of several groups share its name.
    is_shared: bool,
}

/// Reads the first file that is of this kind. Returns its schema and its size in bytes.
fn load(files: &[CandidateFile], gvk: &Gvk) -> Result<Option<(Schema, usize)>> {
    for CandidateFile { path, is_shared } in files {
        let bytes = read(path)?;
        let document = parse(path, &bytes)?;
        if *is_shared && is_of_another_group(&document, gvk) {
            continue;
        }
        let schema = Schema::document(path.display().to_string(), gvk.clone(), document);
        return Ok(Some((schema, bytes.len())));
    }
    Ok(None)
}

/// Lists all files in a folder, or the single file. Links to folders are not followed, so there are
/// no loops.
fn find_files(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |error| refused(path, &error);
    if depth > 0 && fs::symlink_metadata(path).map_err(unreadable)?.is_symlink() && path.is_dir() {
        return Ok(());
    }
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_dir() {
        // Pipes and devices in a folder could block for ever.
        if metadata.is_file() || depth == 0 {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if depth > MAX_FOLDERS || files.len() > MAX_FILES {
        let message = format!(
            "has more than {MAX_FILES} files or more than {MAX_FOLDERS} levels of folders; choose a smaller folder"
        );
        return Err(Error::bad(
            "schema location",
            format!("{} {message}", path.display()),
        ));
    }
    for entry in fs::read_dir(path).map_err(unreadable)? {
        find_files(&entry.map_err(unreadable)?.path(), depth + 1, files)?;
    }
    Ok(())
}

fn lower_case_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().to_lowercase()
}

fn refused(path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    let reason = tko_core::error::chain(error);
    Error::bad("schema location", format!("{}: {reason}", path.display()))
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let unreadable = |error: std::io::Error| refused(path, &error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let message = format!("{} is not a regular file", path.display());
        return Err(Error::bad("schema location", message));
    }
    let size = metadata.len();
    if size > MAX_FILE_BYTES {
        let message = format!(
            "{} has {size} bytes; the limit is {MAX_FILE_BYTES}",
            path.display()
        );
        return Err(Error::bad("schema location", message));
    }
    fs::read(path).map_err(unreadable)
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| refused(path, &error))
}

#[cfg(test)]
mod tests;
