//! Data in SQLite: kept without a flag, for one server at a time, and what happens to damaged files.

use super::harness::{Run, Server, Service, example, tko};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Starts `tko up` or another server with its data in a folder.
async fn start(command: &str, folder: &Path) -> Server {
    let folder = folder.to_str().expect("a text");
    Server::start(&format!("{command} --backend sqlite --data {folder}")).await
}

fn up(folder: &Path) -> Run {
    tko("up --backend sqlite --grpc-port 0 --data").arg(folder)
}

#[tokio::test]
async fn data_outlive_the_server_that_was_stopped_or_killed() {
    let folder = folder();
    let server = start("up", folder.path()).await;
    let package = example("packages/upf");
    let register = server.tko("template register nf/upf:v1.0.0 --url");
    register.arg(package).good().await;
    server.service.kill().await;

    let server = start("up", folder.path()).await;
    let list = "template list -o json";
    let ids = server.tko(list).good().await.column("templateId");
    assert_eq!(ids, ["nf/upf:v1.0.0"]);
    let create = server.tko("deployment create nf/upf:v1.0.0");
    let id = create.good().await.line().to_owned();
    server.service.stop().await;

    let server = start("data start", folder.path()).await;
    let ids = server.tko("deployment list -o json").good().await;
    assert_eq!(ids.column("deploymentId"), [id]);
    let about = server.tko("about -o json").good().await.json();
    assert_eq!(about["backend"], "sqlite");
    server.service.stop().await;
    let check = tko("backend check -o json --backend sqlite --data").arg(folder.path());
    let report = check.good().await.json();
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(0));
}

/// The first steps of the README, as they stand there, and then a restart.
#[tokio::test]
async fn the_first_steps_of_the_readme_survive_a_restart() {
    let readme = fs::read_to_string(format!("{}/../README.md", env!("CARGO_MANIFEST_DIR")));
    let readme = readme.expect("the README");
    let steps: Vec<&str> = readme
        .lines()
        .filter(|line| {
            let is_step = |start: &&str| line.starts_with(start);
            ["tko template", "tko site", "tko deployment"]
                .iter()
                .any(is_step)
        })
        .collect();
    assert_eq!(steps.len(), 4, "{steps:?}");
    let home = folder();
    let manifests = home.path().join("manifests");
    let begin = || async {
        let path = home.path().to_str().expect("a text");
        let up = format!(
            "up --grpc-ip-stack ipv4 --grpc-port 0 --manifests {}",
            manifests.display()
        );
        let start = tko(&up).env("XDG_DATA_HOME", path).without("TKO_BACKEND");
        let service = Service::spawn(start, "up");
        let serving = service.event("serving gRPC").await;
        let addresses = serving["addresses"].as_str().expect("a text").to_owned();
        let port = addresses.trim_end_matches(']').rsplit_once(':');
        let port = port.map(|(_, port)| port.to_owned()).expect("a port");
        (service, format!(" --grpc-ip-stack ipv4 --grpc-port {port}"))
    };
    let (service, flags) = begin().await;
    let root = format!("{}/../", env!("CARGO_MANIFEST_DIR"));
    for step in &steps {
        let step = step.trim_start_matches("tko ");
        let step = step.replace("examples/", &format!("{root}examples/"));
        tko(&format!("{step}{flags}")).good().await;
    }
    let list = |flags: &str| tko(&format!("deployment list -o json{flags}"));
    let before = list(&flags).good().await.column("deploymentId");
    assert_eq!(before.len(), 1);
    // Killed, not stopped.
    service.kill().await;
    let (service, flags) = begin().await;
    assert_eq!(list(&flags).good().await.column("deploymentId"), before);
    for (what, id) in [("template", "nf/upf:v1.0.0"), ("site", "edge/1")] {
        tko(&format!("{what} show {id}{flags}")).good().await;
    }
    service.stop().await;
}

