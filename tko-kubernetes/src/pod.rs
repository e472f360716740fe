//! Plugins in pods: programs that run in a container by the exec API.
//!
//! A plugin with the property `_kubernetes.pod` keeps its executor. Instead of its program, the
//! executor starts a small one on this machine, [`PodCommand`]. That one runs the plugin's program
//! in the pod and passes on stdin, stdout, stderr and the exit code. So time limits, pools and the
//! frames of workers are the same as for a local program.

mod command;

pub use self::command::{PodCommand, PodFailure};

use crate::kinds::is_name;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_core::{Entity, Error, Executor, Plugin, Preparer, Record, Result, Scheduler, Validator};

/// The prefix of the executor's properties.
const PREFIX: &str = "_kubernetes.";

/// The default namespace of pods.
const NAMESPACE: &str = "tko";

/// The program that runs a [`PodCommand`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PodProgram {
    /// The path of the program on this machine, usually `tko` itself.
    pub path: PathBuf,
    /// Its first arguments, followed by `--namespace`, `--pod`, `--container`, `--` and the
    /// command.
    pub arguments: Vec<String>,
}

impl PodProgram {
    /// A program with these first arguments.
    pub fn new(path: impl Into<PathBuf>, arguments: Vec<String>) -> Self {
        Self {
            path: path.into(),
            arguments,
        }
    }
}

/// Adds pods to an executor of programs, such as `command` or `worker`.
///
/// Plugins without `_kubernetes.pod` go unchanged to the local executor. The others go to the
/// remote executor, which has the same name; its plugins cannot reach log channels of this machine.
pub struct PodExecutor {
    local: Arc<dyn Executor>,
    remote: Arc<dyn Executor>,
    /// Runs commands in pods; `None`: no cluster is known, so these plugins are refused.
    program: Option<PodProgram>,
}

impl PodExecutor {
    /// Makes an executor of two.
    pub fn new(
        local: Arc<dyn Executor>,
        remote: Arc<dyn Executor>,
        program: Option<PodProgram>,
    ) -> Self {
        Self {
            local,
            remote,
            program,
        }
    }

    /// The executor and the plugin that it gets.
    fn placed(&self, record: &Record) -> Result<(&dyn Executor, Option<Record>)> {
        let Some(plugin) = record.entity.plugin() else {
            return Ok((&*self.local, None));
        };
        let is_own = |name: &str| name.starts_with(PREFIX);
        if !plugin.properties.keys().any(|name| is_own(name)) {
            return Ok((&*self.local, None));
        }
        let arguments = self.arguments(plugin)?;
        let properties: BTreeMap<_, _> = plugin
            .properties
            .clone()
            .into_iter()
            .filter(|(name, _)| !is_own(name))
            .collect();
        let mut entity = Entity::clone(&record.entity);
        let moved = Plugin::clone(plugin)
            .arguments(arguments)
            .properties(properties);
        entity.facts = moved.into();
        Ok((&*self.remote, Some(Record::new(entity))))
    }

    fn arguments(&self, plugin: &Plugin) -> Result<Vec<String>> {
        let bad = |property: &str, message: &str| {
            Err(Error::bad(
                format!("{PREFIX}{property}"),
                message.to_owned(),
            ))
        };
        let Some(program) = &self.program else {
            return bad(
                "pod",
                "this controller has no cluster for plugins; start it in a pod, or with \
                 --plugin-kubeconfig FILE",
            );
        };
        let own = plugin.properties.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(PREFIX)?;
            Some((name, value.as_str()))
        });
        let own: BTreeMap<&str, &str> = own.collect();
        for (name, value) in &own {
            if !matches!(*name, "pod" | "namespace" | "container") {
                return bad(
                    name,
                    "unknown property; expected pod, namespace or container",
                );
            }
            if !is_name(value) {
                return bad(name, "is not a name that Kubernetes allows");
            }
        }
        let Some(pod) = own.get("pod") else {
            return bad("pod", "missing: name the pod in which the program runs");
        };
        let namespace = own.get("namespace").copied().unwrap_or(NAMESPACE);
        let container = own.get("container").unwrap_or(pod);
        let Some(path) = plugin.arguments.first().filter(|path| !path.is_empty()) else {
            return Err(Error::bad(
                "arguments",
                "none given; name the program in the pod",
            ));
        };
        let mut arguments = vec![program.path.display().to_string()];
        arguments.extend(program.arguments.iter().cloned());
        for (flag, value) in [
            ("--namespace", namespace),
            ("--pod", *pod),
            ("--container", *container),
        ] {
            arguments.extend([flag.to_owned(), value.to_owned()]);
        }
        arguments.push("--".to_owned());
        if Path::new(path)
            .extension()
            .is_some_and(|extension| extension == "py")
        {
            // Only a shell can resolve the home of another user.
            let run = "exec ~tko/tko-python-env/bin/python \"$@\"";
            arguments.extend(["sh", "-c", run, "sh"].map(str::to_owned));
        }
        arguments.extend(plugin.arguments.iter().cloned());
        Ok(arguments)
    }

    fn make<T: ?Sized>(
        &self,
        record: &Record,
        make: impl FnOnce(&dyn Executor, &Record) -> Result<Arc<T>>,
    ) -> Result<Arc<T>> {
        let (executor, moved) = self.placed(record)?;
        make(executor, moved.as_ref().unwrap_or(record))
    }
}

