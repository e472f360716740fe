//! Log lines and stderr as structured events.

mod fixture;

use fixture::{Fixture, network, plugin, until};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tko_plugin::{CommandSettings, LogChannel};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

type Fields = BTreeMap<&'static str, String>;

/// Collects the events of plugins.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Fields>>>);

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "tko_plugin::log" {
            let mut fields = Fields::new();
            event.record(&mut Visitor(&mut fields));
            self.0.lock().expect("no panics").push(fields);
        }
    }
}

impl Events {
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let events = Self::default();
        let subscriber = tracing_subscriber::registry().with(events.clone());
        (events, tracing::subscriber::set_default(subscriber))
    }

    fn take(&self) -> Vec<Fields> {
        std::mem::take(&mut *self.0.lock().expect("no panics"))
    }

    /// Returns the messages of one stream.
    fn messages(&self, stream: &str) -> Vec<String> {
        let of_stream = |fields: &Fields| fields["stream"] == stream;
        let events = self.take().into_iter().filter(of_stream);
        events
            .map(|mut fields| fields.remove("message").expect("a message"))
            .collect()
    }
}

fn channels() -> [LogChannel; 3] {
    [
        LogChannel::Fifo,
        LogChannel::Tcp("127.0.0.1".parse().expect("an address")),
        LogChannel::Tcp("::1".parse().expect("an address")),
    ]
}

#[tokio::test]
async fn each_line_becomes_an_event_on_every_channel() {
    let (events, _listening) = Events::listen();
    for log_channel in channels() {
        let mut settings = CommandSettings::default();
        settings.log_channel = log_channel;
        let fixture = Fixture::with(settings);
        let deployment = fixture.deployment(vec![network()]).await;
        let preparer = fixture.preparer(&[&plugin("logs.py")]).await;
        let answer = fixture.call(&*preparer, &deployment).await;
        assert!(answer.is_ok(), "{answer:?}");
        let mut seen = events.take();
        for fields in &mut seen {
            let resource = fields.remove("resource");
            assert_eq!(
                resource.as_deref(),
                Some("NetworkAttachmentDefinition upf/n3")
            );
            assert_eq!(fields.remove("plugin").as_deref(), Some("prepare|test"));
            assert_eq!(
                fields.remove("deployment").as_deref(),
                Some(deployment.entity.key.id())
            );
            assert!(!fields.contains_key("site"), "{fields:?}");
        }
        let log: Vec<_> = seen
            .iter()
            .filter(|f| f["stream"] == "log")
            .map(|f| &*f["message"])
            .collect();
        let long = format!("{}… ({} bytes more)", "x".repeat(8192), 1_000_000 - 8192);
        assert_eq!(
            log,
            ["one", "two", "\u{fffd}\u{fffd}", &long, "last"],
            "{log_channel:?}"
        );
        let errors: Vec<_> = seen
            .iter()
            .filter(|f| f["stream"] == "stderr")
            .map(|f| &*f["message"])
            .collect();
        assert_eq!(errors, ["on stderr"]);
    }
}

#[tokio::test]
async fn log_lines_of_a_scheduler_name_the_site() {
    let (events, _listening) = Events::listen();
    let fixture = Fixture::new();
    let site = fixture.site("region/edge", vec![]).await;
    let scheduled = fixture
        .schedule(&[&plugin("logs.py")], &site, &[], &[])
        .await;
    assert!(scheduled.is_ok(), "{scheduled:?}");
    let seen = events.take();
    assert_eq!(seen.len(), 6);
    for fields in seen {
        assert_eq!(fields["site"], "region/edge");
        assert_eq!(fields["resource"], "WorkloadCluster edge");
        assert!(!fields.contains_key("deployment"), "{fields:?}");
    }
}

#[tokio::test]
async fn too_many_lines_are_counted_instead() {
    let (events, _listening) = Events::listen();
    let mut settings = CommandSettings::default();
    settings.log = 1000;
    let fixture = Fixture::with(settings);
    let script = "cat > /dev/null; for n in $(seq 50); do echo $n >&2; done; echo '{}'";
    let answer = fixture.prepare(&["sh", "-c", script]).await;
    assert!(answer.is_ok(), "{answer:?}");
    let messages = events.messages("stderr");
    let mut expected: Vec<_> = (1..=10).map(|number: u32| number.to_string()).collect();
    expected.push("(the plugin wrote too much: 40 more lines were dropped)".to_owned());
    assert_eq!(messages, expected);
}

#[tokio::test]
async fn a_log_may_be_closed_and_opened_again() {
    let (events, _listening) = Events::listen();
    for (log_channel, write) in channels().into_iter().zip([
        "open(call['logFile'], 'w').write(line)",
        "socket.create_connection(call['logAddressPort'].split(':')).sendall(line.encode())",
        "socket.create_connection(('::1', call['logAddressPort'].split(':')[-1])).sendall(line.encode())",
    ]) {
        let mut settings = CommandSettings::default();
        settings.log_channel = log_channel;
        let fixture = Fixture::with(settings);
        let script = format!(
            "import json, socket, sys\ncall = json.load(sys.stdin)\nfor n in range(20):\n  line = str(n)\n  {write}\nprint('{{}}')"
        );
        let answer = fixture.prepare(&["python3", "-c", &script]).await;
        assert!(answer.is_ok(), "{answer:?}");
        let mut messages = events.messages("log").concat();
        let mut expected = (0..20).map(|number: u32| number.to_string()).collect::<String>();
        if log_channel != LogChannel::Fifo {
            // Connections are read concurrently, so their lines come in any order.
            let sorted = |text: &str| {
                let mut characters: Vec<_> = text.chars().collect();
                characters.sort_unstable();
                String::from_iter(characters)
            };
            (messages, expected) = (sorted(&messages), sorted(&expected));
        }
        assert_eq!(messages, expected, "{log_channel:?}");
    }
}

#[tokio::test]
async fn output_after_sigterm_is_kept() {
    let (events, _listening) = Events::listen();
    let fixture = Fixture::new();
    let script =
        "trap 'echo I was slow >&2; exit 1' TERM; echo ready >&2; while :; do sleep 0.01; done";
    let arguments = ["sh", "-c", script];
    let call = fixture.prepare(&arguments);
    let is_ready = |fields: &Fields| fields["message"] == "ready";
    let ready = until(|| {
        let events = events.0.lock().expect("no panics");
        events.iter().any(is_ready).then_some(())
    });
    tokio::pin!(call);
    tokio::select! {
        answer = &mut call => panic!("it answers: {answer:?}"),
        () = ready => {}
    }
    tokio::time::pause();
    // The call's limit is over; its grace is not.
    tokio::time::advance(std::time::Duration::from_millis(30_001)).await;
    tokio::time::resume();
    let words = call.await.expect_err("it is late").chain();
    assert!(words.contains("stderr: ready\n"), "{words}");
    assert!(words.ends_with("\nI was slow"), "{words}");
    assert!(events.messages("stderr").contains(&"I was slow".to_owned()));
}