#[tokio::test]
async fn without_a_flag_the_data_are_in_the_users_folder() {
    let folder = folder();
    let path = folder.path().to_str().expect("a text");
    let start = tko("up --grpc-ip-stack ipv4 --grpc-port 0")
        .env("XDG_DATA_HOME", path)
        .without("TKO_BACKEND");
    let service = Service::spawn(start, "up");
    let keeping = service.event("keeping the data in SQLite").await;
    let file = folder.path().join("tko/tko.db");
    assert_eq!(keeping["file"].as_str(), file.to_str());
    service.event("serving gRPC").await;
    assert!(file.exists());
    service.stop().await;
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let folder = folder();
    let server = start("up", folder.path()).await;
    let said = up(folder.path()).bad(5).await;
    for part in ["in use by process ", ", since 20", "--data"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    // Other commands may read meanwhile.
    let check = tko("backend check --backend sqlite --data").arg(folder.path());
    check.good().await;
    server.service.stop().await;
    start("up", folder.path()).await.service.stop().await;
}

#[tokio::test]
async fn a_file_that_another_server_uses_is_not_cleaned() {
    let folder = folder();
    let path = folder.path().join("o.db");
    let data = format!("data start --backend sqlite:{}", path.display());
    let server = Server::start(&data).await;
    server.tko("site register lab").good().await;
    let clean = format!("{data} --grpc-port 0 --backend-clean");
    let said = tko(&clean).bad(2).await;
    for part in ["other processes use this file", "stop them first"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    // Servers may share a file.
    let second = Server::start(&data).await;
    let list = "site list -o json";
    assert_eq!(second.tko(list).good().await.column("siteId"), ["lab"]);
    second.service.stop().await;
    server.service.stop().await;
    let clean = Server::start(&format!("{data} --backend-clean")).await;
    let warning = "deleting everything in the backend, as --backend-clean says";
    clean.service.event(warning).await;
    assert!(clean.tko(list).good().await.column("siteId").is_empty());
    clean.service.stop().await;
}

/// A page in the middle of a file is not what TKO wrote: a check says so, and what to do.
#[tokio::test]
async fn a_file_that_is_damaged_in_the_middle_is_told_with_a_remedy() {
    let folder = folder();
    let server = start("data start", folder.path()).await;
    for number in 0..50 {
        let register = server.tko(&format!("template register nf/upf:v{number} --url"));
        register.arg(example("packages/upf")).good().await;
    }
    server.service.stop().await;
    // Next to the file of a server there may be another with its last changes, and pages there
    // would hide the damage. A restored file is whole.
    let (backup, restored) = (folder.path().join("backup"), folder.path().join("restored"));
    let keep = tko("backend backup --backend sqlite --data").arg(folder.path());
    keep.arg(&backup).good().await;
    let restore = tko("backend restore --backend sqlite --data").arg(&restored);
    restore.arg(&backup).good().await;
    let path = restored.join("tko.db");
    let mut bytes = fs::read(&path).expect("a file");
    // A page with a template. A file whose pages with the schema are damaged cannot be opened.
    let id = b"nf/upf:v25";
    let place = bytes.windows(id.len()).position(|part| part == id);
    let page = place.expect("the template is in the file") / 4_096;
    for byte in bytes.iter_mut().skip(page * 4_096).take(4_096).step_by(7) {
        *byte ^= 0x5a;
    }
    fs::write(&path, bytes).expect("written");
    let check = tko("backend check --backend sqlite --data").arg(&restored);
    let checked = check.run().await;
    assert_ne!(checked.code(), Some(0), "{checked}");
    for part in ["damaged pages of the file", "tko backend restore"] {
        assert!(checked.text().contains(part), "{part:?}: {checked}");
    }
    assert!(checked.stderr.contains("inconsistent"), "{checked}");
}

#[tokio::test]
async fn a_damaged_file_is_an_error_with_a_remedy() {
    let folder = folder();
    fs::write(folder.path().join("tko.db"), [b'x'; 8_192]).expect("written");
    let said = up(folder.path()).bad(1).await;
    for part in ["is damaged", "tko backend restore"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    let said = tko("backend check --backend sqlite:/nowhere/tko.db")
        .bad(2)
        .await;
    assert!(said.contains("/nowhere/tko.db"), "{said}");
    let said = tko("backend check --backend mysql").bad(2).await;
    assert!(said.contains("sqlite:PATH"), "{said}");
}
