//! Schemas from files.

use super::SchemaSource;
use super::file_names::{candidates, is_nameable};
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

/// Schemas in one file, or in a folder and its subfolders. Three forms are supported:
///
/// - YAML files with `CustomResourceDefinition`s; other documents in them are ignored;
/// - a Kubernetes release's `swagger.json`, or another file whose name contains `swagger`;
/// - JSON Schemas, one per file, named as by kubeconform (`deployment-apps-v1.json`) or its catalog of custom resources (`cert-manager.io/issuer_v1.json`).
///
/// YAML and swagger files are read when the source is opened, JSON Schemas on first use. Later
/// changes to the files are not noticed. If several files define one kind, the first path applies.
pub struct Directory {
    read: HashMap<Gvk, Arc<Schema>>,
    by_name: HashMap<String, PathBuf>,
    loaded: Mutex<HashMap<PathBuf, Arc<Schema>>>,
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
            loaded: Mutex::default(),
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
        let found = candidates(gvk)
            .into_iter()
            .find_map(|name| self.by_name.get(&name));
        let Some(file) = found else {
            return Ok(None);
        };
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = loaded().get(file) {
            return Ok(Some(schema.clone()));
        }
        let path = file.clone();
        let document = spawn_blocking(move || parse(&path, &read(&path)?))
            .await
            .map_err(|error| Error::internal(format!("read {}", file.display()), error))??;
        let schema = Schema::document(file.display().to_string(), gvk.clone(), document);
        let schema = loaded()
            .entry(file.clone())
            .or_insert_with(|| Arc::new(schema))
            .clone();
        Ok(Some(schema))
    }
}

/// Lists all files in a folder, or the single file. Links to folders are not followed, so there are
/// no loops.
fn find_files(path: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let told = |error| refused(path, &error);
    if depth > 0 && fs::symlink_metadata(path).map_err(told)?.is_symlink() && path.is_dir() {
        return Ok(());
    }
    let metadata = fs::metadata(path).map_err(told)?;
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
    for entry in fs::read_dir(path).map_err(told)? {
        find_files(&entry.map_err(told)?.path(), depth + 1, files)?;
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
    let told = |error: std::io::Error| refused(path, &error);
    let metadata = fs::metadata(path).map_err(told)?;
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
    fs::read(path).map_err(told)
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|error| refused(path, &error))
}

#[cfg(test)]
mod tests {
    use super::Directory;
    use crate::source::SchemaSource;
    use std::fs;
    use tko_core::Gvk;

    const CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: foos.example.com}
spec:
  group: example.com
  names: {kind: Foo}
  versions: [{name: v1, schema: {openAPIV3Schema: {type: object}}}]
---
not: a resource
";

    async fn origin(directory: &Directory, api_version: &str, kind: &str) -> Option<String> {
        let found = directory.find(&Gvk::of(api_version, kind)).await;
        Some(found.expect("readable")?.origin().to_owned())
    }

    #[tokio::test]
    async fn every_form_is_found_in_folders_within_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        let within = folder.path().join("cert-manager.io");
        fs::create_dir(&within).expect("created");
        fs::write(folder.path().join("crds.yaml"), CRD).expect("written");
        fs::write(within.join("issuer_v1.json"), "{}").expect("written");
        fs::write(folder.path().join("job-batch-v1.json"), "{}").expect("written");
        fs::write(
            folder.path().join("swagger.json"),
            r#"{"definitions": {"x": {"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "X"}]}}}"#,
        )
        .expect("written");
        fs::write(folder.path().join("README.md"), "not a schema").expect("written");
        let directory = Directory::open(folder.path()).expect("readable");
        for (api_version, kind, file) in [
            (
                "example.com/v1",
                "Foo",
                "CustomResourceDefinition foos.example.com",
            ),
            ("cert-manager.io/v1", "Issuer", "issuer_v1.json"),
            ("batch/v1", "Job", "job-batch-v1.json"),
            ("v1", "X", "swagger.json"),
        ] {
            let found = origin(&directory, api_version, kind).await;
            assert!(
                found.as_ref().is_some_and(|found| found.ends_with(file)),
                "{found:?}"
            );
        }
        assert_eq!(origin(&directory, "example.com/v2", "Foo").await, None);
        assert_eq!(origin(&directory, "other.io/v1", "Issuer").await, None);
    }

    #[test]
    fn a_folder_without_schemas_is_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.yaml"), "a: b").expect("written");
        assert!(Directory::open(folder.path()).expect("readable").is_empty());
        fs::write(folder.path().join("crds.yaml"), CRD).expect("written");
        assert!(!Directory::open(folder.path()).expect("readable").is_empty());
    }

    #[tokio::test]
    async fn a_schema_is_read_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("job-batch-v1.json");
        fs::write(&file, "{}").expect("written");
        let directory = Directory::open(folder.path()).expect("readable");
        let job = Gvk::of("batch/v1", "Job");
        let first = directory.find(&job).await.expect("read").expect("found");
        fs::remove_file(&file).expect("removed");
        let second = directory.find(&job).await.expect("read").expect("found");
        assert_eq!(first.number(), second.number());
    }

    #[tokio::test]
    async fn a_file_with_the_wrong_content_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Directory::open(folder.path().join("missing")).is_err());
        let file = folder.path().join("job-batch-v1.json");
        fs::write(&file, "{").expect("written");
        let directory = Directory::open(folder.path()).expect("not read yet");
        let error = directory
            .find(&Gvk::of("batch/v1", "Job"))
            .await
            .expect_err("bad");
        assert!(error.to_string().contains("job-batch-v1.json"), "{error}");
        fs::write(folder.path().join("bad.yaml"), "a: [").expect("written");
        let error = Directory::open(folder.path()).err().expect("bad");
        assert!(error.to_string().contains("bad.yaml"), "{error}");
    }
}
