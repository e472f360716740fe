//! Direct calls of a scheduler, and the contents of a directory.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tko_core::entity::Facts;
use tko_core::{
    Condition, Entity, Generation, Key, Package, Record, Result, ScheduleCall, Scheduler, SiteId,
    Timestamp, Version,
};

/// A call for one site.
#[derive(Clone)]
pub struct Call {
    site: String,
    wanted: Vec<(String, Vec<Value>)>,
    removed: Vec<String>,
    fence: u64,
    created: i64,
    going: bool,
}

impl Call {
    pub fn of(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            wanted: Vec::new(),
            removed: Vec::new(),
            fence: 0,
            created: 1,
            going: false,
        }
    }

    pub fn with(mut self, id: &str, resources: Vec<Value>) -> Self {
        self.wanted.push((id.to_owned(), resources));
        self
    }

    pub fn without(mut self, id: &str) -> Self {
        self.removed.push(id.to_owned());
        self
    }

    pub fn fence(&self, fence: u64) -> Self {
        Self {
            fence,
            ..self.clone()
        }
    }

    pub fn created(self, created: i64) -> Self {
        Self { created, ..self }
    }

    pub fn going(self) -> Self {
        Self {
            going: true,
            ..self
        }
    }

    pub async fn make(&self, scheduler: &dyn Scheduler) -> Result<Vec<Condition>> {
        let id = SiteId::new(&self.site).expect("valid");
        let mut site = record(Key::Site(id), Vec::new());
        let entity = Arc::make_mut(&mut site.entity);
        entity.created = Timestamp(self.created);
        entity.deleting = self.going;
        let deployment = |id: &String, resources: &Vec<Value>| {
            let id = tko_core::DeploymentId::new(id).expect("valid");
            record(Key::Deployment(id), resources.clone())
        };
        let wanted: Vec<Record> = self
            .wanted
            .iter()
            .map(|(id, r)| deployment(id, r))
            .collect();
        let removed: Vec<Record> = self
            .removed
            .iter()
            .map(|id| deployment(id, &Vec::new()))
            .collect();
        let call = ScheduleCall::new(&site, self.fence)
            .wanted(&wanted)
            .removed(&removed);
        scheduler.schedule(call).await
    }
}

/// A deployment without facts, which do not matter here.
fn record(key: Key, resources: Vec<Value>) -> Record {
    let package = Package::from_values(resources).expect("distinct");
    let facts = Facts::Site {
        template: None,
        origin: None,
    };
    Record::new(
        Entity::new(key, facts)
            .version(Version(1))
            .generation(Generation(1))
            .created(Timestamp(1))
            .updated(Timestamp(1))
            .body(tko_core::ContentHash::of(&json!(null))),
    )
    .package(package)
}

/// The text of all files that are not hidden, by path.
pub fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(root, "", &mut found);
    found
}

pub fn paths(root: &Path) -> Vec<String> {
    files(root).into_keys().collect()
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name().into_string().expect("ASCII");
        let path = format!("{prefix}{name}");
        if name.starts_with(".tko") || name == ".git" {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.insert(path, text);
        }
    }
}
