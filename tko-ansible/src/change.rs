//! The variables of a job, and the change that it makes.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tko_core::{ContentHash, Error, Record, Result, ScheduleCall};
use tko_plugin::call::{Deployments, Input, PackageResources, Target};

/// The extra variable that holds the input of the call.
pub(crate) const INPUT: &str = "plugin";
/// The extra variable that names the site.
pub(crate) const SITE: &str = "tko_site";
/// The extra variable that names the change: it is equal for equal input.
pub(crate) const CHANGE: &str = "tko_change";

/// One call: the site, the variables of the job, and the identity of the change.
#[derive(Clone, Debug)]
pub(crate) struct SiteChange {
    /// The id of the site.
    pub site: String,
    /// The number of the call; it rises with every call for the site.
    pub fence: u64,
    /// The identity of the input.
    pub change: String,
    /// The extra variables of the job.
    pub variables: Map<String, Value>,
}

impl SiteChange {
    /// The change that a call asks for. `properties` are those of the plugin.
    ///
    /// # Errors
    /// `Internal`: a package was not read, or cannot be encoded.
    pub(crate) fn new(
        call: &ScheduleCall<'_>,
        properties: &BTreeMap<String, String>,
        configuration: &Value,
    ) -> Result<Self> {
        let site = call.site.entity.key.id().to_owned();
        let input = Input::Schedule {
            site_id: site.clone(),
            site_package: package(call.site)?,
            deployments: packages(call.wanted)?,
            removed_deployments: packages(call.removed)?,
        };
        let encoded = |error| Error::internal("encode the input of a job", error);
        let mut input = serde_json::to_value(&input).map_err(encoded)?;
        input["targetResourceIdentifier"] =
            serde_json::to_value(Target::from(call.target)).map_err(encoded)?;
        let mut variables: Map<String, Value> = properties
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        variables.insert(INPUT.to_owned(), input);
        let identity = json!([configuration, variables]);
        let change = ContentHash::of(&identity).to_string();
        variables.insert(SITE.to_owned(), Value::from(site.as_str()));
        variables.insert(CHANGE.to_owned(), Value::from(change.as_str()));
        Ok(Self {
            site,
            fence: call.fence,
            change,
            variables,
        })
    }
}

fn package(record: &Record) -> Result<PackageResources> {
    let package = record.package.clone().ok_or_else(|| {
        let action = format!("hand {} to Ansible", record.entity.key);
        Error::internal(action, "it was read without its package")
    })?;
    Ok(PackageResources(package))
}

fn packages(records: &[Record]) -> Result<Deployments> {
    let packages = records
        .iter()
        .map(|record| Ok((record.entity.key.id().to_owned(), package(record)?)));
    Ok(Deployments(packages.collect::<Result<_>>()?))
}
