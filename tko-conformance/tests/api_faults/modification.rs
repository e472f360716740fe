//! Faults of modifications, updates and approvals.

use crate::broken::Broken;
use crate::inner_calls::only;
use crate::packages::{head_of, is_marked, with_head};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tko_core::annotation::{APPROVED, PREPARED};
use tko_core::{
    Bulk, Condition, DeploymentId, Entity, EntityUpdate, Error, Key, Kind, List, Modification,
    Package, Result, Select, Stage, Subject, Token, Version, Want, deployment_resource,
};

impl Broken {
    pub(crate) async fn broken_approval(&self, select: &Select) -> Result<Bulk> {
        let mut select = select.clone();
        if self.is("everything is approved") {
            select.metadata.clear();
        }
        if self.is("other kinds are approved") && select.kind != Kind::Deployment {
            return Ok(Bulk::default());
        }
        if !self.is("a hundred are approved") {
            return self.inner.approve(&select).await;
        }
        let list = List::new(select).limit(100);
        let mut bulk = Bulk::default();
        for record in self.inner.list(&list).await?.items {
            let one = only(&record.entity.key);
            bulk.done += self.inner.approve(&one).await?.done;
        }
        Ok(bulk)
    }

    pub(crate) async fn broken_update(
        &self,
        id: &DeploymentId,
        expect: Version,
        package: Package,
    ) -> Result<Version> {
        let expect = match self.inner.get(&id.into(), Want::ROW).await {
            Ok(record) if self.is("updates ignore versions") => record.entity.version,
            _ => expect,
        };
        let version = match self.inner.update(id, expect, package.clone()).await {
            Err(Error::NotFound(_)) if self.is("an update of an absent entity conflicts") => {
                return Err(Error::Conflict(vec![id.into()]));
            }
            updated => updated?,
        };
        if self.is("deployments of a template share their package") {
            self.update_others(id, &package).await?;
        }
        if self.is("every update makes the site due") {
            let row = self.inner.get(&id.into(), Want::ROW).await?.entity;
            if let Some(site) = row.deployment().and_then(|facts| facts.site.as_ref()) {
                self.make_due(Stage::Schedule, &site.into()).await?;
            }
        }
        if self.is("an update makes no deployment due") {
            self.lose_work(Stage::Prepare, &id.into()).await?;
        }
        Ok(version)
    }

    pub(crate) async fn broken_entity_update(&self, mut update: EntityUpdate) -> Result<Version> {
        if self.is("metadata do not change") {
            update.metadata = None;
        }
        if self.is("only sites are updated") && update.key.kind() != Kind::Site {
            return Err(Error::NotImplemented("updating other kinds".into()));
        }
        self.inner.update_entity(update).await
    }

    /// Gives all deployments of its template the package of this one.
    async fn update_others(&self, id: &DeploymentId, package: &Package) -> Result<()> {
        let row = self.inner.get(&id.into(), Want::ROW).await?.entity;
        let Some(template) = row.template() else {
            return Ok(());
        };
        for other in self.referrers(&template.into()).await? {
            let row = self.inner.get(&Key::from(&other), Want::ROW).await?.entity;
            let package = package.clone();
            self.inner.update(&other, row.version, package).await?;
        }
        Ok(())
    }

    pub(crate) async fn broken_start(
        &self,
        id: &DeploymentId,
        ttl: Duration,
    ) -> Result<Modification> {
        let key = Key::from(id);
        if self.is("modifications are not exclusive") {
            let record = self.inner.get(&key, Want::PACKAGE).await?;
            let until = self.inner.feed_position().await?.now.plus(ttl);
            let token = Token::new(key, "shared");
            return Ok(Modification::new(token, until, record));
        }
        let mut edit = self.inner.start_modification(id, ttl).await?;
        let version = edit.record.entity.version;
        self.memo().started.insert(key, version);
        if self.is("a modification ends at once") {
            self.inner.cancel_modification(&edit.token).await?;
        }
        if self.is("a modification shows no package") {
            edit.record.package = Some(Package::default());
        }
        if self.is("tokens have bars") {
            edit.token.secret = format!("{BAR}{}", edit.token.secret).into();
        }
        Ok(edit)
    }

