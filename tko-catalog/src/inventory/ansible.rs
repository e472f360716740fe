//! Inventories of Ansible: the output of `ansible-inventory --list`, or files that this program
//! reads.

use super::entry::InventoryEntry;
use super::item::{InventoryItem, InventoryListing, InventorySource, scalar};
use crate::catalog::directory::local_path;
use crate::http::{HttpClient, web_url};
use crate::program::inventory_output;
use crate::settings::CatalogSettings;
use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use tko_core::{Error, Result};
use tko_plugin::environment;
use tko_plugin::process::Program;

/// The prefix of variables that configure Ansible's connections, some of which are passwords.
const PRIVATE: &str = "ansible_";

/// Maximum number of levels of groups.
const MAX_DEPTH: usize = 64;

/// The location of an inventory.
enum AnsiblePlace {
    Local(PathBuf),
    Web(Box<reqwest::Url>),
}

/// An inventory of Ansible.
pub(super) struct AnsibleInventory {
    place: AnsiblePlace,
    program: String,
}

impl AnsibleInventory {
    pub(super) fn new(entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Self> {
        let properties = entry.properties();
        let url = properties.required("url")?;
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        let place = if is_web {
            AnsiblePlace::Web(Box::new(web_url(url)?))
        } else {
            AnsiblePlace::Local(local_path(url, settings)?)
        };
        let program = properties.text("program").unwrap_or("ansible-inventory");
        Ok(Self {
            place,
            program: program.to_owned(),
        })
    }

    async fn read(&self, entry: &InventoryEntry, settings: &CatalogSettings) -> Result<Vec<u8>> {
        let most = settings.max_listing_bytes;
        let path = match &self.place {
            AnsiblePlace::Web(url) => {
                let client = HttpClient::new(settings)?;
                let reply = client.request(Method::GET, url, &[], most).await?;
                reply.check(url)?;
                return Ok(reply.bytes);
            }
            AnsiblePlace::Local(path) => path,
        };
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        if is_json {
            let cannot = |error: std::io::Error| {
                Error::unavailable(format!("read {}", path.display()), error)
            };
            let size = tokio::fs::metadata(path).await.map_err(cannot)?.len();
            if size > most as u64 {
                let why = format!("{} has more than {most} bytes", path.display());
                return Err(Error::bad("url", why));
            }
            return tokio::fs::read(path).await.map_err(cannot);
        }
        // Only Ansible knows all of its formats.
        let path = path.display().to_string();
        let program = Program {
            path: self.program.clone(),
            arguments: vec!["-i".to_owned(), path, "--list".to_owned()],
        };
        let command = environment::command(&program, None, &["ANSIBLE_*".to_owned()]);
        let command = command.map(|mut command| {
            // A broken file must not look like an inventory without hosts.
            command.env("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "1");
            command
        });
        inventory_output(&entry.name, &program, command, most, settings).await
    }
}

#[async_trait]
impl InventorySource for AnsibleInventory {
    async fn list(
        &mut self,
        entry: &InventoryEntry,
        settings: &CatalogSettings,
    ) -> Result<InventoryListing> {
        let bytes = self.read(entry, settings).await?;
        let parsed = tokio::task::spawn_blocking(move || parse(&bytes));
        let items = parsed
            .await
            .map_err(|error| Error::internal("read an inventory", error))??;
        Ok(InventoryListing {
            items,
            ..InventoryListing::default()
        })
    }
}

/// Reads the output of `ansible-inventory --list`, also with `--export`.
fn parse(bytes: &[u8]) -> Result<Vec<InventoryItem>> {
    let bad = |why: String| Error::bad("url", format!("it is not an inventory of Ansible: {why}"));
    let value: Value = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    let Value::Object(root) = value else {
        return Err(bad("expected a map of groups".to_owned()));
    };
    let variables = root.get("_meta").and_then(|meta| meta.get("hostvars"));
    let Some(variables) = variables.and_then(Value::as_object) else {
        return Err(bad("it has no _meta.hostvars".to_owned()));
    };
    let mut groups: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for host in variables.keys() {
        groups.entry(host).or_default();
    }
    let parents = parents(&root);
    for (group, value) in root.iter().filter(|(name, _)| *name != "_meta") {
        let hosts = value.get("hosts").and_then(Value::as_array);
        for host in hosts.into_iter().flatten().filter_map(Value::as_str) {
            add_groups(group, &parents, groups.entry(host).or_default(), 0);
        }
    }
    let mut names: Vec<&str> = groups.keys().copied().collect();
    names.sort_unstable();
    let items = names.into_iter().map(|host| {
        let own = &groups[host];
        item(
            host,
            own,
            variables.get(host).and_then(Value::as_object),
            &root,
        )
    });
    Ok(items.collect())
}

/// The groups that each group is a child of.
fn parents(root: &Map<String, Value>) -> HashMap<&str, Vec<&str>> {
    let mut parents: HashMap<&str, Vec<&str>> = HashMap::new();
    for (group, value) in root {
        let children = value.get("children").and_then(Value::as_array);
        for child in children.into_iter().flatten().filter_map(Value::as_str) {
            parents.entry(child).or_default().push(group);
        }
    }
    parents
}

/// Adds a group and the groups that contain it. Cycles end, because each group is added only once.
fn add_groups<'a>(
    group: &'a str,
    parents: &HashMap<&'a str, Vec<&'a str>>,
    into: &mut BTreeSet<&'a str>,
    depth: usize,
) {
    if depth > MAX_DEPTH || !into.insert(group) {
        return;
    }
    for parent in parents.get(group).into_iter().flatten() {
        add_groups(parent, parents, into, depth + 1);
    }
}

fn item(
    host: &str,
    groups: &BTreeSet<&str>,
    variables: Option<&Map<String, Value>>,
    root: &Map<String, Value>,
) -> InventoryItem {
    let mut all = Map::new();
    // Group variables are only present with --export; host variables take precedence.
    for group in groups {
        let of_group = root.get(*group).and_then(|group| group.get("vars"));
        for (key, value) in of_group.and_then(Value::as_object).into_iter().flatten() {
            all.insert(key.clone(), value.clone());
        }
    }
    for (key, value) in variables.into_iter().flatten() {
        all.insert(key.clone(), value.clone());
    }
    let mut metadata = BTreeMap::new();
    for (key, value) in &all {
        if let Some(text) = scalar(value).filter(|_| !key.starts_with(PRIVATE)) {
            metadata.insert(key.clone(), text);
        }
    }
    for group in groups
        .iter()
        .filter(|group| **group != "all" && **group != "ungrouped")
    {
        metadata.insert(format!("group.{group}"), "true".to_owned());
    }
    let mut value = all.clone();
    value.insert("groups".to_owned(), groups.iter().copied().collect());
    value.insert("vars".to_owned(), Value::Object(all));
    InventoryItem {
        name: host.to_owned(),
        value: Value::Object(value),
        metadata,
        ..InventoryItem::default()
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn hosts_have_their_groups_and_variables() {
        let items = parse(
            br#"{"_meta": {"hostvars": {"a": {"region": "south", "n": 1, "ansible_password": "x",
                "list": [1]}, "alone": {}}},
                "all": {"children": ["edge", "ungrouped"]},
                "edge": {"children": ["india"], "vars": {"region": "none", "tier": "1"}},
                "india": {"hosts": ["a", "b"], "children": ["edge"]}}"#,
        )
        .expect("an inventory");
        let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["a", "alone", "b"]);
        let metadata = &items[0].metadata;
        assert_eq!(metadata["region"], "south");
        assert_eq!(metadata["tier"], "1");
        assert_eq!(metadata["n"], "1");
        assert_eq!(metadata["group.india"], "true");
        assert_eq!(metadata["group.edge"], "true");
        assert!(!metadata.contains_key("ansible_password") && !metadata.contains_key("list"));
    }

    #[test]
    fn garbage_is_refused() {
        for bad in [
            &b""[..],
            b"[]",
            b"{}",
            b"{\"_meta\": 1}",
            b"\xff",
            b"{\"a\": ",
        ] {
            assert!(parse(bad).is_err());
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }
}
