//! `Site`: finds one site, or provisions it, and writes its id to `status.siteId`.
//!
//! The site is, in this order:
//! 1. `spec.siteId`; waits until it is registered;
//! 2. the site that `status.siteId` already names, so that at most one is provisioned;
//! 3. the first site by id that `spec.select.metadata` matches, except those that their inventory no
//!    longer has;
//! 4. with `spec.provisionIfNotFound: true`, a new site `provisioned/` followed by a new id. It is
//!    committed together with `status.siteId`, so no failure provisions a second one.

use super::field;
use super::merging::{MergeReferences, deployment_id, own_changes};
use super::resources::{finished, target};
use super::selection::{self, exists, in_words};
use super::when::MergeConditions;
use async_trait::async_trait;
use serde_json::{Map, Value};
use tko_core::{
    Answer, Effect, Error, Expect, Key, Kind, Metadata, NewSite, Package, PrepareCall, Preparer,
    Resource, Result, SiteId, Subscription, TemplateId, merge,
};

/// Prepares `Site`; see the [module](self).
#[derive(Clone, Debug, Default)]
pub struct SitePreparer {
    conditions: MergeConditions,
}

impl SitePreparer {
    /// Sets how conditions of merges are evaluated.
    #[must_use]
    pub fn with_conditions(mut self, conditions: MergeConditions) -> Self {
        self.conditions = conditions;
        self
    }
}

#[async_trait]
impl Preparer for SitePreparer {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let site = target(&call)?;
        if let Some(id) = field::text(field::spec(site, "siteId"), "spec.siteId")? {
            let id = SiteId::new(id)?;
            let key = Key::from(&id);
            if exists(call.data, &key).await? {
                return found(&call, site, &id, Vec::new());
            }
            return Ok(Answer::NotYet {
                reason: format!("waiting for {key}, which is not registered"),
                waits_for: vec![Subscription::Entity(key)],
            });
        }
        let given = given(site)?;
        if let Some(id) = &given
            && exists(call.data, &Key::from(id)).await?
        {
            return found(&call, site, id, Vec::new());
        }
        let selection = selection::selection(site)?;
        if let Some(metadata) = &selection
            && let Some(Key::Site(id)) = selection::first(call.data, Kind::Site, metadata).await?
        {
            return found(&call, site, &id, Vec::new());
        }
        let provisions = field::flag(
            field::spec(site, "provisionIfNotFound"),
            "spec.provisionIfNotFound",
        )?;
        if provisions && given.is_none() {
            return provision(&call, site, &self.conditions).await;
        }
        let mut reasons = Vec::new();
        let mut waits_for = Vec::new();
        if let Some(id) = given {
            let key = Key::from(id);
            reasons.push(format!("{key} of status.siteId is no longer registered"));
            waits_for.push(Subscription::Entity(key));
        }
        if let Some(metadata) = selection {
            reasons.push(format!("no site matches {}", in_words(&metadata)));
            waits_for.push(Subscription::Selection {
                kind: Kind::Site,
                metadata,
                persistent: false,
            });
        }
        if waits_for.is_empty() {
            return Err(Error::bad(
                "spec",
                "names no site; set siteId, select.metadata, or provisionIfNotFound: true",
            ));
        }
        Ok(Answer::NotYet {
            reason: reasons.join("; "),
            waits_for,
        })
    }

    /// A new site may be the one that is selected or named.
    fn depends_on(&self, target: &Resource, effects: &[Effect]) -> bool {
        let selects = field::spec(target, "select").is_some();
        let status = target.get(&["status", "siteId"]);
        let named = [field::spec(target, "siteId"), status].map(|id| id.and_then(Value::as_str));
        effects.iter().any(|effect| match effect {
            Effect::Site(new) => selects || named.contains(&Some(new.id.as_str())),
            Effect::Deployment(_) | Effect::Delete(_) => false,
        })
    }
}

/// The site in the status of the resource, if any.
pub(super) fn given(site: &Resource) -> Result<Option<SiteId>> {
    let id = site.get(&["status", "siteId"]).filter(|id| !id.is_null());
    field::text(id, "status.siteId")?
        .map(SiteId::new)
        .transpose()
}

fn found(
    call: &PrepareCall<'_>,
    site: &Resource,
    id: &SiteId,
    effects: Vec<Effect>,
) -> Result<Answer> {
    let status = Map::from_iter([("siteId".to_owned(), Value::String(id.to_string()))]);
    Ok(Answer::Done {
        package: finished(call.package, site, status)?,
        effects,
    })
}

async fn provision(
    call: &PrepareCall<'_>,
    site: &Resource,
    conditions: &MergeConditions,
) -> Result<Answer> {
    let (merging, awaited) = resources_to_merge(call, site, conditions)?;
    if let Some(awaited) = awaited {
        return Ok(Answer::NotYet {
            reason: format!("waiting until {awaited} is prepared, to merge it into the new site"),
            waits_for: vec![own_changes(call)?],
        });
    }
    let path = "spec.provisionTemplateId";
    let template = field::text(field::spec(site, "provisionTemplateId"), path)?
        .map(TemplateId::new)
        .transpose()?;
    if let Some(template) = &template {
        let key = Key::from(template);
        if !exists(call.data, &key).await? {
            return Ok(Answer::NotYet {
                reason: format!(
                    "waiting for {key}, the template of the new site, which is not registered"
                ),
                waits_for: vec![Subscription::Entity(key)],
            });
        }
    }
    let id = SiteId::new(&format!("provisioned/{}", call.ids.next()))?;
    let package = match template {
        Some(_) => merging,
        // Without a template, the resources are merged into an empty package, which resolves
        // references and duplicates.
        None => merge::merge(&Package::default(), &merging)?,
    };
    tracing::info!(deployment = %deployment_id(call)?, resource = %call.target, site = %id, "provisioning a site");
    let new = NewSite::new(id.clone(), package)
        .template(template)
        .metadata(Metadata::from_iter([("type", "provisioned")]))
        .expect(Expect::Absent);
    found(call, site, &id, vec![Effect::Site(new)])
}

/// The resources to merge into a new site, and the names of those that must be prepared first.
fn resources_to_merge(
    call: &PrepareCall<'_>,
    site: &Resource,
    conditions: &MergeConditions,
) -> Result<(Package, Option<String>)> {
    let mut references = MergeReferences::new(call, conditions);
    let package = references.copies(field::spec(site, "merge"), "spec.merge")?;
    Ok((package, references.awaited()))
}