    pub(crate) async fn broken_cancel(&self, token: &Token) -> Result<()> {
        if self.is("a cancellation has no effect") {
            return Ok(());
        }
        self.inner.cancel_modification(&issued(token)).await
    }

    pub(crate) async fn broken_end(&self, token: &Token, package: Package) -> Result<Version> {
        let token = &issued(token);
        let key = &token.key;
        let mut package = self.spoilt_edit(key, package).await?;
        let before = self.inner.get(key, Want::ROW).await;
        if self.is("a removed template returns")
            && let Ok(before) = &before
        {
            let named = before.entity.template().map(ToString::to_string);
            package = with_head(&package, |value| value["spec"]["templateId"] = json!(named));
        }
        if let Ok(before) = &before {
            let version = before.entity.version;
            if self.is("modifications are not exclusive")
                && let Some(id) = key.deployment()
            {
                return self.inner.update(id, version, package).await;
            }
            let started = self.memo().started.get(key).copied();
            if self.is("a modification requires the version of its start")
                && started != Some(version)
            {
                return Err(Error::Conflict(vec![key.clone()]));
            }
        }
        let ended = self.inner.end_modification(token, package).await;
        if ended.is_ok()
            && let Ok(before) = before
        {
            self.after_end(&before.entity).await?;
        }
        match ended {
            Err(error) if self.is("a refusal ends the modification") => {
                self.inner.cancel_modification(token).await?;
                Err(error)
            }
            Err(Error::ClaimExpired(key)) if self.is("an expired token is not found") => {
                Err(Error::NotFound(Subject::Claim(key)))
            }
            Err(Error::NotFound(Subject::Claim(key)))
                if self.is("an unknown token has expired") =>
            {
                Err(Error::ClaimExpired(key))
            }
            ended => ended,
        }
    }

    /// The package of a modification, as the fault understands it.
    async fn spoilt_edit(&self, key: &Key, package: Package) -> Result<Package> {
        let empty = "a missing Deployment resource is replaced by an empty one";
        if self.is(empty) && head_of(&package).is_none() {
            let head = deployment_resource::asked(None, None, false, false);
            return Ok(package.with(Arc::new(head)));
        }
        if self.is("approved implies prepared") && is_marked(&package, APPROVED) {
            return Ok(with_head(&package, |head| {
                head["metadata"]["annotations"][PREPARED] = json!("true");
            }));
        }
        if self.is("a package cannot change the site") {
            let old = self.inner.get(key, Want::PACKAGE).await?.package;
            let old = old.unwrap_or_default();
            let site = head_of(&old).and_then(|head| head.get(&["spec", "siteId"]));
            return Ok(with_head(&package, |head| {
                head["spec"]["siteId"] = site.cloned().unwrap_or_default();
            }));
        }
        Ok(package)
    }

    /// What the fault does after a modification. `before` is the row before its end.
    async fn after_end(&self, before: &Entity) -> Result<()> {
        let key = &before.key;
        if self.is("gathered metadata accumulate") {
            let now = self.inner.get(key, Want::ROW).await?.entity;
            let mut lost = before.metadata.clone();
            lost.retain(|name, _| !now.metadata.contains_key(name));
            let given = now.given.overlaid(&lost);
            let update = EntityUpdate::new(key, now.version).metadata(given);
            self.inner.update_entity(update).await?;
        }
        if self.is("every modification makes a revision") {
            let said = Condition::new("Modified", true, "Modified", "", before.generation);
            self.inner.report(key, vec![said]).await?;
        }
        let was_approved = before.deployment().is_some_and(|facts| facts.approved);
        if self.is("an edit keeps the approval") && was_approved {
            self.inner.approve(&only(key)).await?;
        }
        Ok(())
    }
}

/// The beginning of a secret with a separator of encoded tokens.
const BAR: &str = "m|";

/// The token as the sound API issued it.
fn issued(token: &Token) -> Token {
    let secret = &*token.secret;
    let secret = secret.strip_prefix(BAR).unwrap_or(secret);
    Token::new(token.key.clone(), secret)
}
