//! Every operation of the document, and every role: which is permitted, and which is refused.

use crate::harness::{CONFIG, TestServer, answer, now_ms, sent, store};
use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;
use tko_core::{
    Caller, CallerRole, DataApi, Error, Guarded, Key, Kind, NewDeployment, Pattern, Result,
    RoleGuard, Scope, Token,
};
use tko_http::HttpServerSettings;
use tko_serve::{Access, Authenticate, Credentials};

use CallerRole::{Admin, Author, Operator, Viewer, Worker};
const READERS: &[CallerRole] = &[Viewer, Operator, Author, Worker, Admin];
const OPERATORS: &[CallerRole] = &[Operator, Admin];
const AUTHORS: &[CallerRole] = &[Author, Admin];

/// Names the caller after its token, which is also its role; `india` is an operator there only.
struct ByRole;

#[async_trait]
impl Authenticate for ByRole {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        match credentials.bearer() {
            None => Err(Error::Unauthenticated("send a role".to_owned())),
            Some("nobody") => Caller::new("nobody"),
            Some("india") => {
                let sites = Pattern::id("india/**").expect("a pattern");
                Caller::new("india")?.role_within("operator", Scope::new().site(sites))
            }
            Some(role) => Caller::new(role)?.role(role),
        }
    }
}

/// An operation as the document names it, the query of a request that reaches the API, and the
/// roles that may make it.
type Row = (Method, String, &'static str, &'static [CallerRole]);

fn rows() -> Vec<Row> {
    let (get, put) = (Method::GET, Method::PUT);
    let (post, delete) = (Method::POST, Method::DELETE);
    let mut rows = Vec::new();
    let mut row = |method: &Method, path: &str, query, roles| {
        rows.push((method.clone(), format!("/api/v1/{path}"), query, roles));
    };
    row(&get, "about", "", READERS);
    row(&get, "summary", "", READERS);
    row(&get, "watch", "?kind=site", READERS);
    for (all, writers, retry) in [
        ("templates", AUTHORS, AUTHORS),
        ("sites", AUTHORS, OPERATORS),
        ("plugins", AUTHORS, AUTHORS),
        ("deployments", OPERATORS, OPERATORS),
    ] {
        row(&get, all, "", READERS);
        row(&get, &format!("{all}/{{id}}"), "", READERS);
        row(&get, &format!("{all}/{{id}}/history"), "", READERS);
        if all != "plugins" {
            row(&get, &format!("{all}/{{id}}/package"), "", READERS);
        }
        if all != "deployments" {
            row(&put, &format!("{all}/{{id}}"), "", writers);
        }
        row(&delete, &format!("{all}/{{id}}"), "", writers);
        row(&post, &format!("{all}/{{id}}/retry"), "", retry);
        row(&post, &format!("{all}:purge"), "?all=true", writers);
    }
    row(&post, "deployments", "?template=none", OPERATORS);
    row(&put, "deployments/{id}/package", "", OPERATORS);
    row(&get, "deployments/{id}/difference", "", READERS);
    row(&post, "deployments/{id}/approve", "", OPERATORS);
    row(&post, "deployments/{id}/modification", "", OPERATORS);
    row(&post, "deployments:approve", "?all=true", OPERATORS);
    row(&put, "modifications/{token}", "", OPERATORS);
    row(&delete, "modifications/{token}", "", OPERATORS);
    rows
}

/// The endpoints of the original, which are not in the document.
const COMPATIBLE: [&str; 5] = [
    "/api/about",
    "/api/site/list",
    "/api/template?id=none",
    "/api/plugin/list",
    "/api/deployment/list",
];

