//! Clusters as sites: `Cluster`s of Cluster API, `ClusterProfile`s, or any other resource, from an
//! API server or from files.

use super::entry::InventoryEntry;
use super::item::{InventoryItem, InventoryListing, InventorySource, scalar};
use crate::catalog::directory::local_path;
use crate::http::{HttpClient, host, require_tls, web_url};
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderName};
use reqwest::{Method, Url};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tko_core::{Dialect, Error, Format, Limits, Result};
use tko_source::{Source, SourceReader};

/// The API path of Cluster API's clusters, which is the default for a URL without a path.
const CLUSTERS: &str = "/apis/cluster.x-k8s.io/v1beta1/clusters";

/// Number of objects in one page.
const PAGE: &str = "500";

/// Maximum number of pages.
const MAX_PAGES: usize = 10_000;

/// Kinds that are sites.
const KINDS: [&str; 3] = ["Cluster", "ClusterProfile", "ManagedCluster"];

/// The location of the clusters.
enum ClusterPlace {
    Files(PathBuf),
    Api {
        client: HttpClient,
        url: Box<Url>,
        headers: Vec<(HeaderName, String)>,
    },
}

/// Clusters that are sites.
pub(super) struct KubernetesInventory {
    place: ClusterPlace,
    selector: ClusterLabels,
}

impl KubernetesInventory {
    pub(super) async fn new(entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Self> {
        let properties = entry.properties();
        let text = properties.required("url")?;
        let selector = ClusterLabels::parse(properties.text("selector").unwrap_or_default())?;
        let is_api = text.starts_with("https://") || text.starts_with("http://");
        let place = if is_api {
            let mut url = web_url(text)?;
            if url.path() == "/" {
                url.set_path(CLUSTERS);
            }
            let token = properties.host_secret("token", settings).await?;
            let mut headers = Vec::new();
            if let Some(token) = token {
                require_tls(text, "token")?;
                let token = token.for_host("token", host(&url))?;
                headers.push((AUTHORIZATION, format!("Bearer {token}")));
            }
            let ca = properties.secret("ca", settings).await?;
            ClusterPlace::Api {
                client: HttpClient::with_ca(settings, ca.as_deref())?,
                url: Box::new(url),
                headers,
            }
        } else {
            ClusterPlace::Files(local_path(text, settings)?)
        };
        Ok(Self { place, selector })
    }
}

#[async_trait]
impl InventorySource for KubernetesInventory {
    async fn renew_secrets(
        &mut self,
        entry: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<()> {
        *self = Self::new(entry, settings).await?;
        Ok(())
    }

    async fn list(
        &mut self,
        _: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        let objects = match &self.place {
            ClusterPlace::Files(path) => from_files(path, settings).await?,
            ClusterPlace::Api {
                client,
                url,
                headers,
            } => from_api(client, url, headers, settings).await?,
        };
        let mut listing = InventoryListing::default();
        for object in objects {
            let Some(name) = object.pointer("/metadata/name").and_then(Value::as_str) else {
                let why = "it has no metadata.name";
                listing.problems.push(SyncProblem::new("an object", why));
                continue;
            };
            if !self.selector.matches(&object) {
                continue;
            }
            let labels = object
                .pointer("/metadata/labels")
                .and_then(Value::as_object);
            let labels = labels.into_iter().flatten();
            let metadata = labels
                .filter_map(|(key, value)| Some((key.clone(), scalar(value)?)))
                .collect();
            listing.items.push(InventoryItem {
                name: name.to_owned(),
                metadata,
                value: object,
                ..InventoryItem::default()
            });
        }
        Ok(listing)
    }
}

/// All clusters in YAML or JSON files.
async fn from_files(path: &Path, settings: &CatalogSettings) -> Result<Vec<Value>> {
    let limits = settings
        .source
        .clone()
        .with_max_bytes(settings.max_listing_bytes as u64);
    let source: Source = path.to_string_lossy().parse()?;
    let files = SourceReader::new()
        .with_limits(limits)
        .files(&source)
        .await?;
    let limits = Limits::new().bytes(settings.max_listing_bytes);
    let mut objects = Vec::new();
    for file in files {
        let found = tko_core::encoding::decode(&file.bytes, Format::Yaml, Dialect::People, &limits);
        let found = found.map_err(|error| Error::bad("url", format!("{}: {error}", file.name)))?;
        objects.extend(found.into_iter().filter(|object| {
            let kind = object.get("kind").and_then(Value::as_str);
            kind.is_some_and(|kind| KINDS.contains(&kind))
        }));
    }
    Ok(objects)
}

/// All objects of a list, page by page.
async fn from_api(
    client: &HttpClient,
    url: &Url,
    headers: &[(HeaderName, String)],
    settings: &CatalogSettings,
) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    let mut go_on = String::new();
    for _ in 0..MAX_PAGES {
        let mut page = url.clone();
        page.query_pairs_mut().append_pair("limit", PAGE);
        if !go_on.is_empty() {
            page.query_pairs_mut().append_pair("continue", &go_on);
        }
        let most = settings.max_listing_bytes;
        let reply = client.request(Method::GET, &page, headers, most).await?;
        if reply.status == reqwest::StatusCode::GONE {
            // The list expired between two pages.
            let why = "the list expired between two pages; the next sync reads it again";
            return Err(Error::unavailable(
                format!("read {}", crate::http::shown(url)),
                why,
            ));
        }
        reply.check(&page)?;
        let list: Value = serde_json::from_slice(&reply.bytes)
            .map_err(|error| Error::bad("url", format!("the answer is not JSON: {error}")))?;
        let Some(items) = list.get("items").and_then(Value::as_array) else {
            return Err(Error::bad(
                "url",
                "the answer is not a list; name a collection",
            ));
        };
        objects.extend(items.iter().cloned());
        if objects.len() > settings.max_sites {
            let why = format!("there are more than {} objects", settings.max_sites);
            return Err(Error::bad("url", why));
        }
        let next = list.pointer("/metadata/continue").and_then(Value::as_str);
        match next.filter(|next| !next.is_empty()) {
            Some(next) if next != go_on => next.clone_into(&mut go_on),
            Some(_) => {
                return Err(Error::bad(
                    "url",
                    "the server repeated the continue token of a page; check that the URL is that of a Kubernetes API",
                ));
            }
            None => return Ok(objects),
        }
    }
    Err(Error::bad(
        "url",
        format!("there are more than {MAX_PAGES} pages"),
    ))
}

/// A label selector, as `kubectl -l` takes it: `a=b,c!=d,e,!f,g in (h,i),j notin (k)`.
#[derive(Debug, Default)]
struct ClusterLabels(Vec<LabelTerm>);

/// A part of a label selector.
#[derive(Debug, PartialEq, Eq)]
struct LabelTerm {
    key: String,
    /// The values; if empty, any value matches.
    values: Vec<String>,
    /// Whether the label must, or must not, have one of the values.
    wanted: bool,
}

impl ClusterLabels {
    fn parse(text: &str) -> Result<Self> {
        let mut terms = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            // Commas between parentheses separate values.
            let mut is_within = false;
            let end = rest.find(|c: char| {
                is_within = (is_within || c == '(') && c != ')';
                c == ',' && !is_within
            });
            let (term, after) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None => (rest, ""),
            };
            rest = after.trim();
            if !term.trim().is_empty() {
                terms.push(LabelTerm::parse(term.trim())?);
            }
        }
        Ok(Self(terms))
    }

    fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        self.0.iter().all(|term| {
            let label = labels.and_then(|labels| labels.get(&term.key));
            let label = label.and_then(Value::as_str);
            let is_there = match label {
                Some(_) if term.values.is_empty() => true,
                Some(label) => term.values.iter().any(|value| value == label),
                None => false,
            };
            is_there == term.wanted
        })
    }
}

