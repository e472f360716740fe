//! Commands for templates, sites, deployments and plugins, with a running data service.

use crate::harness::{CONFIG, Server, example, filled, sorted, tko};
use serde_json::json;

#[tokio::test]
async fn a_template_is_registered_read_listed_shown_and_deleted() {
    let server = Server::data().await;
    let register = server.tko("template register demo/hello:v1 -m a.b=c --stdin");
    let done = register.stdin(CONFIG).good().await;
    assert!(done.stdout.is_empty());
    assert_eq!(done.stderr, "registered template demo/hello:v1\n");

    let got = server.tko("template get demo/hello:v1").good().await;
    assert_eq!(got.text(), CONFIG);
    assert!(got.stderr.is_empty(), "{got}");

    let list = server.tko("template list -o json").good().await.json();
    assert_eq!(list[0]["templateId"], "demo/hello:v1");
    assert_eq!(list[0]["metadata"], json!({"a.b": "c"}));
    assert_eq!(list[0].get("deploymentIds"), None, "it is empty");
    let updated = list[0]["updated"].as_str().expect("a time");
    assert!(updated.ends_with('Z') && updated.contains('T'), "{updated}");

    let shown = server
        .tko("template show demo/hello:v1 -o json")
        .good()
        .await;
    assert_eq!(
        shown.json()["version"],
        list[0].get("version").cloned().unwrap_or(json!(1))
    );

    server.tko("template delete demo/hello:v1").good().await;
    let gone = server.tko("template get demo/hello:v1").bad(3).await;
    assert!(gone.contains("template demo/hello:v1"), "{gone}");
    let gone = server.tko("template delete demo/hello:v1").bad(3).await;
    assert!(gone.contains("template demo/hello:v1"), "{gone}");
    let list = server.tko("template list").good().await;
    assert_eq!(list.text(), "[]\n");
}

#[tokio::test]
async fn create_prints_the_bare_id_and_get_the_whole_package() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let create = format!(
        "deployment create nf/upf:v1 -s japan/1 -m x=y,z=1 --parent {}",
        ids[0]
    );
    let created = server
        .tko(&create)
        .arg("-u")
        .arg(example("packages/edge-site"))
        .good()
        .await;
    let id = created.line();
    assert!(created.stderr.is_empty(), "{created}");
    let got = server
        .tko(&format!("deployment get {id} -ojson"))
        .good()
        .await
        .json();
    let kinds: Vec<&str> = got
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|resource| resource["kind"].as_str())
        .collect();
    assert_eq!(kinds.len(), 4, "{got}");
    assert!(
        kinds.contains(&"Deployment") && kinds.contains(&"ConfigMap"),
        "{got}"
    );
    let shown = server
        .tko(&format!("deployment show {id} -ojson"))
        .good()
        .await
        .json();
    assert_eq!(shown["parentDeploymentId"], *ids[0]);
    assert_eq!(shown["siteId"], "japan/1");
    assert_eq!(shown["metadata"]["x"], "y");
    assert_eq!(shown["metadata"]["z"], "1");
    assert_eq!(shown["prepared"], false);
    assert_eq!(shown["work"][0]["stage"], "prepare");
}

#[tokio::test]
async fn prepared_deployments_are_approved_by_id_or_by_filter() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let refused = server
        .tko(&format!("deployment approve {}", ids[2]))
        .bad(2)
        .await;
    assert!(refused.contains("not prepared"), "{refused}");
    let unknown = server.tko("deployment approve 0000").bad(3).await;
    assert!(unknown.contains("0000"), "{unknown}");
    let approved = server
        .tko(&format!("deployment approve {}", ids[0]))
        .good()
        .await;
    assert_eq!(approved.stderr, "approved 1 deployments\n");
    let again = server
        .tko(&format!("deployment approve {}", ids[0]))
        .good()
        .await;
    assert_eq!(again.stderr, format!("already approved: {}\n", ids[0]));
    let list = server
        .tko("deployment list --approved -o json")
        .good()
        .await;
    assert_eq!(list.column("deploymentId"), sorted(ids[..2].to_vec()));

    let mut id = String::new();
    for _ in 0..4 {
        let create = server.tko("deployment create nf/smf:v1 -s japan/1 --prepared");
        id = create.good().await.line().to_owned();
    }
    let by_both = |site: &str| server.tko(&format!("deployment approve {id} --site-id {site}"));
    let elsewhere = by_both("india/*").good().await;
    assert_eq!(elsewhere.stderr, "approved 0 deployments\n");
    let modify = server.tko(&format!("deployment mod start {id}"));
    let started = modify.good().await;
    let (token, _) = started.text().split_once('\n').expect("a token first");
    for approve in [
        by_both("japan/*"),
        server.tko(&format!("deployment approve {id}")),
    ] {
        let busy = approve.bad(4).await;
        assert!(busy.contains("modif"), "{busy}");
    }
    let cancel = server.tko(&format!("deployment mod cancel {token}"));
    cancel.good().await;
    let approved = by_both("japan/*").good().await;
    assert_eq!(approved.stderr, "approved 1 deployments\n");
    let approved = server
        .tko("deployment approve --template-id nf/upf:*")
        .good()
        .await;
    assert_eq!(approved.stderr, "approved 0 deployments\n");
    let approved = server
        .tko("deployment approve --site-id japan/*")
        .good()
        .await;
    assert_eq!(approved.stderr, "approved 3 deployments\n");
    let approved = server.tko("deployment approve --all").good().await;
    assert_eq!(approved.stderr, "approved 0 deployments\n");
}

