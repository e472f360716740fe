//! `Site`: finds one site, or provisions it.
//!
//! In this order, and the site is written to `status.siteId`:
//! 1. `spec.siteId`, which is waited for until it is registered;
//! 2. the site that `status.siteId` names already: never another one is provisioned;
//! 3. the first by id that `spec.select.metadata` matches;
//! 4. with `spec.provisionIfNotFound: true`, a new one, `provisioned/` and a new id. It commits
//!    together with `status.siteId`, so there is one whatever fails, and however often.

use super::merging::{names, own, referred, this_package};
use super::selection::{self, exists, in_words};
use super::{field, finished, target};
use async_trait::async_trait;
use serde_json::{Map, Value};
use tko_core::{
    Answer, Effect, Error, Expect, Key, Kind, Metadata, NewSite, Package, PrepareCall, Preparer,
    Resource, Result, SiteId, Subscription, TemplateId, merge,
};

/// Prepares `Site`. See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Site;

#[async_trait]
impl Preparer for Site {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        let site = target(&call)?;
        if let Some(id) = field::text(field::spec(site, "siteId"), "spec.siteId")? {
            let id = SiteId::new(id)?;
            let key = Key::from(&id);
            if exists(call.data, &key).await? {
                return found(&call, site, &id, Vec::new());
            }
            return Ok(Answer::NotYet {
                reason: format!("{key} is not registered"),
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
            return provision(&call, site).await;
        }
        let mut reasons = Vec::new();
        let mut waits_for = Vec::new();
        if let Some(id) = given {
            let key = Key::from(id);
            reasons.push(format!(
                "{key}, which status.siteId names, is not registered any more"
            ));
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
                "names no site; give siteId, select.metadata, or provisionIfNotFound: true",
            ));
        }
        Ok(Answer::NotYet {
            reason: reasons.join("; "),
            waits_for,
        })
    }
}

/// The site that the resource has, if any.
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

async fn provision(call: &PrepareCall<'_>, site: &Resource) -> Result<Answer> {
    let merging = referred(call, field::spec(site, "merge"), "spec.merge")?;
    if !merging.pending.is_empty() {
        return Ok(Answer::NotYet {
            reason: format!(
                "waits until {} is prepared, to merge it into the new site",
                names(&merging.pending)
            ),
            waits_for: vec![this_package(call)?],
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
                reason: format!("{key}, to provision the site from, is not registered"),
                waits_for: vec![Subscription::Entity(key)],
            });
        }
    }
    let id = SiteId::new(&format!("provisioned/{}", call.ids.next()))?;
    let package = match template {
        Some(_) => merging.package,
        // Without a template to be merged into, names and doubles are for us to settle.
        None => merge::merge(&Package::default(), &merging.package)?,
    };
    tracing::info!(deployment = %own(call)?, resource = %call.target, site = %id, "provisioning");
    let new = NewSite {
        id: id.clone(),
        template,
        metadata: Metadata::from_iter([("type", "provisioned")]),
        package,
        expect: Expect::Absent,
    };
    found(call, site, &id, vec![Effect::Site(new)])
}
