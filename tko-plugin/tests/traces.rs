//! Traces: each call of a plugin is a span with its subject, duration and outcome.

mod fixture;

use async_trait::async_trait;
use fixture::{Fixture, network, plugin, target};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tko_core::{
    Answer, Error, Executor, Package, PluginType, PrepareCall, Preparer, Record, Result,
};
use tko_plugin::{CommandSettings, ObservedExecutor, PluginMetrics, WorkerPoolSettings};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// The fields of a closed span, and of the events in it.
#[derive(Clone, Debug, Default)]
struct CallTrace {
    fields: BTreeMap<&'static str, String>,
    events: Vec<String>,
}

impl CallTrace {
    fn milliseconds(&self) -> f64 {
        self.fields["milliseconds"].parse().expect("a number")
    }
}

impl Visit for CallTrace {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Collects the spans of plugin calls that have ended.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<Vec<CallTrace>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Traces {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("is registered");
        let mut trace = CallTrace::default();
        attributes.record(&mut trace);
        span.extensions_mut().insert(trace);
    }

    fn on_record(&self, id: &Id, values: &Values<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("is registered");
        let mut extensions = span.extensions_mut();
        values.record(extensions.get_mut::<CallTrace>().expect("was inserted"));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        let mut shown = CallTrace::default();
        event.record(&mut shown);
        let message = shown.fields.remove("message").unwrap_or_default();
        let mut extensions = span.extensions_mut();
        let trace = extensions.get_mut::<CallTrace>().expect("was inserted");
        trace.events.push(message);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("is registered");
        if span.metadata().target() == "tko_plugin::call" {
            assert_eq!(span.name(), "plugin_call");
            let trace = span.extensions_mut().remove::<CallTrace>();
            self.0
                .lock()
                .expect("no panics")
                .push(trace.expect("was inserted"));
        }
    }
}

impl Traces {
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let traces = Self::default();
        let subscriber = tracing_subscriber::registry().with(traces.clone());
        (traces, tracing::subscriber::set_default(subscriber))
    }

    /// The one call since the last time.
    fn take(&self) -> CallTrace {
        let mut traces = std::mem::take(&mut *self.0.lock().expect("no panics"));
        assert_eq!(traces.len(), 1, "{traces:?}");
        traces.remove(0)
    }
}

