//! Behind a real API server, which `cargo xtask kubernetes` builds.

use crate::kubectl::Output;
use crate::serving::Serving;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{DataApi, Key, Kind};
use tko_krm::{KrmSettings, KubeReviews};
use tko_kubernetes_server::{ApiServer, Authority, Programs};
use tko_serve::{Access, ServerTls};
use tokio::io::AsyncWriteExt;

/// The name that the API server expects in the certificate.
const SERVICE: &str = "tko.tko-system.svc";

async fn run(command: std::process::Command, input: &str) -> Output {
    let mut command = tokio::process::Command::from(command);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.expect("kubectl is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command without input may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(90), child.wait_with_output());
    let output = output.await.expect("in time").expect("a child of ours");
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk
            .iter()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - chunk.len()));
        for at in 0..4 {
            if at <= chunk.len() {
                text.push(char::from(DIGITS[(all >> (18 - 6 * at) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

fn registration(port: u16, ca: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: tko-system\n---\napiVersion: v1\nkind: \
         Service\nmetadata:\n  name: tko\n  namespace: tko-system\nspec:\n  type: ExternalName\n  \
         externalName: localhost\n  ports:\n  - port: {port}\n---\napiVersion: \
         apiregistration.k8s.io/v1\nkind: APIService\nmetadata:\n  name: \
         v1alpha1.tko.nephio.org\nspec:\n  group: tko.nephio.org\n  version: v1alpha1\n  \
         groupPriorityMinimum: 1000\n  versionPriority: 10\n  caBundle: {}\n  service:\n    name: \
         tko\n    namespace: tko-system\n    port: {port}\n",
        base64(ca.as_bytes())
    )
}

const RIGHTS: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: tko-sites
rules:
- apiGroups: [tko.nephio.org]
  resources: [sites]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: tko-sites
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: tko-sites
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: User
  name: alice
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `cargo xtask kubernetes`, then `bash .ci/long kubernetes`"]
async fn the_api_is_served_through_the_aggregator_with_its_rbac() {
    let programs = Programs::find().expect("run `cargo xtask kubernetes` first");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cluster = tokio::task::spawn_blocking(move || ApiServer::start(&programs));
    let cluster = cluster
        .await
        .expect("it does not panic")
        .expect("it starts");
    let kubectl = async |words: &str, input: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        run(cluster.kubectl(&words), input).await
    };
    let alice = async |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        run(cluster.kubectl_as("alice", &words), "").await
    };

    let folder = tempfile::tempdir().expect("a temporary folder");
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let authority = Authority::new("tko-ca");
    let names = [SERVICE, "localhost", "127.0.0.1"];
    let put = |issued: &tko_kubernetes_server::Issued| {
        std::fs::write(&key, &issued.key).expect("a temporary folder");
        std::fs::write(&certificate, &issued.certificate).expect("a temporary folder");
    };
    put(&authority.server(&names));
    let tls = ServerTls::read(&certificate, &key, None).expect("just written");
    let reviews = KubeReviews::connect(Some(&cluster.kubeconfig("admin")))
        .await
        .expect("a kubeconfig");
    let serving = Serving::behind(
        KrmSettings::default(),
        Access::new().tls(tls),
        Some(Arc::new(reviews)),
    )
    .await;
    let id = serving.fill().await;

    let second = Authority::new("tko-ca-2");
    let bundle = authority.pem() + &second.pem();
    kubectl("apply -f -", &registration(serving.address.port(), &bundle))
        .await
        .ok();
    let available = kubectl(
        "wait apiservice v1alpha1.tko.nephio.org --for=condition=Available --timeout=60s",
        "",
    )
    .await;
    assert!(available.success, "{available:?}\n{}", cluster.log());

    // The cluster merges discovery and OpenAPI some time after the service is available.
    let eventually = async |words: &str| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(75);
        loop {
            let output = kubectl(words, "").await;
            if output.success {
                return output.stdout;
            }
            assert!(tokio::time::Instant::now() < deadline, "{output:?}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let all = eventually("get tko").await;
    assert!(
        all.contains("site.tko.nephio.org/india-002fsouth-002d100"),
        "{all}"
    );
    assert!(all.contains(&id), "{all}");
    let explained = eventually("explain sites.spec.templateId").await;
    assert!(
        explained.contains("template into whose package"),
        "{explained}"
    );
    kubectl(&format!("label deployment.tko {id} by=admin"), "")
        .await
        .ok();
    let key_of = Key::new(Kind::Deployment, &id).expect("an id");
    let history = serving.data.history(&key_of, None, 1).await.expect("kept");
    let cause = history[0]
        .cause
        .as_ref()
        .expect("named")
        .as_str()
        .to_owned();
    assert_eq!(cause, "modified by admin via kubernetes");

    let refused = alice("get sites").await.failed();
    assert!(refused.contains("Forbidden"), "{refused}");
    kubectl("apply -f -", RIGHTS).await.ok();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        // The cluster and this server keep refusals for some seconds.
        let sites = alice("get sites").await;
        if sites.success {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{sites:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let refused = alice("get templates").await.failed();
    assert!(refused.contains("cannot list resource"), "{refused}");
    let refused = alice("delete site india-002fsouth-002d100").await.failed();
    assert!(refused.contains("Forbidden"), "{refused}");

    // Without the front proxy: a token is reviewed, headers and others' certificates are not believed.
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).expect("a temporary folder");
    let client = |ca: &str| {
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).expect("PEM");
        reqwest::Client::builder()
            .tls_certs_only([ca])
            .build()
            .expect("a client")
    };
    let url = format!(
        "https://localhost:{}/apis/tko.nephio.org/v1alpha1/sites",
        serving.address.port()
    );
    let direct = client(&authority.pem());
    let status = |request: reqwest::RequestBuilder| async {
        request.send().await.expect("it answers").status().as_u16()
    };
    assert_eq!(status(direct.get(&url)).await, 403, "anonymous");
    let as_admin = direct
        .get(&url)
        .header("X-Remote-User", "admin")
        .header("X-Remote-Group", "system:masters");
    assert_eq!(
        status(as_admin).await,
        403,
        "headers without the certificate of the proxy"
    );
    assert_eq!(
        status(direct.get(&url).bearer_auth(ApiServer::token("alice"))).await,
        200
    );
    assert_eq!(
        status(direct.get(&url).bearer_auth(ApiServer::token("bob"))).await,
        403
    );
    assert_eq!(
        status(direct.get(&url).bearer_auth("no-such-token")).await,
        401
    );
    let impersonated = direct
        .get(&url)
        .bearer_auth(ApiServer::token("alice"))
        .header("Impersonate-User", "admin");
    assert_eq!(status(impersonated).await, 403);

    // Another certificate takes effect without a restart.
    put(&second.server(&names));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let fresh = client(&second.pem());
        let sent = fresh
            .get(&url)
            .bearer_auth(ApiServer::token("alice"))
            .send()
            .await;
        if sent.is_ok() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{sent:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    kubectl("get sites", "").await.ok();

    // Owners among our objects, and namespaces, are collected as ever.
    let uid = kubectl(
        "get site india-002fsouth-002d100 -o jsonpath={.metadata.uid}",
        "",
    )
    .await
    .ok();
    let owned = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: scratch\n---\napiVersion: v1\nkind: \
         ConfigMap\nmetadata:\n  name: owned\n  namespace: scratch\n  ownerReferences:\n  - \
         apiVersion: tko.nephio.org/v1alpha1\n    kind: Site\n    name: \
         india-002fsouth-002d100\n    uid: {uid}\n"
    );
    if cluster.has_controllers() {
        kubectl("apply -f -", &owned).await.ok();
        kubectl("delete site india-002fsouth-002d100", "")
            .await
            .ok();
        let gone = kubectl(
            "wait -n scratch configmap owned --for=delete --timeout=60s",
            "",
        )
        .await;
        assert!(gone.success, "{gone:?}");
        let gone = kubectl("delete namespace scratch --timeout=60s", "").await;
        assert!(gone.success, "{gone:?}");
    }
    serving.stop().await;
}