async fn status(server: &TestServer, method: &Method, path: &str, role: &str) -> StatusCode {
    let is_plugin = path.contains("/plugins/");
    let request = server.client.request(method.clone(), server.url(path));
    let request = request.bearer_auth(role).header("if-match", "\"1\"");
    let request = match *method {
        Method::PUT if is_plugin => request
            .header("content-type", "application/json")
            .body(r#"{"executor": "command"}"#),
        _ => request,
    };
    let request = if is_plugin || *method != Method::PUT {
        // A DELETE at this version would be 412, and the other calls have no preconditions.
        let mut request = request.build().expect("a request");
        request.headers_mut().remove("if-match");
        reqwest::RequestBuilder::from_parts(server.client.clone(), request)
    } else {
        request
    };
    request.send().await.expect("an answer").status()
}

/// A server whose callers have the role that is their token.
async fn by_role() -> TestServer {
    let store = store();
    let guarded = Arc::new(Guarded::new(Arc::new(store.clone()), RoleGuard::new()));
    let access = Access::new().authentication(Arc::new(ByRole));
    let settings = HttpServerSettings::default();
    TestServer::serving(guarded, store, settings, access, 0).await
}

#[tokio::test]
async fn a_page_without_the_role_for_its_action_is_forbidden() {
    let server = by_role().await;
    let put = server.put("/api/v1/sites/lab").bearer_auth("author");
    let put = put.header("content-type", "application/yaml").body(CONFIG);
    answer(put, StatusCode::OK).await;
    for (role, status) in [
        ("viewer", StatusCode::FORBIDDEN),
        ("author", StatusCode::SEE_OTHER),
    ] {
        let delete = server
            .post("/apply/sites")
            .bearer_auth(role)
            .header("accept", "text/html")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "action=delete&q=&id=lab&count=1&asked={}",
                now_ms()
            ));
        sent(delete, status).await;
    }
}

#[tokio::test]
async fn the_overview_says_nothing_about_all_to_a_restricted_caller() {
    let server = by_role().await;
    let overview = async |role: &str| {
        let get = server.get("/").bearer_auth(role);
        let page = sent(get.header("accept", "text/html"), StatusCode::OK).await;
        page.text().await.expect("a page")
    };
    let parts = [
        "<b>0</b>",
        "id=\"reasons\"",
        "id=\"work\"",
        "id=\"troubled\"",
    ];
    let all = overview("viewer").await;
    for part in parts {
        assert!(all.contains(part), "{part}: {all}");
    }
    let restricted = overview("india").await;
    for part in parts {
        assert!(!restricted.contains(part), "{part}: {restricted}");
    }
    for claim in ["All sites are well", "Nothing is in the way"] {
        assert!(!restricted.contains(claim), "{claim}: {restricted}");
    }
    for part in [
        "You see a part of this installation",
        "/deployments?q=--state%20failing",
    ] {
        assert!(restricted.contains(part), "{part}: {restricted}");
    }
}

#[tokio::test]
async fn s10_every_operation_has_its_roles() {
    let server = by_role().await;
    let data = server.store.clone();

    let document = server.get("/api/v1/openapi.json").bearer_auth("viewer");
    let document = answer(document, StatusCode::OK).await;
    let paths = document["paths"].as_object().expect("paths");
    let documented: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let rows = rows();
    let covered: BTreeSet<String> = rows
        .iter()
        .map(|(method, path, ..)| format!("{method} {path}"))
        .collect();
    assert_eq!(covered, documented, "an operation is missing in the table");

    let key = Key::new(Kind::Deployment, "none").expect("an id");
    let token = Token::new(key, "none").encode().replace('|', "%7C");
    let compatible = COMPATIBLE.map(|path| (Method::GET, path.to_owned(), "", READERS));
    for (method, path, query, roles) in rows.into_iter().chain(compatible) {
        let id = if path.contains("/plugins/") {
            "prepare%7Cnone"
        } else {
            "none"
        };
        let at = path.replace("{id}", id).replace("{token}", &token);
        let at = format!("{at}{query}");
        for role in CallerRole::ALL {
            // What is approved already, or missing, is answered by what any reader may know.
            let at = if at.ends_with("/none/approve") {
                let new = NewDeployment::new().prepared(true);
                let id = data.create_deployment(new).await.expect("valid");
                at.replace("none", id.as_str())
            } else {
                at.clone()
            };
            let status = status(&server, &method, &at, role.name()).await;
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {at} as {role}");
            let refused = status == StatusCode::FORBIDDEN;
            let permitted = roles.contains(&role);
            assert_ne!(refused, permitted, "{method} {at} as {role}: {status}");
        }
        let nobody = status(&server, &method, &at, "nobody").await;
        assert_eq!(nobody, StatusCode::FORBIDDEN, "{method} {at} as nobody");
        let unauthenticated = server.client.request(method.clone(), server.url(&at));
        let unauthenticated = unauthenticated.send().await.expect("an answer").status();
        assert_eq!(unauthenticated, StatusCode::UNAUTHORIZED, "{method} {at}");
    }
}
