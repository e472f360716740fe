//! Faults of modifications, updates and approvals.

use crate::broken::Broken;
use std::time::Duration;
use tko_core::{
    Bulk, DeploymentId, Enqueue, Error, Kind, Lane, List, Modification, Package, Pattern, Result,
    Select, Stage, Subject, Token, Version, Want,
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
            let mut one = list.select.clone();
            one.ids = vec![Pattern::literal(record.entity.key.id())];
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
        let version = self.inner.update(id, expect, package).await?;
        if self.is("every update makes the site due") {
            let row = self.inner.get(&id.into(), Want::ROW).await?.entity;
            let site = row
                .deployment()
                .and_then(|deployment| deployment.site.clone());
            let mark = site.map(|site| Enqueue::now(Stage::Schedule, site, Lane::new(0)));
            self.inner.enqueue(mark.into_iter().collect()).await?;
        }
        Ok(version)
    }

    pub(crate) async fn broken_start(
        &self,
        id: &DeploymentId,
        ttl: Duration,
    ) -> Result<Modification> {
        let mut edit = self.inner.start_modification(id, ttl).await?;
        if self.is("a modification ends at once") {
            self.inner.cancel_modification(&edit.token).await?;
        }
        if self.is("a modification shows no package") {
            edit.record.package = Some(Package::default());
        }
        Ok(edit)
    }

    pub(crate) async fn broken_end(&self, token: &Token, package: Package) -> Result<Version> {
        let ended = self.inner.end_modification(token, package).await;
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
}
