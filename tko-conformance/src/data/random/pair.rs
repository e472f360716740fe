//! The API under test and the model, side by side.

use super::item::{self, ModelResource};
use super::verb::{
    By, Creation, DeletionTarget, MatchChoice, UserOperation, site_name, template_name,
};
use super::world::{Model, Words, given};
use crate::data::fixture::{DataFixture, TTL};
use crate::data::sample::{all, by, deployment_id, site_id, t, template_id};
use crate::explore::ensure;
use std::collections::BTreeMap;
use std::fmt::Debug;
use tko_core::{
    DeploymentId, Entity, ErrorKind, Key, Kind, Metadata, NewDeployment, NewSite, NewTemplate,
    Package, Pattern, Record, Result, Select, Stage, Version,
};

pub(super) struct ApiPair {
    fixture: DataFixture,
    model: Model,
    /// Every id that was ever given.
    ids: Vec<String>,
    /// Earlier versions, for stale updates.
    stale: BTreeMap<String, Version>,
}

impl ApiPair {
    pub(super) fn new(fixture: DataFixture) -> Self {
        Self {
            fixture,
            model: Model::default(),
            ids: Vec::new(),
            stale: BTreeMap::new(),
        }
    }

    /// The id of a created deployment, counted back from the latest, or an unknown id.
    fn made(&self, number: u8) -> String {
        let at = self.ids.len().checked_sub(usize::from(number) + 1);
        at.map_or("never".to_owned(), |at| self.ids[at].clone())
    }

    pub(super) async fn step(&mut self, verb: &UserOperation) -> Result<(), String> {
        let before = self.fixture.revision().await;
        let refused = self.play(verb).await?;
        let after = self.fixture.revision().await;
        ensure!(
            !refused || before == after,
            "refused, but something changed"
        );
        self.compare().await
    }

    /// Runs an operation on both sides. Returns whether it was refused.
    async fn play(&mut self, verb: &UserOperation) -> Result<bool, String> {
        let data = self.fixture.data.clone();
        match verb {
            UserOperation::Template {
                id,
                items,
                given: word,
            } => {
                let new = NewTemplate::new(template_id(&template_name(*id)), item::package(items))
                    .metadata(Metadata::from(given(*word)));
                let model = self.model.register_template(*id, items, *word);
                alike(data.register_template(new).await.map(drop), model)
            }
            UserOperation::Site {
                id,
                template,
                items,
                given: word,
            } => {
                let new = NewSite::new(site_id(&site_name(*id)), item::package(items))
                    .template(template.map(|id| template_id(&template_name(id))))
                    .metadata(Metadata::from(given(*word)));
                let model = self.model.register_site(*id, *template, items, *word);
                alike(data.register_site(new).await.map(drop), model)
            }
            UserOperation::Create(creation) => self.create(creation).await,
            UserOperation::Modify { which, by, alter } => {
                let id = self.made(*which);
                let known = self.model.deployments.get(&id);
                let old = known.map(|d| d.items.clone()).unwrap_or_default();
                let new = Model::altered(&old, alter);
                self.modify(&id, *by, &old, &new).await
            }
            UserOperation::Approve(choice) => {
                let parent = choice.parent.map(|number| self.made(number));
                let bulk = data.approve(&select(choice, parent.as_ref())).await;
                let model = self.model.approve(choice, parent.as_ref());
                alike(
                    bulk.map(|bulk| (bulk.done, bulk.skipped)),
                    Ok((model, Vec::new())),
                )
            }
            UserOperation::Delete(which) => {
                let (key, model) = match which {
                    DeletionTarget::Template(id) => {
                        let id = template_name(*id);
                        (t(&id), self.model.delete_template(&id))
                    }
                    DeletionTarget::Site(id) => {
                        let id = site_name(*id);
                        (Key::from(site_id(&id)), self.model.delete_site(&id))
                    }
                    DeletionTarget::Deployment(number) => {
                        let id = self.made(*number);
                        (
                            Key::from(deployment_id(&id)),
                            self.model.delete_deployment(&id),
                        )
                    }
                };
                alike(data.delete(&key).await, model)
            }
            UserOperation::Purge(choice) => {
                let parent = choice.parent.map(|number| self.made(number));
                let bulk = data.purge(&select(choice, parent.as_ref())).await;
                let ids = self.model.chosen(choice, parent.as_ref());
                for id in &ids {
                    let gone = match choice.kind {
                        0 => self.model.delete_template(id),
                        1 => self.model.delete_site(id),
                        _ => self.model.delete_deployment(id),
                    };
                    gone.map_err(|kind| format!("{id}: {kind:?}"))?;
                }
                let done = ids.len() as u64;
                alike(
                    bulk.map(|bulk| (bulk.done, bulk.skipped)),
                    Ok((done, Vec::new())),
                )
            }
        }
    }

