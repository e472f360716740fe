//! The input that plugins read, and how they are started.

mod fixture;

use fixture::{Fixture, network, plugin, target};
use serde_json::{Value, json};
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::path::Path;
use tko_core::{Answer, Error, PluginType};
use tko_plugin::{CommandSettings, Grpc, LogChannel};

/// Returns the input that `echo.py` received.
async fn input(fixture: &Fixture) -> Value {
    let error = fixture.prepare(&[&plugin("echo.py")]).await;
    let text = error.expect_err("an echo").chain();
    let at = text
        .find("the plugin reported: ")
        .expect("the plugin's words")
        + "the plugin reported: ".len();
    serde_json::from_str(&text[at..]).expect("JSON")
}

#[tokio::test]
async fn the_input_names_the_data_api_and_the_log_channel() {
    let mut settings = CommandSettings::default();
    let seen = input(&Fixture::with(settings.clone())).await;
    assert_eq!(
        seen["grpc"],
        json!({"level2protocol": "", "address": "", "port": 0})
    );
    assert_eq!(seen["logAddressPort"], "");
    let fifo = Path::new(seen["logFile"].as_str().expect("text"));
    assert!(fifo.is_absolute());
    assert!(
        !fifo.parent().expect("a directory").exists(),
        "it is left behind"
    );
    assert_eq!(
        seen["targetResourceIdentifier"],
        json!({"group": "k8s.cni.cncf.io", "version": "v1", "kind": "NetworkAttachmentDefinition", "name": "n3", "namespace": "upf"})
    );
    let listener: std::net::SocketAddr = "[::]:50050".parse().expect("an address");
    settings.grpc = Some(Grpc::from(listener));
    settings.log_channel = LogChannel::Tcp("127.0.0.1".parse().expect("an address"));
    let seen = input(&Fixture::with(settings)).await;
    assert_eq!(
        seen["grpc"],
        json!({"level2protocol": "tcp6", "address": "::1", "port": 50050})
    );
    assert_eq!(seen["logFile"], "");
    let address = seen["logAddressPort"].as_str().expect("text");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
}

#[tokio::test]
async fn a_package_larger_than_a_pipe_makes_the_round_trip() {
    let fixture = Fixture::new();
    let mut resources = vec![network()];
    for number in 0..40 {
        resources.push(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": format!("large-{number}")},
            "data": {"text": "ä😀\u{2028}\u{7f}\n".repeat(4_000)},
        }));
    }
    let deployment = fixture.deployment(resources).await;
    let preparer = fixture.preparer(&[&plugin("prepare.py")]).await;
    let answer = fixture.call(&*preparer, &deployment).await;
    let Answer::Done { package, .. } = answer.expect("it prepares") else {
        panic!("it is not prepared");
    };
    let old = deployment.package.expect("was wanted");
    assert_eq!(package.len(), old.len());
    for (before, after) in old.iter().zip(&package) {
        assert_eq!(before == after, *after.identifier() != target());
    }
}

#[tokio::test]
async fn python_programs_find_the_python_environment_first() {
    let environment = tempfile::tempdir().expect("a folder");
    let mut settings = CommandSettings::default();
    settings.python_env = Some(environment.path().to_owned());
    let fixture = Fixture::with(settings);
    // The environment does not exist; any Python will do.
    let echoed = fixture.failure(&[&plugin("echo.py")]).await;
    assert!(echoed.contains("the plugin reported: "), "{echoed}");
    let bin = environment.path().join("bin");
    fs::create_dir(&bin).expect("a folder");
    symlink("/bin/false", bin.join("python3")).expect("a link");
    let failure = fixture.failure(&[&plugin("echo.py")]).await;
    assert!(failure.contains("exited with code 1;"), "{failure}");
    let other = fixture
        .failure(&["env", "python3", &plugin("echo.py")])
        .await;
    assert!(other.contains("the plugin reported: "), "{other}");
}

#[tokio::test]
async fn concurrent_processes_stay_within_the_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = CommandSettings::default();
    settings.concurrency = NonZeroUsize::MIN;
    let fixture = Fixture::with(settings);
    // Fails if another process is between `mkdir` and `rmdir`.
    let script = "mkdir \"$0\" && cat > /dev/null && sleep 0.05 && rmdir \"$0\" && echo '{}'";
    let path = folder.path().join("alone");
    let arguments = ["sh", "-c", script, path.to_str().expect("UTF-8")];
    let preparer = fixture.preparer(&arguments).await;
    let deployment = fixture.deployment(vec![network()]).await;
    let call = || fixture.call(&*preparer, &deployment);
    let (a, b, c, d) = tokio::join!(call(), call(), call(), call());
    for answer in [a, b, c, d] {
        let answer = answer.map_err(|error| error.chain());
        assert!(matches!(answer, Ok(Answer::NotYet { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn an_invalid_command_plugin_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    let property = |name: &str| [(name.to_owned(), "x".to_owned())].into();
    for (arguments, properties, words) in [
        (vec![], [].into(), "arguments: none given"),
        (
            vec![""],
            [].into(),
            "arguments: the first argument, the program, is empty",
        ),
        (vec!["a", "b\0"], [].into(), "NUL character"),
        (
            vec!["a"],
            property("_kubernetes.pod"),
            "\"_kubernetes.pod\"",
        ),
    ] {
        let record = fixture
            .plugin_with(PluginType::Prepare, &arguments, properties)
            .await;
        let error = fixture.executor.preparer(&record).err().expect(words);
        assert!(matches!(error, Error::BadArgument { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let record = fixture
        .plugin_with(PluginType::Prepare, &["a"], property("own"))
        .await;
    assert!(fixture.executor.preparer(&record).is_ok());
    for error in [
        fixture.executor.scheduler(&record).err(),
        fixture.executor.validator(&record).err(),
    ] {
        let error = error.expect("another type").to_string();
        assert!(error.contains("prepare|test is not of type"), "{error}");
    }
}
