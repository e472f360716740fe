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
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use tko_core::{Error, Result};
use tko_plugin::environment;
use tko_plugin::process::Program;

/// The prefix of variables that configure Ansible's connections, some of which are passwords.
const PRIVATE: &str = "ansible_";

/// The group that contains all hosts.
const ALL: &str = "all";

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
    let ranks = ranks(&root);
    let items = names.into_iter().map(|host| {
        let own = &groups[host];
        let mut ordered: Vec<&str> = own.iter().copied().collect();
        // The group applies also to hosts that it does not list.
        if !own.contains(ALL) {
            ordered.push(ALL);
        }
        ordered.sort_by_key(|group| ranks.get(group).copied());
        let mut all = Map::new();
        // Group variables are only present with --export; host variables take precedence.
        for group in ordered {
            let of_group = root.get(group).and_then(|group| group.get("vars"));
            overlay(&mut all, of_group);
        }
        overlay(&mut all, variables.get(host));
        item(host, own, all)
    });
    Ok(items.collect())
}

/// Sets variables in place of others.
fn overlay(all: &mut Map<String, Value>, variables: Option<&Value>) {
    for (key, value) in variables.and_then(Value::as_object).into_iter().flatten() {
        all.insert(key.clone(), value.clone());
    }
}

fn children(group: &Value) -> impl Iterator<Item = &str> {
    let children = group.get("children").and_then(Value::as_array);
    children.into_iter().flatten().filter_map(Value::as_str)
}

/// The order in which Ansible merges the variables of groups: those of higher ranks take precedence.
///
/// `all` is first, then parents precede their children. The depth of a group is the length of the
/// longest path to it. Groups of equal depth are in the order of their priorities, then of their
/// names.
fn ranks(root: &Map<String, Value>) -> HashMap<&str, usize> {
    let mut waiting: HashMap<&str, usize> = HashMap::new();
    for child in root.values().flat_map(children) {
        *waiting.entry(child).or_default() += 1;
    }
    let names = root.keys().map(String::as_str);
    let mut ready: Vec<&str> = names.filter(|name| !waiting.contains_key(name)).collect();
    let mut remaining = root.keys().map(String::as_str);
    // Each group without parents is a child of `all`.
    let top = |group: &str| usize::from(group != ALL);
    let mut depths: HashMap<&str, usize> = HashMap::new();
    let mut done: HashSet<&str> = HashSet::new();
    // Without a group whose parents are all done, the remaining ones contain a cycle: one of them is
    // taken all the same.
    while let Some(group) = ready
        .pop()
        .or_else(|| remaining.find(|name| !done.contains(name)))
    {
        if !done.insert(group) {
            continue;
        }
        let depth = *depths.entry(group).or_insert_with(|| top(group));
        for child in root.get(group).into_iter().flat_map(children) {
            if !done.contains(child) {
                let known = depths.entry(child).or_default();
                *known = (depth + 1).max(*known);
            }
            let left = waiting.entry(child).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                ready.push(child);
            }
        }
    }
    let mut order: Vec<&str> = done.into_iter().collect();
    order.sort_by_cached_key(|group| {
        let depth = depths.get(group).copied();
        (*group != ALL, depth, priority(root.get(*group)), *group)
    });
    let ranks = order.into_iter().enumerate();
    ranks.map(|(rank, group)| (group, rank)).collect()
}

/// The priority of a group among those of equal depth.
fn priority(group: Option<&Value>) -> i64 {
    let value = group.and_then(|group| group.get("vars")?.get("ansible_group_priority"));
    let number = match value {
        Some(Value::String(text)) => text.trim().parse().ok(),
        value => value.and_then(Value::as_i64),
    };
    number.unwrap_or(1)
}