impl LabelTerm {
    fn parse(term: &str) -> Result<Self> {
        let of = |key: &str, values: &[&str], wanted| Self {
            key: key.trim().to_owned(),
            values: values.iter().map(|value| value.trim().to_owned()).collect(),
            wanted,
        };
        let parsed = if let Some((before, values)) = term.split_once('(') {
            let values = values.strip_suffix(')').map(|values| values.split(','));
            let mut words = before.split_whitespace();
            match (words.next(), words.next(), words.next(), values) {
                (Some(key), Some("in"), None, Some(values)) => {
                    Some(of(key, &values.collect::<Vec<_>>(), true))
                }
                (Some(key), Some("notin"), None, Some(values)) => {
                    Some(of(key, &values.collect::<Vec<_>>(), false))
                }
                _ => None,
            }
        } else if let Some((key, value)) = term.split_once("!=") {
            Some(of(key, &[value], false))
        } else if let Some((key, value)) = term.split_once('=') {
            Some(of(key, &[value.trim_start_matches('=')], true))
        } else if let Some(key) = term.strip_prefix('!') {
            Some(of(key, &[], false))
        } else {
            Some(of(term, &[], true))
        };
        let fine = |text: &str| !text.contains(['(', ')', ' ', '=', '!']);
        parsed
            .filter(|term| !term.key.is_empty() && fine(&term.key))
            .filter(|term| term.values.iter().all(|value| fine(value)))
            .ok_or_else(|| {
                let why = format!(
                    "{term:?}: write KEY=VALUE, KEY!=VALUE, KEY, !KEY, KEY in (VALUE,VALUE) or KEY \
                     notin (VALUE)"
                );
                Error::bad("selector", why)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::ClusterLabels;
    use serde_json::json;

    #[test]
    fn selectors_compare_labels() {
        let object = json!({"metadata": {"labels": {"region": "south", "edge": ""}}});
        for (text, expected) in [
            ("", true),
            ("region=south", true),
            ("region==south, edge", true),
            ("region!=south", false),
            ("none", false),
            ("!none,region", true),
            ("none!=x", true),
            ("region in (north, south),edge", true),
            ("region in (north)", false),
            ("region notin (north,west)", true),
            ("region notin (south)", false),
            ("none notin (a)", true),
        ] {
            let selector = ClusterLabels::parse(text).expect("a selector");
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        for bad in [
            "region within (a)",
            "region in (a",
            "in (a)",
            "a b",
            "=a",
            "(a)",
            "a in (b=c)",
            "a=b=c!",
        ] {
            assert!(ClusterLabels::parse(bad).is_err(), "{bad}");
        }
    }
}
