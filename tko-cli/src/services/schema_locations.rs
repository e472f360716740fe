//! The values of `--schema-location`.

use anyhow::Context;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tko_validate::{
    BuiltIn, Directory, KubernetesVersion, PathTemplate, SchemaSource, UrlTemplate,
};

/// The value that stands for the built-in schemas.
const DEFAULT: &str = "default";

/// The path that kubeconform appends to the URL of a folder.
const STANDARD_PATH: &str = "{{.NormalizedKubernetesVersion}}-standalone{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json";

/// Settings that all locations share.
pub(super) struct SchemaLocations<'a> {
    pub(super) version: KubernetesVersion,
    pub(super) cache: Option<&'a Path>,
    pub(super) fetch_time: Option<Duration>,
}

impl SchemaLocations<'_> {
    /// Opens all locations in their order. Warns of locations that can never provide a schema.
    pub(super) fn open(&self, locations: &[String]) -> anyhow::Result<Vec<Arc<dyn SchemaSource>>> {
        let mut sources: Vec<Arc<dyn SchemaSource>> = Vec::new();
        for (place, location) in locations.iter().enumerate() {
            if locations[..place].contains(location) {
                tracing::warn!(location, "this schema location is given twice");
                continue;
            }
            sources.push(match location.as_str() {
                DEFAULT => Arc::new(BuiltIn::new(self.version)?),
                url if is_url(url) => Arc::new(self.remote(url)?),
                template if template.contains("{{") => {
                    warn_of_constant(template);
                    Arc::new(PathTemplate::new(template, self.version)?)
                }
                path => {
                    let directory = Directory::open(path)
                        .with_context(|| format!("cannot read the schemas in {path}"))?;
                    if directory.is_empty() {
                        tracing::warn!(
                            location,
                            "this schema location has no CustomResourceDefinition, no swagger.json and no JSON Schema"
                        );
                    }
                    Arc::new(directory)
                }
            });
        }
        if self.cache.is_some() && !locations.iter().any(|location| is_url(location)) {
            tracing::warn!("--schema-cache has no effect: no --schema-location is a URL");
        }
        Ok(sources)
    }

    fn remote(&self, url: &str) -> anyhow::Result<UrlTemplate> {
        let template = if url.contains("{{") || url.ends_with("json") {
            warn_of_constant(url);
            url.to_owned()
        } else {
            format!("{}/{STANDARD_PATH}", url.trim_end_matches('/'))
        };
        let mut source = UrlTemplate::new(&template, self.version)?;
        if let Some(folder) = self.cache {
            source = source.with_cache(folder);
        }
        if let Some(time) = self.fetch_time {
            source = source.with_total_time(time);
        }
        Ok(source)
    }
}

fn is_url(location: &str) -> bool {
    location.starts_with("http://") || location.starts_with("https://")
}

/// Warns of a template that is the same for every kind.
fn warn_of_constant(template: &str) {
    if !template.contains("ResourceKind") {
        tracing::warn!(
            location = template,
            "this schema location is the same for every kind; it lacks {{{{.ResourceKind}}}}"
        );
    }
}
