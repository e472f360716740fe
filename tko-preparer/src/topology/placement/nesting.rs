//! Limits of the nesting of topologies.

use std::collections::HashSet;
use tko_core::{DeploymentId, Error, Key, PrepareCall, Record, Result, TemplateId, Want};

/// Limits of the nesting of topologies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nesting {
    /// Maximum number of deployments from a deployment without a parent down to a child, including
    /// both. Default: 16.
    pub levels: usize,
    /// Maximum number of times that a template may occur among a deployment and its ancestors. With
    /// 1, the default, a template is never placed within itself: a cycle of templates ends before it
    /// starts over. With more it starts over, on every site each time.
    pub repeats: usize,
}

impl Default for Nesting {
    fn default() -> Self {
        Self {
            levels: 16,
            repeats: 1,
        }
    }
}

impl Nesting {
    /// Checks that these templates may be placed here. Reads at most `levels` ancestors.
    ///
    /// # Errors
    ///
    /// `BadArgument` if a limit is exceeded; the message contains the path from the topmost ancestor.
    pub(super) async fn check(
        &self,
        call: &PrepareCall<'_>,
        templates: &[TemplateId],
    ) -> Result<()> {
        if templates.is_empty() {
            return Ok(());
        }
        let line = self.ancestry(call).await?;
        if line.len() >= self.levels {
            return Err(Error::bad(
                "spec.templates",
                format!(
                    "topologies are nested {} levels deep, and at most {} are allowed: {}",
                    line.len() + 1,
                    self.levels,
                    path(&line)
                ),
            ));
        }
        let mut checked = HashSet::new();
        for template in templates.iter().filter(|id| checked.insert(*id)) {
            let repeats = line.iter().filter(|(_, of)| of.as_ref() == Some(template));
            if repeats.count() >= self.repeats {
                return Err(Error::bad(
                    "spec.templates",
                    format!(
                        "template {template} would be placed within itself endlessly: {} > \
                         {template}; remove it from one of these templates",
                        path(&line)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The ancestors and this deployment, the topmost first, with their templates.
    async fn ancestry(
        &self,
        call: &PrepareCall<'_>,
    ) -> Result<Vec<(DeploymentId, Option<TemplateId>)>> {
        let mut line = Vec::new();
        let mut next = add(call.deployment, &mut line);
        while let Some(parent) = next.filter(|_| line.len() < self.levels) {
            next = match call.data.get(&Key::Deployment(parent), Want::ROW).await {
                Ok(record) => add(&record, &mut line),
                // The parent is being deleted, so its children no longer have a parent.
                Err(Error::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
        }
        line.reverse();
        Ok(line)
    }
}

/// Adds a deployment. Returns its parent.
fn add(
    record: &Record,
    line: &mut Vec<(DeploymentId, Option<TemplateId>)>,
) -> Option<DeploymentId> {
    let deployment = record.entity.deployment()?;
    // Its original template counts even if that was deleted since.
    let template = deployment.template.as_ref();
    let template = template.or(deployment.resource.template.as_ref()).cloned();
    line.push((record.entity.key.deployment()?.clone(), template));
    deployment.parent.clone()
}

fn path(line: &[(DeploymentId, Option<TemplateId>)]) -> String {
    line.iter()
        .map(|(id, template)| match template {
            Some(template) => template.to_string(),
            None => format!("deployment {id}"),
        })
        .collect::<Vec<_>>()
        .join(" > ")
}
