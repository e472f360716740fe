//! Faults of the creation of deployments.

use crate::broken::Broken;
use tko_core::{DeploymentId, Error, NewDeployment, Result};

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
        let parent = new.parent.clone();
        match self.inner.create_deployment(new).await {
            Err(Error::BadArgument { .. }) if self.is("an unknown reference is not found") => {
                let missing = DeploymentId::new("missing").expect("an id");
                Err(Error::not_found(parent.unwrap_or(missing)))
            }
            made => made,
        }
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
