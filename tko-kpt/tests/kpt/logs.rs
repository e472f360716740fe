//! Results and stderr of functions as structured events.

use crate::world::{config_map, program};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tko_kpt::executor::KptSettings;
use tko_kpt::function::run;
use tko_kpt::{FunctionCall, FunctionFailure, Item, KptExecutor, ResourceList};
use tko_plugin::log::LogSubject;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

type Fields = BTreeMap<&'static str, String>;

/// The events of all calls of this program. A subscriber of one test alone can miss events: whether
/// anybody listens is decided for all threads together.
static EVENTS: LazyLock<FunctionEvents> = LazyLock::new(|| {
    let events = FunctionEvents::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    events
});

/// Collects the events of functions.
#[derive(Clone, Default)]
struct FunctionEvents(Arc<Mutex<Vec<Fields>>>);

struct FieldReader<'a>(&'a mut Fields);

impl Visit for FieldReader<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for FunctionEvents {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("tko_kpt") {
            let mut fields = Fields::from([("level", metadata.level().to_string())]);
            event.record(&mut FieldReader(&mut fields));
            self.0.lock().expect("no panics").push(fields);
        }
    }
}

/// The level and the message of each event of a call by this plugin.
async fn logged(
    plugin: &str,
    reference: &str,
) -> (Result<ResourceList, FunctionFailure>, Vec<(String, String)>) {
    LazyLock::force(&EVENTS);
    let function = reference.parse().expect("a reference");
    let executor = KptExecutor::new(KptSettings::default());
    let function = executor.function(&function, true).expect("a function");
    let list = ResourceList {
        items: vec![Item::new(config_map("a"))],
        ..ResourceList::default()
    };
    let call = FunctionCall {
        subject: LogSubject {
            plugin: plugin.to_owned(),
            deployment: Some("d1".to_owned()),
            ..LogSubject::default()
        },
        timeout: Duration::from_mins(1),
        output: 1 << 20,
    };
    let output = run(&function, list, &call).await;
    let mut all = EVENTS.0.lock().expect("no panics");
    let own = |fields: &mut Fields| fields.get("plugin").is_some_and(|name| name == plugin);
    let events: Vec<Fields> = all.extract_if(.., own).collect();
    drop(all);
    let events = events.into_iter().map(|mut fields| {
        assert_eq!(fields["deployment"], "d1");
        let mut part = |name| fields.remove(name).expect(name);
        (part("level"), part("message"))
    });
    (output, events.collect())
}

#[tokio::test]
async fn results_are_logged_with_their_severity() {
    let (output, events) = logged("prepare|reports", &program("report.sh")).await;
    let failure = output.expect_err("a result is an error");
    assert!(
        matches!(failure, FunctionFailure::Reported { .. }),
        "{failure}"
    );
    let expected = [
        ("INFO", "spec.replicas: set"),
        ("WARN", "only a warning"),
        ("ERROR", "ConfigMap prod/a: data.key: too short"),
    ];
    let expected = expected.map(|(level, text)| (level.to_owned(), text.to_owned()));
    assert_eq!(events, expected);
}

#[cfg(feature = "wasm")]
#[tokio::test]
async fn stderr_of_webassembly_is_logged() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions/wasm/stderr.wat");
    let (output, events) = logged("prepare|prints", &format!("wasm:{}", folder.display())).await;
    output.expect_err("it prints no list");
    let expected = ("INFO".to_owned(), "looked at the list".to_owned());
    assert_eq!(events, [expected]);
}
