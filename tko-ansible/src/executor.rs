//! The executor `ansible`: makes schedulers from plugins.

use crate::awx::{AwxPlugin, AwxScheduler};
use crate::runner::{RunnerPlugin, RunnerScheduler};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Error, Executor, Key, Record, Result, Scheduler};
use tko_source::SecretFolder;

/// Properties of the executor; a plugin with an unknown property is refused.
const PROPERTIES: [&str; 8] = [
    "_awx.host",
    "_awx.inventory",
    "_awx.username",
    "_awx.password",
    "_awx.token",
    "_ansible.playbook",
    "_ansible.inventory",
    "_ansible.runner",
];

/// Settings of the executor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnsibleSettings {
    /// The folder from which properties `secret:NAME` are read. Default: none, so they are refused.
    pub secrets: SecretFolder,
    /// Time limit of one request to AWX. Default: 30 s.
    pub request_timeout: Duration,
    /// The first pause between two requests for the state of a job; pauses grow to ten times this.
    /// Default: 500 ms.
    pub poll: Duration,
    /// Time limit of a playbook on this machine. Default: 5 min.
    pub playbook_timeout: Duration,
}

impl Default for AnsibleSettings {
    fn default() -> Self {
        Self {
            secrets: SecretFolder::default(),
            request_timeout: Duration::from_secs(30),
            poll: Duration::from_millis(500),
            playbook_timeout: Duration::from_mins(5),
        }
    }
}

impl AnsibleSettings {
    /// Sets the folder from which [secrets](Self::secrets) are read.
    #[must_use]
    pub fn with_secrets(mut self, secrets: SecretFolder) -> Self {
        self.secrets = secrets;
        self
    }

    /// Sets the [time limit of a request](Self::request_timeout).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the [first pause](Self::poll) between requests for a job.
    #[must_use]
    pub fn with_poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets the [time limit of a playbook](Self::playbook_timeout).
    #[must_use]
    pub fn with_playbook_timeout(mut self, timeout: Duration) -> Self {
        self.playbook_timeout = timeout;
        self
    }
}

/// Makes schedulers from plugins that name the executor `ansible`.
///
/// With `_awx.host` a plugin launches a job template of AWX, which its argument names. With
/// `_ansible.playbook` it runs a playbook on this machine.
#[derive(Clone, Debug, Default)]
pub struct AnsibleExecutor {
    settings: AnsibleSettings,
}

impl AnsibleExecutor {
    /// The name of the executor.
    pub const NAME: &'static str = "ansible";

    /// Makes an executor.
    pub fn new(settings: AnsibleSettings) -> Self {
        Self { settings }
    }
}

impl Executor for AnsibleExecutor {
    #[allow(clippy::unnecessary_literal_bound)] // The trait's signature.
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scheduler(&self, record: &Record) -> Result<Arc<dyn Scheduler>> {
        let (Key::Plugin(id), Some(plugin)) = (&record.entity.key, record.entity.plugin()) else {
            let message = format!("{} is not a plugin", record.entity.key);
            return Err(Error::bad("plugin", message));
        };
        let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) = plugin
            .properties
            .clone()
            .into_iter()
            .partition(|(name, _)| name.starts_with('_'));
        for name in own.keys() {
            if !PROPERTIES.contains(&name.as_str()) {
                let message = format!(
                    "unknown property; expected one of {}",
                    PROPERTIES.join(", ")
                );
                return Err(Error::bad(name.clone(), message));
            }
        }
        for name in [
            crate::change::INPUT,
            crate::change::SITE,
            crate::change::CHANGE,
        ] {
            if others.contains_key(name) {
                let message = "the executor sets this variable itself: choose another name";
                return Err(Error::bad(name, message));
            }
        }
        let property = |name: &str| own.get(name).cloned().filter(|value| !value.is_empty());
        let id = id.to_string();
        if let Some(playbook) = property("_ansible.playbook") {
            if let Some(name) = own.keys().find(|name| name.starts_with("_awx.")) {
                let message = "a plugin has either _ansible.playbook or properties of _awx";
                return Err(Error::bad(name.clone(), message));
            }
            let plugin = RunnerPlugin {
                id,
                playbook: playbook.into(),
                inventory: property("_ansible.inventory").map(Into::into),
                program: property("_ansible.runner").unwrap_or_else(|| "ansible-runner".to_owned()),
                variables: others,
            };
            return Ok(Arc::new(RunnerScheduler::new(
                plugin,
                self.settings.clone(),
            )));
        }
        let Some(host) = property("_awx.host") else {
            let message = "missing: give the URL of AWX, or a playbook by _ansible.playbook";
            return Err(Error::bad("_awx.host", message));
        };
        let [template] = &plugin.arguments[..] else {
            let message = "the executor needs exactly one: the name of the job template";
            return Err(Error::bad("arguments", message));
        };
        let plugin = AwxPlugin {
            id,
            host,
            template: template.clone(),
            inventory: property("_awx.inventory"),
            username: property("_awx.username"),
            password: property("_awx.password"),
            token: property("_awx.token"),
            variables: others,
        };
        Ok(Arc::new(AwxScheduler::new(plugin, self.settings.clone())?))
    }
}