/// The groups that each group is a child of.
fn parents(root: &Map<String, Value>) -> HashMap<&str, Vec<&str>> {
    let mut parents: HashMap<&str, Vec<&str>> = HashMap::new();
    for (group, value) in root {
        for child in children(value) {
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

/// A host with its groups and all variables that apply to it.
fn item(host: &str, groups: &BTreeSet<&str>, all: Map<String, Value>) -> InventoryItem {
    let mut metadata = BTreeMap::new();
    for (key, value) in &all {
        if let Some(text) = scalar(value).filter(|_| !key.starts_with(PRIVATE)) {
            metadata.insert(key.clone(), text);
        }
    }
    for group in groups
        .iter()
        .filter(|group| **group != ALL && **group != "ungrouped")
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
    fn variables_of_groups_are_merged_in_the_order_of_ansible() {
        let value_of = |text: &str, name: &str| {
            let items = parse(text.as_bytes()).expect("an inventory");
            let host = items.iter().find(|item| item.name == "h1");
            let host = host.expect("the host is there");
            host.metadata.get(name).cloned().unwrap_or_default()
        };
        for (groups, region) in [
            // A child takes precedence over its parent, whatever their names are.
            (
                r#""all": {"children": ["zeta"], "vars": {"region": "all"}},
                   "zeta": {"children": ["alpha"], "vars": {"region": "parent"}},
                   "alpha": {"hosts": ["h1"], "vars": {"region": "child"}}"#,
                "child",
            ),
            // The longest path counts.
            (
                r#""all": {"children": ["a", "z"]}, "a": {"children": ["m"]},
                   "m": {"children": ["b"], "vars": {"region": "m"}},
                   "b": {"hosts": ["h1"], "vars": {"region": "b"}},
                   "z": {"children": ["b"], "vars": {"region": "z"}}"#,
                "b",
            ),
            // Without `all`, too.
            (
                r#""z": {"children": ["a"], "vars": {"region": "z"}},
                   "a": {"hosts": ["h1"], "vars": {"region": "a"}}"#,
                "a",
            ),
            // Without parents, groups are children of `all`.
            (
                r#""a": {"hosts": ["h1"], "vars": {"region": "a"}},
                   "all": {"vars": {"region": "all"}}"#,
                "a",
            ),
            (r#""all": {"vars": {"region": "all"}}"#, "all"),
            // At equal depth, the priority counts, then the name.
            (
                r#""a": {"hosts": ["h1"], "vars": {"region": "a"}},
                   "b": {"hosts": ["h1"], "vars": {"region": "b"}}"#,
                "b",
            ),
            (
                r#""a": {"hosts": ["h1"], "vars": {"region": "a", "ansible_group_priority": 10}},
                   "b": {"hosts": ["h1"], "vars": {"region": "b", "ansible_group_priority": "9"}},
                   "c": {"hosts": ["h1"], "vars": {"region": "c"}}"#,
                "a",
            ),
            // Cycles end.
            (
                r#""all": {"children": ["x"], "vars": {"region": "all"}},
                   "x": {"children": ["b"], "vars": {"region": "x"}},
                   "b": {"children": ["a"], "vars": {"region": "b"}},
                   "a": {"children": ["b", "a", "leaf"], "vars": {"region": "a"}},
                   "leaf": {"hosts": ["h1"], "vars": {"region": "leaf"}}"#,
                "leaf",
            ),
        ] {
            let inventory = format!(r#"{{"_meta": {{"hostvars": {{"h1": {{}}}}}}, {groups}}}"#);
            assert_eq!(value_of(&inventory, "region"), region, "{inventory}");
        }
        let host = r#"{"_meta": {"hostvars": {"h1": {"region": "host"}}},
            "a": {"hosts": ["h1"], "vars": {"region": "a"}}}"#;
        assert_eq!(value_of(host, "region"), "host");
    }

    #[test]
    fn many_levels_of_groups_are_no_problem() {
        let groups = (0..100_000).map(|at| format!(r#""g{at}": {{"children": ["g{}"]}}"#, at + 1));
        let groups: Vec<String> = groups.collect();
        let inventory = format!(
            r#"{{"_meta": {{"hostvars": {{}}}}, {}, "g100000": {{"hosts": ["h"]}}}}"#,
            groups.join(", ")
        );
        assert_eq!(parse(inventory.as_bytes()).expect("an inventory").len(), 1);
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