    async fn create(&mut self, creation: &Creation) -> Result<bool, String> {
        let id = format!("d{:03}", self.ids.len());
        let parent = creation.parent.map(|number| self.made(number));
        let mut new = NewDeployment::new()
            .id(deployment_id(&id))
            .parent(parent.as_deref().map(deployment_id))
            .template(creation.template.map(|id| template_id(&template_name(id))))
            .site(creation.site.map(|id| site_id(&site_name(id))))
            .metadata(Metadata::from(given(creation.given)))
            .merge(item::package(&creation.items))
            .prepared(creation.prepared)
            .approved(creation.approved);
        new.idempotency_key = creation.once.map(|number| format!("once {number}").into());
        let made = self.fixture.data.create_deployment(new).await;
        let model = self.model.create(&id, parent, creation);
        self.ids.push(id);
        alike(made.map(|id| id.to_string()), model)
    }

    async fn modify(
        &mut self,
        id: &str,
        by: By,
        old: &[ModelResource],
        new: &[ModelResource],
    ) -> Result<bool, String> {
        let data = self.fixture.data.clone();
        let key = deployment_id(id);
        let found = self.fixture.find(&key).await;
        let version = found.as_ref().map_or(Version(1), |r| r.entity.version);
        let package = found.and_then(|record| record.package).unwrap_or_default();
        let package = item::edited(&package, old, new);
        let stale = self
            .stale
            .get(id)
            .copied()
            .filter(|stale| *stale != version);
        let known = self.model.deployments.contains_key(id);
        let result = match (by, stale) {
            (By::Modification, _) => self.edited(&key, package).await,
            (By::Stale, Some(stale)) if known => {
                let model = Err::<(), _>(ErrorKind::Conflict);
                return alike(data.update(&key, stale, package).await.map(drop), model);
            }
            (By::Update | By::Stale, _) => data.update(&key, version, package).await,
        };
        let model = self.model.modify(id, new);
        if result.is_ok() {
            self.stale.insert(id.to_owned(), version);
        }
        alike(result.map(drop), model)
    }

    async fn edited(&self, id: &DeploymentId, package: Package) -> Result<Version> {
        let data = &self.fixture.data;
        let edit = data.start_modification(id, TTL).await?;
        let ended = data.end_modification(&edit.token, package).await;
        if ended.is_err() {
            data.cancel_modification(&edit.token).await?;
        }
        ended
    }

