//! Schedules sites by the job templates of AWX or Automation Controller.
//!
//! A change of a site is one job, no matter how often and by how many processes the scheduler is
//! called. Every job carries the site and the identity of the change in its extra variables. The
//! newest job of the site shows what was done last. So a controller that starts again finds the job
//! that another one launched, and follows it to its end. A job of an earlier change that still runs
//! is cancelled and ends before the next one is launched.
//!
//! The API is the one of the AWX API reference: `job_templates`, `inventories`, `jobs`.

mod client;
mod job;

pub(crate) use self::job::tail;

use self::client::{AwxClient, Login};
use self::job::{Job, NewestJob};
use crate::change::SiteChange;
use crate::executor::AnsibleSettings;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use tko_core::{Condition, Error, Result, ScheduleCall, Scheduler};

/// The condition of a site that says how its last job ended.
const AUTOMATED: &str = "Automated";

/// Maximum number of sites whose last job is remembered; for other sites it is looked up.
const MOST_REMEMBERED: usize = 100_000;

/// A plugin that launches jobs.
#[derive(Clone, Debug)]
pub(crate) struct AwxPlugin {
    /// The plugin's id.
    pub id: String,
    /// The URL of AWX, without `/api/v2/`.
    pub host: String,
    /// The name of the job template.
    pub template: String,
    /// The name of the inventory; `None` uses that of the job template.
    pub inventory: Option<String>,
    /// The name to log in with.
    pub username: Option<String>,
    /// The password, or the secret that holds it.
    pub password: Option<String>,
    /// The token, or the secret that holds it.
    pub token: Option<String>,
    /// Additional extra variables.
    pub variables: BTreeMap<String, String>,
}

/// The last job of a site that succeeded in this process.
#[derive(Clone)]
struct Finished {
    change: String,
    fence: u64,
    message: String,
}

/// Launches one job for each change of a site.
pub(crate) struct AwxScheduler {
    plugin: AwxPlugin,
    settings: AnsibleSettings,
    http: reqwest::Client,
    finished: Mutex<HashMap<String, Finished>>,
}

impl AwxScheduler {
    /// A scheduler for a plugin.
    ///
    /// # Errors
    /// `BadArgument`: the URL of the host or the credentials are invalid.
    pub(crate) fn new(plugin: AwxPlugin, settings: AnsibleSettings) -> Result<Self> {
        AwxClient::check(&plugin.host)?;
        match (&plugin.token, &plugin.username, &plugin.password) {
            (Some(_) | None, None, None) | (None, Some(_), Some(_)) => {}
            _ => {
                let message = "give either a token, or a username with a password";
                return Err(Error::bad("_awx.token", message));
            }
        }
        Ok(Self {
            http: client::http(settings.request_timeout)?,
            plugin,
            settings,
            finished: Mutex::default(),
        })
    }

    async fn client(&self) -> Result<AwxClient> {
        let secrets = &self.settings.secrets;
        let url = AwxClient::check(&self.plugin.host)?;
        let host = url.host_str().unwrap_or_default();
        let login = match (
            &self.plugin.token,
            &self.plugin.username,
            &self.plugin.password,
        ) {
            (Some(token), _, _) => {
                let token = secrets.resolve_to_send("_awx.token", token).await?;
                Login::Token(token.for_host("_awx.token", host)?.to_owned())
            }
            (None, Some(name), Some(password)) => {
                let password = secrets.resolve_to_send("_awx.password", password).await?;
                let password = password.for_host("_awx.password", host)?;
                Login::Password(name.clone(), password.to_owned())
            }
            _ => Login::None,
        };
        AwxClient::new(&self.plugin.host, login, self.http.clone())
    }

    /// The message of the site's last job, if this process ran it and nothing can have changed the
    /// site since.
    fn remembered(&self, change: &SiteChange) -> Option<String> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let last = finished.get_mut(&change.site)?;
        // A call of another scheduler would have taken a number in between.
        if last.change != change.change || last.fence.checked_add(1) != Some(change.fence) {
            return None;
        }
        last.fence = change.fence;
        Some(last.message.clone())
    }

    fn remember(&self, change: &SiteChange, message: &str) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if finished.len() >= MOST_REMEMBERED && !finished.contains_key(&change.site) {
            return;
        }
        let last = Finished {
            change: change.change.clone(),
            fence: change.fence,
            message: message.to_owned(),
        };
        finished.insert(change.site.clone(), last);
    }
}

#[async_trait]
impl Scheduler for AwxScheduler {
    async fn schedule(&self, call: ScheduleCall<'_>) -> Result<Vec<Condition>> {
        let plugin = &self.plugin;
        let configuration = json!([plugin.host, plugin.template, plugin.inventory]);
        let change = SiteChange::new(&call, &plugin.variables, &configuration)?;
        let observed = call.site.entity.generation;
        let done = |message: String| {
            vec![Condition::new(
                AUTOMATED,
                true,
                "JobSucceeded",
                message,
                observed,
            )]
        };
        if let Some(message) = self.remembered(&change) {
            return Ok(done(message));
        }
        let client = self.client().await?;
        let template = client.one("job_templates", &plugin.template).await?;
        // The site's condition names its last job that succeeded, so older ones do not matter.
        let last = call.site.entity.condition(AUTOMATED);
        let last = last.and_then(|last| Job::number(&client, &last.message));
        let found = match Job::newest(&client, template, &change, last).await? {
            NewestJob::Usable(job) => Some(job),
            NewestJob::Ended => None,
            NewestJob::Earlier(job) => {
                // If both ran at the same time, the earlier state could be the last one of the site.
                tracing::info!(
                    plugin = plugin.id,
                    site = change.site,
                    job = job.url,
                    "cancelling the job of an earlier change, and waiting for its end"
                );
                job.stop(&client, self.settings.poll).await?;
                None
            }
            // Jobs of many other sites have displaced it since.
            NewestJob::Missing => match last {
                Some(id) => Job::numbered(&client, id, &change).await?,
                None => None,
            },
        };
        let job = if let Some(job) = found {
            tracing::info!(
                plugin = plugin.id,
                site = change.site,
                job = job.url,
                "following a running job"
            );
            job
        } else {
            let inventory = match &plugin.inventory {
                Some(name) => Value::from(client.one("inventories", name).await?),
                None => Value::Null,
            };
            let job = Job::launch(&client, template, inventory, &change).await?;
            tracing::info!(
                plugin = plugin.id,
                site = change.site,
                job = job.url,
                "launched a job"
            );
            job
        };
        let message = job.follow(&client, self.settings.poll).await?;
        self.remember(&change, &message);
        Ok(done(message))
    }
}