#[tokio::test]
async fn purge_deletes_only_matching_entities() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let purged = server
        .tko("deployment purge --yes --template-id nf/smf:*")
        .good()
        .await;
    assert_eq!(purged.stderr, "deleted 2 deployments\n");
    let purged = server
        .tko("deployment purge --yes --template-id nf/smf:*")
        .good()
        .await;
    assert_eq!(purged.stderr, "deleted 0 deployments\n");
    let list = server.tko("deployment list -ojson").good().await;
    assert_eq!(list.column("deploymentId"), sorted(ids[..2].to_vec()));
    let purged = server
        .tko("site purge --yes --metadata region=north")
        .good()
        .await;
    assert_eq!(purged.stderr, "deleted 2 sites\n");
    let purged = server.tko("template purge --all --yes").good().await;
    assert_eq!(purged.stderr, "deleted 3 templates\n");
    server
        .tko(&format!("deployment delete {}", ids[0]))
        .good()
        .await;
    let left = server.tko("deployment list -ojson").good().await;
    assert_eq!(left.column("deploymentId"), [ids[1].clone()]);
}

#[tokio::test]
async fn plugins_go_by_type_and_name() {
    let server = Server::data().await;
    for register in [
        "plugin register prepare a/gateway /bin/true -g apps,v1,Deployment -r _k=v -r x=a=b",
        "plugin register validate gateway /bin/true one two --trigger ,v1,Service -g apps,v1,Deployment",
        "plugin create schedule other -e remote --trigger example.org,v1,Cluster",
    ] {
        server.tko(register).good().await;
    }
    let server = &server;
    let names = async |filter: &str| {
        let command = format!("plugin list -ojson {filter}");
        let list = server.tko(&command).good().await;
        let (types, names) = (list.column("type"), list.column("name"));
        types
            .iter()
            .zip(&names)
            .map(|(t, n)| format!("{t} {n}"))
            .collect::<Vec<_>>()
    };
    let (prepare, validate, schedule) = ("prepare a/gateway", "validate gateway", "schedule other");
    assert_eq!(sorted(names("").await), [prepare, schedule, validate]);
    assert_eq!(names("-t validate").await, [validate]);
    assert_eq!(names("--type prepare -n **").await, [prepare]);
    assert_eq!(names("-n gateway").await, [validate]);
    assert_eq!(names("-e remote").await, [schedule]);
    assert_eq!(
        sorted(names("-g apps,v1,Deployment").await),
        [prepare, validate]
    );
    assert_eq!(names("--trigger ,v1,Service").await, [validate]);
    assert_eq!(
        names("--trigger ,v1,Service --executor remote").await,
        [""; 0]
    );

    let shown = server
        .tko("plugin get prepare a/gateway -ojson")
        .good()
        .await
        .json();
    assert_eq!(shown["executor"], "command");
    assert_eq!(shown["arguments"], json!(["/bin/true"]));
    assert_eq!(shown["properties"], json!({"_k": "v", "x": "a=b"}));
    assert_eq!(
        shown["triggers"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    // The plugin's own arguments look like flags.
    let dashes = server.tko("plugin register schedule dashes");
    let dashes = dashes.last(format!("{} -- /bin/true --site x -q", server.flags()));
    dashes.good().await;
    let shown = server.tko("plugin get schedule dashes -ojson").good().await;
    assert_eq!(
        shown.json()["arguments"],
        json!(["/bin/true", "--site", "x", "-q"])
    );
    server.tko("plugin delete schedule dashes").good().await;
    server.tko("plugin delete validate gateway").good().await;
    server.tko("plugin get validate gateway").bad(3).await;
    let unknown = server.tko("plugin get sideways gateway").bad(2).await;
    assert!(unknown.contains("sideways"), "{unknown}");
    let purged = server.tko("plugin purge -t schedule").good().await;
    assert_eq!(purged.stderr, "deleted 1 plugins\n");
    assert_eq!(names("").await, [prepare]);
}

#[tokio::test]
async fn about_shows_the_server() {
    let server = Server::start("data start --name lab --description two_words").await;
    let about = server.tko("about -ojson").good().await.json();
    assert_eq!(about["instanceName"], "lab");
    assert_eq!(about["instanceDescription"], "two_words");
    assert_eq!(about["insecure"], false);
    assert_eq!(
        about["grpc"]["addressPorts"],
        json!([format!("127.0.0.1:{}", server.port)])
    );
    assert_eq!(about["grpc"]["defaultPackageFormat"], "cbor");
    let version = tko("version").good().await;
    assert_eq!(about["tkoVersion"], version.line());
}

#[tokio::test]
async fn a_missing_server_is_unavailable() {
    let server = Server::data().await;
    let flags = server.flags();
    server.service.stop().await;
    let error = tko(&format!("template list --grpc-timeout 2s {flags}"))
        .bad(5)
        .await;
    assert!(error.contains("127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_standard_error_that_cannot_be_written_does_not_change_the_exit_code() {
    let server = Server::data().await;
    let mut full = std::fs::OpenOptions::new();
    let full = full.write(true).open("/dev/full").expect("a full device");
    let mut get = server.tko("site get nope").into_command();
    let status = get.stderr(full).status().await.expect("it runs");
    assert_eq!(status.code(), Some(3));
}

#[tokio::test]
async fn a_plugin_whose_executor_no_controller_has_is_warned_of() {
    let server = Server::data().await;
    let registered = server
        .tko("plugin register prepare odd x -e teleport")
        .good()
        .await;
    assert!(
        registered.stderr.contains("warning: plugin prepare|odd: ")
            && registered.stderr.contains("no executor \"teleport\""),
        "{registered}"
    );
    let usual = server.tko("plugin register prepare usual x").good().await;
    assert_eq!(usual.stderr, "registered plugin prepare|usual\n");
    let list = server.tko("plugin list -o json").good().await;
    assert_eq!(list.column("name"), ["odd", "usual"]);
    assert_eq!(list.stderr.matches("warning: ").count(), 1, "{list}");
}

#[tokio::test]
async fn a_plugin_that_its_executor_does_not_run_is_warned_of() {
    let server = Server::data().await;
    for (plugin, warning) in [
        ("validate kpv set-labels:v0.1 -e kpt", "only prepare"),
        ("prepare awx job -e ansible", "only schedule"),
        ("validate none -e command", "needs a program"),
    ] {
        let register = server.tko(&format!("plugin register {plugin}"));
        let stderr = register.good().await.stderr;
        let warned = stderr.lines().find(|line| line.starts_with("warning: "));
        assert!(
            warned.is_some_and(|line| line.contains(warning)),
            "{stderr}"
        );
    }
    let list = server.tko("plugin list").good().await;
    assert_eq!(list.stderr.matches("warning: ").count(), 3, "{list}");
}

#[tokio::test]
async fn states_are_filtered_as_in_the_original() {
    let server = Server::data().await;
    let ids = filled(&server).await;
    let list = |flags: &str| server.tko(&format!("deployment list -o json {flags}"));
    let prepared = list("--prepared").good().await.column("deploymentId");
    for flags in ["--prepared true", "--prepared=true"] {
        assert_eq!(
            list(flags).good().await.column("deploymentId"),
            prepared,
            "{flags}"
        );
    }
    let unprepared = list("--prepared false").good().await.column("deploymentId");
    assert_eq!(prepared.len() + unprepared.len(), ids.len());
    for any in ["--prepared= --approved=", ""] {
        let listed = list(any).good().await.column("deploymentId");
        assert_eq!(listed.len(), ids.len(), "{any:?}");
    }
    let empty = list("--prepared").arg("").good().await;
    assert_eq!(empty.column("deploymentId").len(), ids.len());
    let text = server.tko("deployment list --max-count 1").good().await;
    assert!(
        !text.text().contains("\"\"") && !text.text().contains("updated: \""),
        "{text}"
    );
}
