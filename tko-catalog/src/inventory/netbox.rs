//! Sites of NetBox, read through its REST API.

use super::entry::InventoryEntry;
use super::item::{InventoryItem, InventoryListing, InventorySource, scalar};
use crate::http::{HttpClient, host, require_tls, web_url};
use crate::report::SyncProblem;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName};
use reqwest::{Method, Url};
use serde_json::Value;
use std::collections::BTreeMap;
use tko_core::{Error, Result};

/// The collection of sites.
const SITES: &str = "api/dcim/sites/";

/// Number of sites in one page. NetBox's default maximum is 1,000.
const PAGE: &str = "500";

/// Maximum number of pages.
const MAX_PAGES: usize = 10_000;

/// Fields of sites that refer to other objects, whose slugs become metadata.
const REFERENCES: [&str; 4] = ["region", "group", "tenant", "status"];

/// Sites of NetBox.
pub(super) struct NetboxInventory {
    client: HttpClient,
    url: Url,
    headers: Vec<(HeaderName, String)>,
}

impl NetboxInventory {
    pub(super) async fn new(entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Self> {
        let properties = entry.properties();
        let text = properties.required("url")?;
        let mut url = web_url(text)?;
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        if !url.path().ends_with(SITES) {
            url = url
                .join(SITES)
                .map_err(|error| Error::bad("url", error.to_string()))?;
        }
        url.query_pairs_mut().append_pair("limit", PAGE);
        if let Some(query) = properties.text("query") {
            let all = format!(
                "{}&{}",
                url.query().unwrap_or_default(),
                query.trim_start_matches('?')
            );
            url.set_query(Some(&all));
        }
        let mut headers = vec![(ACCEPT, "application/json".to_owned())];
        if let Some(token) = properties.host_secret("token", settings).await? {
            require_tls(text, "token")?;
            let token = token.for_host("token", host(&url))?;
            // Tokens of version 2 begin with this prefix.
            let scheme = if token.starts_with("nbt_") {
                "Bearer"
            } else {
                "Token"
            };
            headers.push((AUTHORIZATION, format!("{scheme} {token}")));
        }
        let ca = properties.secret("ca", settings).await?;
        Ok(Self {
            client: HttpClient::with_ca(settings, ca.as_deref())?,
            url,
            headers,
        })
    }
}

#[async_trait]
impl InventorySource for NetboxInventory {
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
        let mut listing = InventoryListing::default();
        let mut url = self.url.clone();
        let mut found = 0_usize;
        for _ in 0..MAX_PAGES {
            let most = settings.max_listing_bytes;
            let reply = self
                .client
                .request(Method::GET, &url, &self.headers, most)
                .await?;
            reply.check(&url)?;
            let page: Value = serde_json::from_slice(&reply.bytes)
                .map_err(|error| Error::bad("url", format!("the answer is not JSON: {error}")))?;
            let Some(results) = page.get("results").and_then(Value::as_array) else {
                return Err(Error::bad(
                    "url",
                    "the answer has no results; is it NetBox?",
                ));
            };
            found += results.len();
            for site in results {
                if let Some(item) = item(site) {
                    listing.items.push(item);
                } else {
                    let why = "it has neither a slug nor a name";
                    listing.problems.push(SyncProblem::new("a site", why));
                }
            }
            if found > settings.max_sites {
                let why = format!("there are more than {} sites", settings.max_sites);
                return Err(Error::bad("url", why));
            }
            let Some(next) = page.get("next").and_then(Value::as_str) else {
                // A missing page must not look like vanished sites.
                let count = page
                    .get("count")
                    .and_then(Value::as_u64)
                    .unwrap_or(found as u64);
                if count > found as u64 {
                    let why = format!("it answered {found} of {count} sites");
                    return Err(Error::unavailable("read all sites of NetBox", why));
                }
                return Ok(listing);
            };
            let next = url
                .join(next)
                .map_err(|error| Error::bad("url", error.to_string()))?;
            // The token is sent only to its own server. Behind a proxy, NetBox may return another
            // scheme or host.
            let mut here = url.clone();
            here.set_path(next.path());
            here.set_query(next.query());
            if here == url {
                return Err(Error::bad("url", "a page names itself as the next one"));
            }
            url = here;
        }
        Err(Error::bad(
            "url",
            format!("there are more than {MAX_PAGES} pages"),
        ))
    }
}

fn item(site: &Value) -> Option<InventoryItem> {
    let text = |name: &str| site.get(name).and_then(Value::as_str);
    let name = text("slug").or_else(|| text("name"))?;
    let mut metadata = BTreeMap::new();
    for field in REFERENCES {
        let of = site.get(field);
        let slug = of.and_then(|of| of.get("slug").or_else(|| of.get("value")));
        if let Some(slug) = slug.and_then(Value::as_str) {
            metadata.insert(field.to_owned(), slug.to_owned());
        }
    }
    let tags = site.get("tags").and_then(Value::as_array);
    for tag in tags.into_iter().flatten() {
        if let Some(slug) = tag.get("slug").and_then(Value::as_str) {
            metadata.insert(format!("tag.{slug}"), "true".to_owned());
        }
    }
    let fields = site.get("custom_fields").and_then(Value::as_object);
    for (key, value) in fields.into_iter().flatten() {
        if let Some(text) = scalar(value).filter(|text| !text.is_empty()) {
            metadata.insert(key.clone(), text);
        }
    }
    Some(InventoryItem {
        name: name.to_owned(),
        value: site.clone(),
        metadata,
        ..InventoryItem::default()
    })
}
