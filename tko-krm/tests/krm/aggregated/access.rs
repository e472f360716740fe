//! Delegated authentication and authorization.

use super::behind::Behind;
use crate::requests::tls_client;
use reqwest::{Client, Method, RequestBuilder};
use std::fmt::Write as _;
use std::time::Duration;
use tko_core::{DataApi, Key, Kind};
use tko_kubernetes_server::{ApiServer, Authority};
use tokio::time::{Instant, sleep};

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

const GROUP: &str = "/apis/tko.nephio.org/v1alpha1";

/// A request of this verb that changes nothing.
fn request(client: &Client, base: &str, verb: &str, resource: &str) -> RequestBuilder {
    let all = format!("{base}{GROUP}/{resource}");
    let one = format!("{all}/no-such-object");
    let body = "{}";
    match verb {
        "get" => client.get(one),
        "list" => client.get(all),
        "watch" => client.get(format!("{all}?watch=true&timeoutSeconds=1")),
        "create" => client.post(format!("{all}?dryRun=All")).body(body),
        "update" => client.put(format!("{one}?dryRun=All")).body(body),
        "patch" => client
            .patch(format!("{one}?dryRun=All"))
            .header("Content-Type", "application/merge-patch+json")
            .body(body),
        "delete" => client.delete(format!("{one}?dryRun=All")),
        "deletecollection" => client.delete(format!("{all}?dryRun=All")),
        _ => client.request(Method::OPTIONS, all),
    }
}

