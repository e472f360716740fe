//! A server with the part of AWX's API that the executor uses: paths, fields and status codes are
//! those of the AWX API reference.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// A job as the server knows it.
#[derive(Clone, Debug)]
pub(crate) struct ServedJob {
    pub(crate) id: i64,
    pub(crate) status: String,
    pub(crate) variables: Value,
    pub(crate) inventory: Value,
}

/// What the server holds, and how it fails.
#[derive(Debug, Default)]
pub(crate) struct AwxState {
    pub(crate) jobs: Vec<ServedJob>,
    pub(crate) cancelled: Vec<i64>,
    /// How many more requests for a cancelled job show that it runs.
    pub(crate) stopping: usize,
    /// How many jobs were launched while another one of their site ran.
    pub(crate) overlaps: usize,
    /// Statuses that requests for a job get, in order; the last stays.
    pub(crate) statuses: Vec<&'static str>,
    /// How many times a job was asked for.
    pub(crate) asked: usize,
    /// Requests that fail with this status from now on: how many, and the status.
    pub(crate) failing: (usize, u16),
    /// The next launch is done, and its answer is lost.
    pub(crate) losing: bool,
    /// Requests are answered with a page for browsers, as a proxy before AWX does.
    pub(crate) proxied: bool,
    /// Every answer takes this long.
    pub(crate) delay: std::time::Duration,
    /// Fields of a launch that the template does not prompt for.
    pub(crate) ignored: Vec<&'static str>,
    pub(crate) requests: usize,
    /// How many jobs lists have shown.
    pub(crate) listed: usize,
    /// How many bytes the variables of each of these jobs have in addition.
    pub(crate) more_bytes: HashMap<i64, usize>,
}

/// A running server.
pub(crate) struct AwxServer {
    pub(crate) url: String,
    pub(crate) state: Arc<Mutex<AwxState>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for AwxServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = State<Arc<Mutex<AwxState>>>;

impl AwxServer {
    /// Starts a server; each job gets these statuses, one after the other.
    pub(crate) async fn start(statuses: &[&'static str]) -> Self {
        let state = Arc::new(Mutex::new(AwxState {
            statuses: statuses.to_vec(),
            ..AwxState::default()
        }));
        let router = Router::new()
            .route("/api/v2/job_templates/", get(templates))
            .route("/api/v2/inventories/", get(inventories))
            .route("/api/v2/job_templates/{id}/jobs/", get(jobs))
            .route("/api/v2/job_templates/{id}/launch/", post(launch))
            .route("/api/v2/jobs/{id}/", get(job))
            .route("/api/v2/jobs/{id}/stdout/", get(stdout))
            .route("/api/v2/jobs/{id}/cancel/", post(cancel))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = router.layer(axum::middleware::from_fn_with_state(state.clone(), slowly));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, state, task }
    }

    pub(crate) fn with<T>(&self, edit: impl FnOnce(&mut AwxState) -> T) -> T {
        edit(&mut self.state.lock().expect("no test panicked"))
    }
}

/// Answers after the delay that is set.
async fn slowly(
    state: Shared,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let delay = state.0.lock().expect("no test panicked").delay;
    let answer = next.run(request).await;
    tokio::time::sleep(delay).await;
    answer
}

/// The refusal that is due, if any.
fn refusal(state: &Shared, headers: &HeaderMap) -> Option<Response> {
    let mut state = state.0.lock().expect("no test panicked");
    state.requests += 1;
    if state.failing.0 > 0 {
        state.failing.0 -= 1;
        let status = StatusCode::from_u16(state.failing.1).expect("a status");
        return Some((status, "{\"detail\":\"as told\"}").into_response());
    }
    if state.proxied {
        return Some("<html>Log in</html>".into_response());
    }
    let login = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    // user:word, encoded; or the token.
    if !matches!(login, Some("Basic dXNlcjp3b3Jk" | "Bearer token")) {
        let detail = "{\"detail\":\"Authentication credentials were not provided.\"}";
        return Some((StatusCode::UNAUTHORIZED, detail).into_response());
    }
    None
}

fn page(results: &[Value]) -> Response {
    let body = json!({
        "count": results.len(), "next": null, "previous": null, "results": results,
    });
    body.to_string().into_response()
}

async fn templates(
    state: Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    match query.get("name").map(String::as_str) {
        Some("deploy") => page(&[json!({"id": 7, "name": "deploy"})]),
        Some("twice") => page(&[json!({"id": 8}), json!({"id": 9})]),
        _ => page(&[]),
    }
}

async fn inventories(
    state: Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    match query.get("name").map(String::as_str) {
        Some("both") => page(&[json!({"id": 4}), json!({"id": 5})]),
        Some("edges") => page(&[json!({"id": 3, "name": "edges"})]),
        _ => page(&[]),
    }
}

fn shown(job: &ServedJob) -> Value {
    json!({
        "id": job.id, "status": job.status, "extra_vars": job.variables.to_string(),
        "job_explanation": if job.status == "failed" { "a task failed" } else { "" },
    })
}

/// White space in place of variables that would take long to encode.
fn padding<'a>(state: &AwxState, jobs: impl IntoIterator<Item = &'a ServedJob>) -> String {
    let sizes = jobs
        .into_iter()
        .filter_map(|job| state.more_bytes.get(&job.id));
    " ".repeat(sizes.sum())
}