    async fn compare(&mut self) -> Result<(), String> {
        let mut model: BTreeMap<Key, ComparedRow> = BTreeMap::new();
        for (id, template) in &self.model.templates {
            let row = ComparedRow::new(&template.items, template.metadata());
            model.insert(t(id), row);
        }
        for (id, site) in &self.model.sites {
            let row = ComparedRow {
                template: site.template.clone(),
                ..ComparedRow::new(&site.items, site.metadata())
            };
            model.insert(Key::from(site_id(id)), row);
        }
        for (id, deployment) in &self.model.deployments {
            let row = ComparedRow {
                template: deployment.template.clone(),
                site: deployment.site.clone(),
                parent: deployment.parent.clone(),
                facts: Some((deployment.head().prepared, deployment.head().approved)),
                ..ComparedRow::new(&deployment.items, deployment.metadata())
            };
            model.insert(Key::from(deployment_id(id)), row);
        }
        let mut subject = BTreeMap::new();
        for kind in [Kind::Template, Kind::Site, Kind::Deployment] {
            for record in self.fixture.walk(&all(kind), 0).await {
                subject.insert(record.entity.key.clone(), ComparedRow::of(&record));
            }
        }
        same("an existing entity", &subject, &model)?;
        let unprepared = self.fixture.drain(Stage::Prepare).await;
        let expected = std::mem::take(&mut self.model.unprepared);
        same(
            "to be prepared",
            &unprepared,
            &expected.into_iter().collect(),
        )?;
        let mut unscheduled = self.fixture.drain(Stage::Schedule).await;
        let expected = std::mem::take(&mut self.model.unscheduled);
        let perhaps = std::mem::take(&mut self.model.perhaps);
        unscheduled.retain(|id| expected.contains(id) || !perhaps.contains(id));
        let there = expected
            .into_iter()
            .filter(|id| self.model.sites.contains_key(id));
        same("to be scheduled", &unscheduled, &there.collect())
    }
}

fn select(choice: &MatchChoice, parent: Option<&String>) -> Select {
    let kind = [Kind::Template, Kind::Site, Kind::Deployment][usize::from(choice.kind)];
    let mut select = all(kind);
    if let Some(word) = choice.word {
        select.metadata = by(kind, "X.word", &word.to_string()).metadata;
    }
    let literal = |id: Option<String>| id.map(|id| Pattern::literal(&id)).into_iter().collect();
    if kind != Kind::Template {
        select.template_ids = literal(choice.template.map(template_name));
    }
    if kind == Kind::Deployment {
        select.site_ids = literal(choice.site.map(site_name));
        select.parent = parent.map(|id| deployment_id(id));
        select.prepared = choice.prepared;
        select.approved = choice.approved;
    }
    select
}

/// The compared parts of an entity.
#[derive(Debug, Default, PartialEq)]
struct ComparedRow {
    items: Vec<ModelResource>,
    metadata: Words,
    template: Option<String>,
    site: Option<String>,
    parent: Option<String>,
    /// `prepared` and `approved` of the row.
    facts: Option<(bool, bool)>,
}

impl ComparedRow {
    fn new(items: &[ModelResource], metadata: Words) -> Self {
        Self {
            items: items.to_vec(),
            metadata,
            ..Self::default()
        }
    }

    fn of(record: &Record) -> Self {
        let entity: &Entity = &record.entity;
        let package = record.package.clone().unwrap_or_default();
        let deployment = entity.deployment();
        Self {
            items: item::items(&package),
            metadata: entity
                .metadata
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            template: entity.template().map(ToString::to_string),
            site: deployment.and_then(|d| Some(d.site.as_ref()?.to_string())),
            parent: deployment.and_then(|d| Some(d.parent.as_ref()?.to_string())),
            facts: deployment.map(|d| (d.prepared, d.approved)),
        }
    }
}

fn same<T: PartialEq + Debug>(what: &str, subject: &T, model: &T) -> Result<(), String> {
    ensure!(
        subject == model,
        "{what}: {subject:#?}\ninstead of {model:#?}"
    );
    Ok(())
}

/// Checks that both sides accept or both refuse. Returns whether they refused.
fn alike<T: PartialEq + Debug>(
    subject: Result<T>,
    model: Result<T, ErrorKind>,
) -> Result<bool, String> {
    match (subject, model) {
        (Ok(subject), Ok(model)) => same("the answer", &subject, &model).map(|()| false),
        (Err(subject), Err(model)) if subject.kind() == model => Ok(true),
        (subject, model) => Err(format!("{subject:?} instead of {model:?}")),
    }
}
