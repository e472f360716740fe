//! Schemas in files of this machine, named by a template.

use super::SchemaSource;
use super::directory;
use super::file_names::is_nameable;
use super::template::TemplateText;
use crate::bounded::Bounded;
use crate::schema::Schema;
use crate::version::KubernetesVersion;
use async_trait::async_trait;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tko_core::{Error, Gvk, Result};
use tokio::task::spawn_blocking;

/// Minimum number of kinds that are remembered.
const REMEMBERED: usize = 2048;

/// Schemas in local files, one per kind. A path with kubeconform's variables names them, such as
/// `schemas/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json`.
///
/// If the file does not exist, there is no schema; a file that cannot be read, or is not JSON, is
/// an error. Files are read once.
pub struct PathTemplate {
    template: TemplateText,
    kubernetes: KubernetesVersion,
    known: Mutex<Bounded<Gvk, Option<Arc<Schema>>>>,
}

impl PathTemplate {
    /// Creates a source from a template.
    ///
    /// # Errors
    /// [`Error::BadArgument`]: the template has an unknown variable.
    pub fn new(template: &str, kubernetes: KubernetesVersion) -> Result<Self> {
        Ok(Self {
            template: TemplateText::parse(template)?,
            kubernetes,
            known: Mutex::new(Bounded::new(REMEMBERED)),
        })
    }
}

#[async_trait]
impl SchemaSource for PathTemplate {
    async fn find(&self, gvk: &Gvk) -> Result<Option<Arc<Schema>>> {
        if !is_nameable(gvk) {
            return Ok(None);
        }
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = known().get(gvk) {
            return Ok(schema);
        }
        let name = self.template.expand(gvk, self.kubernetes);
        let path = name.clone();
        let document = spawn_blocking(move || {
            let path = Path::new(&path);
            if !path.exists() {
                return Ok(None);
            }
            directory::parse(path, &directory::read(path)?).map(Some)
        })
        .await
        .map_err(|error| Error::internal(format!("read {name}"), error))??;
        let schema =
            document.map(|document| Arc::new(Schema::document(name, gvk.clone(), document)));
        known().insert(gvk.clone(), schema.clone());
        Ok(schema)
    }
}

#[cfg(test)]
mod tests {
    use super::PathTemplate;
    use crate::source::SchemaSource;
    use tko_core::Gvk;

    #[tokio::test]
    async fn files_are_found_by_their_template() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("issuer_v1.json"), "{}").expect("written");
        std::fs::write(folder.path().join("bad_v1.json"), "{").expect("written");
        let root = folder.path().display();
        let template = format!("{root}/{{{{ .ResourceKind }}}}_{{{{.ResourceAPIVersion}}}}.json");
        let source =
            PathTemplate::new(&template, "1.30".parse().expect("a version")).expect("sound");
        let found = async |kind: &str| source.find(&Gvk::of("cert-manager.io/v1", kind)).await;
        let first = found("Issuer").await.expect("read").expect("found");
        let second = found("Issuer").await.expect("read").expect("found");
        assert_eq!(first.number(), second.number());
        assert!(found("Certificate").await.expect("read").is_none());
        assert!(found("Bad").await.is_err());
        assert!(found("../../etc").await.expect("not read").is_none());
        assert!(PathTemplate::new("{{.Kind}}", "1.30".parse().expect("a version")).is_err());
    }
}
