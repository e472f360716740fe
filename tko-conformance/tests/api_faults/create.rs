//! Faults of the creation of deployments.

use crate::broken::Broken;
use crate::packages::{changed, head_of, with_one_head};
use serde_json::Value;
use std::sync::Arc;
use tko_core::{DeploymentId, Error, NewDeployment, Result, Want, deployment_resource};

impl Broken {
    pub(crate) async fn broken_creation(&self, mut new: NewDeployment) -> Result<DeploymentId> {
        if self.is("deployments ignore their template") {
            new.template = None;
        }
        if self.is("given ids are ignored") {
            new.id = None;
        }
        if self.is("approved implies prepared") {
            new.prepared |= new.approved;
        }
        if self.is("idempotency keys are ignored") {
            new.idempotency_key = None;
        }
        if self.is("keys of children can be taken") {
            new.idempotency_key = new.idempotency_key.map(|key| key.replace('|', "/").into());
        }
        if self.is("a deployment needs a template") && new.template.is_none() {
            return Err(Error::bad("template id", "is missing; name a template"));
        }
        self.spoil_package(&mut new).await?;
        let parent = new.parent.clone();
        match self.inner.create_deployment(new).await {
            Err(Error::BadArgument { .. }) if self.is("an unknown reference is not found") => {
                let missing = DeploymentId::new("missing").expect("an id");
                Err(Error::not_found(parent.unwrap_or(missing)))
            }
            made => made,
        }
    }

    /// Changes the package that is merged into the template's.
    async fn spoil_package(&self, new: &mut NewDeployment) -> Result<()> {
        if self.is("the request replaces the Deployment resource of the template") {
            let (template, site) = (new.template.as_ref(), new.site.as_ref());
            let asked = deployment_resource::asked(template, site, new.prepared, new.approved);
            new.merge = new.merge.with(Arc::new(asked));
        }
        if self.is("the merged package sets no Deployment resource") {
            new.merge = new.merge.without(&deployment_resource::identifier());
        }
        if self.is("old fields are read")
            && let Some(head) = head_of(&new.merge)
        {
            let says = |field| head.get(&["spec", field]).and_then(Value::as_bool);
            let (prepared, approved) = (says("prepared"), says("approved"));
            new.prepared |= prepared.unwrap_or_default();
            new.approved |= approved.unwrap_or_default();
        }
        if self.is("a prepared deployment waits for a person") && new.prepared {
            new.merge = changed(&new.merge, |value| {
                value["metadata"]["annotations"] = Value::Null;
            });
        }
        if self.is("the first of several Deployment resources counts") {
            new.merge = with_one_head(&new.merge);
        }
        if self.is("the origin of a template is inherited")
            && let Some(template) = &new.template
        {
            let read = self.inner.get(&template.into(), Want::ROW).await?;
            let all = read.entity.metadata.iter();
            let origin = all.filter(|(key, _)| key.starts_with("Catalog."));
            new.metadata = new.metadata.overlaid(&origin.collect());
        }
        Ok(())
    }

    pub(crate) async fn broken_creations(
        &self,
        new: Vec<NewDeployment>,
    ) -> Vec<Result<DeploymentId>> {
        let mut made = self.inner.create_deployments(new).await;
        if self.is("many answers are reversed") {
            made.reverse();
        }
        if self.is("the first refusal ends many creations") {
            let refused = made.iter().position(Result::is_err);
            made.truncate(refused.map_or(made.len(), |at| at + 1));
        }
        made
    }
}
