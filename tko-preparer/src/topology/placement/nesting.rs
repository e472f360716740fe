//! Topologies nest; these are the bounds.

use std::collections::HashSet;
use tko_core::{DeploymentId, Error, Key, PrepareCall, Record, Result, TemplateId, Want};

/// How deep topologies may nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nesting {
    /// How many deployments there may be from one that has no parent down to a child, both
    /// counted. Default: 16.
    pub levels: usize,
    /// How often one template may be there among a deployment and its ancestors before it is
    /// placed once more. With 1, the default, a template is never placed within itself; a cycle of
    /// templates ends before it begins anew. With more it begins anew, on every site each time.
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
    /// Whether these may be placed here. Reads the ancestors, at most `levels` of them.
    ///
    /// # Errors
    /// `BadArgument`: a bound is exceeded; the message has the way down to here.
    pub(super) async fn check(
        &self,
        call: &PrepareCall<'_>,
        templates: &[TemplateId],
    ) -> Result<()> {
        if templates.is_empty() {
            return Ok(());
        }
        let line = self.line(call).await?;
        if line.len() >= self.levels {
            return Err(Error::bad(
                "spec.templates",
                format!(
                    "topologies nest {} levels deep here, and no more than {} are allowed: {}",
                    line.len() + 1,
                    self.levels,
                    way(&line)
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
                        "template {template} would be placed within itself, without end: {} > \
                         {template}; take it out of one of these",
                        way(&line)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// This deployment and its ancestors, the topmost first, with what they were made from.
    async fn line(
        &self,
        call: &PrepareCall<'_>,
    ) -> Result<Vec<(DeploymentId, Option<TemplateId>)>> {
        let mut line = Vec::new();
        let mut next = step(call.deployment, &mut line);
        while let Some(parent) = next.filter(|_| line.len() < self.levels) {
            next = match call.data.get(&Key::Deployment(parent), Want::ROW).await {
                Ok(record) => step(&record, &mut line),
                // It is being deleted: its children have no parent.
                Err(Error::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
        }
        line.reverse();
        Ok(line)
    }
}

/// Adds one to the line. Answers with its parent.
fn step(
    record: &Record,
    line: &mut Vec<(DeploymentId, Option<TemplateId>)>,
) -> Option<DeploymentId> {
    let deployment = record.entity.deployment()?;
    // What it was made from, even if that was deleted since.
    let template = deployment.template.as_ref();
    let template = template.or(deployment.resource.template.as_ref()).cloned();
    line.push((record.entity.key.deployment()?.clone(), template));
    deployment.parent.clone()
}

fn way(line: &[(DeploymentId, Option<TemplateId>)]) -> String {
    line.iter()
        .map(|(id, template)| match template {
            Some(template) => template.to_string(),
            None => format!("deployment {id}"),
        })
        .collect::<Vec<_>>()
        .join(" > ")
}