/// A role for each verb, and its user.
fn roles() -> String {
    let mut text = String::new();
    for verb in VERBS {
        write!(
            text,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: \
             tko-{verb}\nrules:\n- apiGroups: [tko.nephio.org]\n  resources: [sites]\n  verbs: \
             [{verb}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: \
             ClusterRoleBinding\nmetadata:\n  name: tko-{verb}\nroleRef:\n  apiGroup: \
             rbac.authorization.k8s.io\n  kind: ClusterRole\n  name: tko-{verb}\nsubjects:\n- \
             apiGroup: rbac.authorization.k8s.io\n  kind: User\n  name: may-{verb}\n---\n"
        )
        .expect("a string takes anything");
    }
    text
}

/// What alice, and the group `approvers`, may do.
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
kind: ClusterRole
metadata:
  name: tko-approve
rules:
- apiGroups: [tko.nephio.org]
  resources: [deployments/approval]
  verbs: [get, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: tko-one-template
rules:
- apiGroups: [tko.nephio.org]
  resources: [templates]
  resourceNames: [demo-002fhello-002dworld-003av1.0.0]
  verbs: [get]
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
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: tko-approve
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: tko-approve
subjects:
- apiGroup: rbac.authorization.k8s.io
  kind: Group
  name: approvers
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: tko-one-template
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: tko-one-template
subjects:
- kind: ServiceAccount
  name: default
  namespace: tko-system
";

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("it answers").status().as_u16()
}

/// Waits until the cluster and this server have forgotten their refusals.
async fn until_allowed(what: &str, mut request: impl FnMut() -> RequestBuilder) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while status(request()).await == 403 {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn rbac_decides_by_verb_and_resource() {
    let behind = Behind::start().await;
    let refused = behind.alice("get sites").await.failed();
    assert!(refused.contains("Forbidden"), "{refused}");
    let roles = behind.kubectl("apply -f -", &(roles() + RIGHTS)).await;
    roles.ok();

    let (http, base) = (behind.cluster_client(), behind.cluster.url());
    let asked = |user: &str, verb: &str, resource: &str| {
        request(&http, &base, verb, resource)
            .bearer_auth(ApiServer::token("admin"))
            .header("Impersonate-User", user)
    };
    for verb in VERBS {
        until_allowed(verb, || asked(&format!("may-{verb}"), verb, "sites")).await;
    }
    for user in VERBS {
        for verb in VERBS {
            let name = format!("may-{user}");
            let allowed = status(asked(&name, verb, "sites")).await != 403;
            assert_eq!(allowed, user == verb, "{name}: {verb} sites");
            let elsewhere = status(asked(&name, verb, "templates")).await;
            assert_eq!(elsewhere, 403, "{name}: {verb} templates");
        }
    }

    // Through kubectl, with messages for people.
    until_allowed("alice", || asked("alice", "list", "sites")).await;
    behind.alice("get sites").await.ok();
    let refused = behind.alice("get templates").await.failed();
    assert!(refused.contains("cannot list resource"), "{refused}");
    let refused = behind.alice("delete site india-002fsouth-002d100").await;
    assert!(refused.failed().contains("Forbidden"));
    let can = behind.alice("auth can-i list sites.tko.nephio.org").await;
    assert_eq!(can.ok().trim(), "yes");

    // Subresources and names are rights of their own; groups and service accounts come through.
    let approve = |sub: &str| {
        let url = format!("{base}{GROUP}/deployments/{}{sub}?dryRun=All", behind.id);
        http.patch(url)
            .bearer_auth(ApiServer::token("admin"))
            .header("Impersonate-User", "carol")
            .header("Impersonate-Group", "approvers")
            .header("Content-Type", "application/merge-patch+json")
            .body("{}")
    };
    until_allowed("approval", || approve("/approval")).await;
    assert_eq!(status(approve("")).await, 403);
    assert_eq!(status(approve("/status")).await, 403);
    let token = behind
        .kubectl("create token default -n tko-system", "")
        .await;
    let token = token.ok();
    let template = |name: &str| {
        let url = format!("{base}{GROUP}/templates/{name}");
        http.get(url).bearer_auth(token.trim())
    };
    let its_own = "demo-002fhello-002dworld-003av1.0.0";
    until_allowed("a service account", || template(its_own)).await;
    assert_eq!(status(template(its_own)).await, 200);
    assert_eq!(status(template("another")).await, 403);

    // The cause of a change names its user.
    let words = format!("label deployment.tko {} by=admin", behind.id);
    behind.kubectl(&words, "").await.ok();
    let key = Key::new(Kind::Deployment, &behind.id).expect("an id");
    let history = behind.serving.data.history(&key, None, 1).await;
    let cause = history.expect("kept")[0].cause.clone().expect("named");
    assert_eq!(cause.as_str(), "modified by admin via kubernetes");
    behind.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: `bash .ci/long kubernetes`"]
async fn only_the_front_proxy_is_believed_and_others_show_who_they_are() {
    let behind = Behind::start().await;
    behind.kubectl("apply -f -", RIGHTS).await.ok();
    let (url, ca) = (behind.direct(), behind.first.pem());
    let anyone = tls_client(&ca, None);
    until_allowed("alice", || {
        anyone.get(&url).bearer_auth(ApiServer::token("alice"))
    })
    .await;
    let named = |client: &Client, user: &str, group: &str| {
        let request = client.get(&url).header("X-Remote-User", user);
        request.header("X-Remote-Group", group)
    };
    let name = ApiServer::front_proxy_name();
    let proxy = behind.cluster.front_proxy();
    let trusted = tls_client(&ca, Some(&proxy.client(name, &[])));
    assert_eq!(status(named(&trusted, "alice", "any")).await, 200);
    assert_eq!(status(named(&trusted, "bob", "any")).await, 403);
    assert_eq!(status(named(&trusted, "bob", "system:masters")).await, 200);
    // The front proxy has no rights of its own.
    assert_ne!(status(trusted.get(&url)).await, 200);

    // Headers without the right certificate count for nothing.
    let masters = "system:masters";
    for (what, issued) in [
        ("another name", Some(proxy.client("another", &[]))),
        (
            "another authority",
            Some(Authority::new("front-proxy-ca").client(name, &[])),
        ),
        (
            "the authority of clients",
            Some(behind.cluster.authority().client(name, &[])),
        ),
        ("no certificate", None),
    ] {
        let client = tls_client(&ca, issued.as_ref());
        let answered = status(named(&client, "admin", masters)).await;
        assert!(matches!(answered, 401 | 403), "{what}: {answered}");
    }

    // Clients of the cluster's authority are whom their certificate names.
    let of_cluster = |name: &str, groups: &[&str]| {
        tls_client(&ca, Some(&behind.cluster.authority().client(name, groups)))
    };
    assert_eq!(status(of_cluster("alice", &[]).get(&url)).await, 200);
    assert_eq!(status(of_cluster("bob", &[]).get(&url)).await, 403);
    assert_eq!(status(of_cluster("root", &[masters]).get(&url)).await, 200);
    let claims = named(&of_cluster("bob", &[]), "admin", masters);
    assert_eq!(status(claims).await, 403);

    // Tokens are reviewed.
    assert_eq!(status(anyone.get(&url)).await, 403, "anonymous");
    let bob = anyone.get(&url).bearer_auth(ApiServer::token("bob"));
    assert_eq!(status(bob).await, 403);
    let unknown = anyone.get(&url).bearer_auth("no-such-token");
    assert_eq!(status(unknown).await, 401);
    let impersonated = anyone
        .get(&url)
        .bearer_auth(ApiServer::token("alice"))
        .header("Impersonate-User", "admin");
    assert_eq!(status(impersonated).await, 403);
    behind.stop().await;
}