#[async_trait]
impl Executor for PodExecutor {
    fn name(&self) -> &str {
        self.local.name()
    }

    fn preparer(&self, plugin: &Record) -> Result<Arc<dyn Preparer>> {
        self.make(plugin, Executor::preparer)
    }

    fn scheduler(&self, plugin: &Record) -> Result<Arc<dyn Scheduler>> {
        self.make(plugin, Executor::scheduler)
    }

    fn validator(&self, plugin: &Record) -> Result<Arc<dyn Validator>> {
        self.make(plugin, Executor::validator)
    }

    async fn close(&self) {
        self.local.close().await;
        self.remote.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::{PodExecutor, PodProgram};
    use async_trait::async_trait;
    use std::sync::{Arc, Mutex};
    use tko_core::{
        Condition, Entity, Executor, Key, Plugin, PluginId, PluginType, Record, Result,
        ScheduleCall, Scheduler,
    };

    struct Nothing;

    #[async_trait]
    impl Scheduler for Nothing {
        async fn schedule(&self, _: ScheduleCall<'_>) -> Result<Vec<Condition>> {
            Ok(Vec::new())
        }
    }

    /// Records the plugins that it gets.
    #[derive(Default)]
    struct Recording(Mutex<Vec<Plugin>>);

    impl Executor for Recording {
        #[allow(clippy::unnecessary_literal_bound)] // The trait's signature.
        fn name(&self) -> &str {
            "command"
        }

        fn scheduler(&self, plugin: &Record) -> Result<Arc<dyn Scheduler>> {
            let plugin = plugin.entity.plugin().expect("it is one");
            let mut seen = self.0.lock().expect("no test has panicked");
            seen.push(Plugin::clone(plugin));
            Ok(Arc::new(Nothing))
        }
    }

    fn plugin(arguments: &[&str], properties: &[(&str, &str)]) -> Record {
        let plugin = Plugin::new("command")
            .arguments(arguments.iter().map(|text| (*text).to_owned()).collect())
            .properties(
                properties
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            );
        let id = PluginId::new(PluginType::Schedule, "network").expect("an id");
        Record::new(Entity::new(Key::Plugin(id), plugin))
    }

    fn placed(record: &Record) -> Result<(usize, Vec<Plugin>)> {
        let (local, remote) = (
            Arc::new(Recording::default()),
            Arc::new(Recording::default()),
        );
        let program = PodProgram::new("/bin/tko", vec!["kubernetes-exec".to_owned()]);
        let executor = PodExecutor::new(local.clone(), remote.clone(), Some(program));
        executor.scheduler(record)?;
        let count = local.0.lock().expect("no test has panicked").len();
        let seen = remote.0.lock().expect("no test has panicked").clone();
        Ok((count, seen))
    }

    #[test]
    fn only_plugins_with_a_pod_go_there() {
        let (local, remote) = placed(&plugin(&["x"], &[("a", "b")])).expect("it is valid");
        assert_eq!((local, remote.len()), (1, 0));
        let properties = [("_kubernetes.pod", "worker"), ("_worker.size", "2")];
        let (local, remote) = placed(&plugin(&["run", "-v"], &properties)).expect("it is valid");
        assert_eq!((local, remote.len()), (0, 1));
        let expected = "/bin/tko kubernetes-exec --namespace tko --pod worker --container worker -- \
                        run -v";
        assert_eq!(remote[0].arguments.join(" "), expected);
        assert_eq!(remote[0].properties.len(), 1, "the rest is the executor's");
    }

    #[test]
    fn python_scripts_run_in_the_environment_of_the_image() {
        let properties = [("_kubernetes.pod", "p"), ("_kubernetes.namespace", "n")];
        let (_, remote) = placed(&plugin(&["a.py"], &properties)).expect("it is valid");
        let text = remote[0].arguments.join(" ");
        assert!(text.contains("--namespace n"), "{text}");
        assert!(
            text.ends_with("exec ~tko/tko-python-env/bin/python \"$@\" sh a.py"),
            "{text}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (properties, expected) in [
            (vec![("_kubernetes.namespace", "n")], "name the pod"),
            (vec![("_kubernetes.pod", "a/b")], "not a name"),
            (vec![("_kubernetes.pod", "")], "not a name"),
            (
                vec![("_kubernetes.pod", "a"), ("_kubernetes.tty", "b")],
                "unknown property",
            ),
        ] {
            let error = placed(&plugin(&["x"], &properties)).expect_err("it is wrong");
            assert!(error.to_string().contains(expected), "{error}");
        }
        let none = PodExecutor::new(
            Arc::new(Recording::default()),
            Arc::new(Recording::default()),
            None,
        );
        let record = plugin(&["x"], &[("_kubernetes.pod", "a")]);
        let error = none.scheduler(&record).err().expect("there is no cluster");
        assert!(error.to_string().contains("--plugin-kubeconfig"), "{error}");
    }
}