#[tokio::test]
async fn a_call_is_a_span_under_either_executor() {
    let (traces, _listening) = Traces::listen();
    let settings = CommandSettings::default;
    let workers = Fixture::workers(settings(), WorkerPoolSettings::default());
    let worker = plugin("worker.py");
    for (executor, fixture, arguments) in [
        ("command", Fixture::new(), vec![plugin("prepare.py")]),
        ("worker", workers, vec![worker, "prepare".to_owned()]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let deployment = fixture.deployment(vec![network()]).await;
        let preparer = fixture.preparer(&arguments).await;
        fixture.call(&*preparer, &deployment).await.expect("works");
        let trace = traces.take();
        let expected = [
            ("plugin", "prepare|test"),
            ("executor", executor),
            ("deployment", deployment.entity.key.id()),
            ("resource", "NetworkAttachmentDefinition upf/n3"),
            ("outcome", "prepared"),
        ];
        for (name, value) in expected {
            assert_eq!(trace.fields[name], value, "{trace:?}");
        }
        assert!(trace.milliseconds() > 0.0, "{trace:?}");
        assert_eq!(trace.events, ["plugin call ended"]);
        for absent in ["site", "error", "retries"] {
            assert!(!trace.fields.contains_key(absent), "{trace:?}");
        }
    }
}

#[tokio::test]
async fn outcomes_of_other_types_name_what_happened() {
    let (traces, _listening) = Traces::listen();
    let fixture = Fixture::new();
    let site = fixture.site("edge", vec![]).await;
    let script = ["sh", "-c", "cat > /dev/null; echo '{}'"];
    let scheduled = fixture.schedule(&script, &site, &[], &[]).await;
    assert!(scheduled.is_ok(), "{scheduled:?}");
    let trace = traces.take();
    assert_eq!(trace.fields["outcome"], "scheduled");
    assert_eq!(trace.fields["site"], "edge");
    let package = Package::from_values([network()]).expect("a package");
    for (script, outcome) in [
        ("cat > /dev/null; echo '{}'", "valid"),
        ("cat > /dev/null; echo '{error: no name}'", "refused"),
    ] {
        let arguments = ["sh", "-c", script];
        let record = fixture.plugin(PluginType::Validate, &arguments).await;
        let validator = fixture.executor.validator(&record).expect("a validator");
        let judged = validator.validate(&package, &target(), true).await;
        assert!(judged.is_ok(), "{judged:?}");
        let trace = traces.take();
        assert_eq!(trace.fields["outcome"], outcome);
        let error = trace.fields.get("error").map(String::as_str);
        assert_eq!(error, (outcome == "refused").then_some("no name"));
    }
    let script = ["sh", "-c", "cat > /dev/null; echo '{prepared: false}'"];
    fixture.prepare(&script).await.expect("works");
    assert_eq!(traces.take().fields["outcome"], "not-yet");
}

#[tokio::test]
async fn failures_have_their_words_and_retries_are_counted() {
    let (traces, _listening) = Traces::listen();
    let pool = WorkerPoolSettings::default;
    let fixture = Fixture::workers(CommandSettings::default(), pool());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file").display().to_string();
    let worker = plugin("worker.py");
    // It crashes once, and the second attempt is answered.
    fixture.failure(&[&worker, "crash_once", &file]).await;
    let trace = traces.take();
    assert_eq!(trace.fields["outcome"], "refused");
    assert_eq!(trace.fields["retries"], "1");
    assert_eq!(
        trace.events,
        ["retrying the call", "plugin call ended"],
        "{trace:?}"
    );
    fixture.failure(&[&worker, "crash"]).await;
    let trace = traces.take();
    assert_eq!(trace.fields["outcome"], "failed");
    let error = &trace.fields["error"];
    assert!(error.contains("the address pool is exhausted"), "{error}");
    let mut settings = CommandSettings::default();
    settings.timeouts.prepare = Duration::from_millis(300);
    let late = Fixture::workers(settings, pool());
    late.failure(&[&worker, "hang"]).await;
    let trace = traces.take();
    assert_eq!(trace.fields["outcome"], "timed-out");
    assert!(trace.milliseconds() >= 300.0, "{trace:?}");
}

#[tokio::test]
async fn a_dropped_call_ends_its_span() {
    let (traces, _listening) = Traces::listen();
    let fixture = Fixture::workers(CommandSettings::default(), WorkerPoolSettings::default());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    let worker = plugin("worker.py");
    let file = path.display().to_string();
    let arguments = [&*worker, "hang", &*file];
    tokio::select! {
        answer = fixture.prepare(&arguments) => panic!("it answers: {answer:?}"),
        _ = fixture::process_ids(&path) => {}
    }
    assert_eq!(traces.take().fields["outcome"], "dropped");
    fixture.executor.close().await;
}

/// A preparer that is not a program.
struct NativePreparer(bool);

#[async_trait]
impl Preparer for NativePreparer {
    async fn prepare(&self, call: PrepareCall<'_>) -> Result<Answer> {
        if self.0 {
            return Err(Error::unavailable("ask the pool", "it is empty".to_owned()));
        }
        Ok(Answer::Done {
            package: call.package.clone(),
            effects: Vec::new(),
        })
    }
}

/// An executor with native preparers.
struct NativeExecutor(bool);

impl Executor for NativeExecutor {
    #[allow(clippy::unnecessary_literal_bound)] // The trait's signature.
    fn name(&self) -> &str {
        "native"
    }

    fn preparer(&self, _: &Record) -> Result<Arc<dyn Preparer>> {
        Ok(Arc::new(NativePreparer(self.0)))
    }
}

#[tokio::test]
async fn other_executors_can_be_observed() {
    let (traces, _listening) = Traces::listen();
    let fixture = Fixture::new();
    let metrics = PluginMetrics::default();
    let deployment = fixture.deployment(vec![network()]).await;
    let plugin = fixture.plugin(PluginType::Prepare, &["a"]).await;
    for (has_failed, outcome) in [(false, "prepared"), (true, "failed")] {
        let observed = ObservedExecutor::new(NativeExecutor(has_failed), metrics.clone());
        assert!(observed.scheduler(&plugin).is_err());
        let preparer = observed.preparer(&plugin).expect("a preparer");
        assert!(!preparer.limits_itself());
        let answer = fixture.call(&*preparer, &deployment).await;
        assert_eq!(answer.is_err(), has_failed);
        let trace = traces.take();
        assert_eq!(trace.fields["outcome"], outcome);
        assert_eq!(trace.fields["executor"], "native");
        assert_eq!(trace.fields["plugin"], "prepare|test");
        assert_eq!(trace.fields["deployment"], deployment.entity.key.id());
        let error = trace.fields.get("error");
        assert_eq!(error.is_some_and(|e| e.contains("it is empty")), has_failed);
    }
    let [totals] = &metrics.read()[..] else {
        panic!("one plugin");
    };
    assert_eq!(totals.buckets.iter().sum::<u64>(), 2);
    assert_eq!((totals.failed, totals.running), (1, 0));
}