/// Newest first, in pages.
async fn jobs(
    state: Shared,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    assert_eq!(query["order_by"], "-id");
    let size: usize = query["page_size"].parse().expect("a size");
    let number: usize = query["page"].parse().expect("a page");
    let oldest = query.get("id__gte");
    let oldest: i64 = oldest.map_or(0, |id| id.parse().expect("a number"));
    let mut state = state.0.lock().expect("no test panicked");
    let newest = state.jobs.iter().rev().filter(|job| job.id >= oldest);
    let newest: Vec<&ServedJob> = newest.collect();
    let (count, from) = (newest.len(), size * (number - 1));
    if number > 1 && from >= count {
        return (StatusCode::NOT_FOUND, "{\"detail\":\"Invalid page.\"}").into_response();
    }
    let page = newest.into_iter().skip(from).take(size);
    let results: Vec<Value> = page.clone().map(shown).collect();
    let padding = padding(&state, page);
    let next = format!("/api/v2/job_templates/7/jobs/?page={}", number + 1);
    let next = (count > from + size).then_some(next);
    state.listed += results.len();
    let body = json!({"count": count, "next": next, "results": results});
    format!("{body}{padding}").into_response()
}

async fn launch(
    state: Shared,
    headers: HeaderMap,
    Path(id): Path<i64>,
    body: axum::body::Bytes,
) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    assert_eq!(id, 7, "the template named deploy");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let mut state = state.0.lock().expect("no test panicked");
    let site = &body["extra_vars"]["tko_site"];
    let is_active = |job: &ServedJob| matches!(&*job.status, "pending" | "waiting" | "running");
    let mut of_site = state
        .jobs
        .iter()
        .filter(|job| job.variables["tko_site"] == *site);
    let overlaps = of_site.any(is_active);
    state.overlaps += usize::from(overlaps);
    let number = 100 + i64::try_from(state.jobs.len()).expect("few jobs");
    state.jobs.push(ServedJob {
        id: number,
        status: "pending".to_owned(),
        variables: body["extra_vars"].clone(),
        inventory: body["inventory"].clone(),
    });
    state.asked = 0;
    if std::mem::take(&mut state.losing) {
        return (StatusCode::BAD_GATEWAY, "the answer is lost").into_response();
    }
    let ignored: serde_json::Map<String, Value> = state
        .ignored
        .iter()
        .map(|name| ((*name).to_owned(), json!({})))
        .collect();
    let answer = json!({"job": number, "id": number, "ignored_fields": ignored});
    (StatusCode::CREATED, answer.to_string()).into_response()
}

async fn job(state: Shared, headers: HeaderMap, Path(id): Path<i64>) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    let mut state = state.0.lock().expect("no test panicked");
    let is_cancelled = state.cancelled.contains(&id);
    let status = if is_cancelled && state.stopping > 0 {
        state.stopping -= 1;
        "running"
    } else if is_cancelled {
        "canceled"
    } else {
        let asked = state.asked.min(state.statuses.len() - 1);
        state.asked += 1;
        state.statuses[asked]
    };
    if status == "gone" {
        state.jobs.retain(|job| job.id != id);
    }
    let Some(job) = state.jobs.iter_mut().find(|job| job.id == id) else {
        return (StatusCode::NOT_FOUND, "{\"detail\":\"Not found.\"}").into_response();
    };
    status.clone_into(&mut job.status);
    let job = job.clone();
    format!("{}{}", shown(&job), padding(&state, [&job])).into_response()
}

async fn stdout(state: Shared, headers: HeaderMap, Path(_): Path<i64>) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    let lines: Vec<String> = (1..=50).map(|line| format!("line {line}\x1b[0m")).collect();
    format!("{}\n\n", lines.join("\n")).into_response()
}

async fn cancel(state: Shared, headers: HeaderMap, Path(id): Path<i64>) -> Response {
    if let Some(refusal) = refusal(&state, &headers) {
        return refusal;
    }
    state.0.lock().expect("no test panicked").cancelled.push(id);
    StatusCode::ACCEPTED.into_response()
}
