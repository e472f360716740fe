//! The web dashboard: pages rendered here, kept live by one small script and one event stream.
//!
//! | file | contents |
//! |---|---|
//! | `overview`, `lists`, `deployment`, `entity`, `topology`, `activity`, `about` | the pages |
//! | `approval` | the change that waits for approval |
//! | `confirm`, `result`, `edit`, `retry`, `sign_in` | the actions |
//! | `events` | the events that an open page receives |
//! | `shell` | what every page shows around its content |
//! | `html`, `yaml`, `diff`, `package`, `reason` | how things are shown |
//! | `sorted` | lists in the order of time |
//!
//! Everything that comes from outside is escaped: by the templates, and by [`html::Html`].

mod about;
mod activity;
mod approval;
mod assets;
mod confirm;
mod deployment;
mod diff;
mod edit;
mod entity;
mod events;
mod history;
mod html;
mod lists;
mod overview;
mod package;
mod page;
mod reason;
mod result;
mod retry;
mod rows;
mod shell;
mod sign_in;
mod sorted;
mod topology;
mod yaml;

pub(crate) use crate::query::encoded;
pub(crate) use page::missing_page;

use crate::context::SharedContext;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use tko_core::{Key, Kind};

/// Maximum size of the body of a request without credentials, in bytes: a token and a path.
const MAX_UNAUTHENTICATED_BODY: usize = 16 << 10;

/// The pages that need a caller.
pub(crate) fn routes() -> Router<SharedContext> {
    Router::new()
        .route("/", get(overview::page))
        .route("/events", get(events::events))
        .route("/activity", get(activity::page))
        .route("/about", get(about::page))
        .route("/deployments/{id}", get(deployment::page))
        .route("/deployments/{id}/compare", get(history::compare))
        .route("/deployments/{id}/topology", get(topology::page))
        .route("/deployments/{id}/approve", post(confirm::approve_one))
        .route(
            "/deployments/{id}/edit",
            get(edit::to_deployment).post(edit::start),
        )
        .route("/deployments/{id}/check", post(edit::check))
        .route(
            "/deployments/{id}/save",
            get(edit::to_deployment).post(edit::save),
        )
        .route("/deployments/{id}/retry", post(retry::retry))
        .route("/sites/{id}/retry", post(retry::retry))
        .route("/templates/{id}", get(entity::page))
        .route("/sites/{id}", get(entity::page))
        .route("/plugins/{id}", get(entity::page))
        .route("/{collection}", get(lists::page))
        .route("/rows/{collection}", get(lists::changed_rows))
        .route(
            "/confirm/{collection}",
            get(confirm::ask).post(confirm::ask_form),
        )
        .route(
            "/apply/{collection}",
            get(confirm::to_list).post(confirm::apply),
        )
        .layer(from_fn(page::problems_as_pages))
}

/// The pages that need no credentials.
pub(crate) fn public_routes() -> Router<SharedContext> {
    assets::routes()
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .layer(DefaultBodyLimit::max(MAX_UNAUTHENTICATED_BODY))
        .route("/sign-out", post(sign_in::sign_out))
}

/// The path of an entity's page.
pub(crate) fn path(key: &Key) -> String {
    format!("/{}/{}", crate::api::plural(key.kind()), encoded(key.id()))
}

/// The kinds in the order of the navigation, with their names.
pub(crate) fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment => "Deployments",
        Kind::Site => "Sites",
        Kind::Template => "Templates",
        Kind::Plugin => "Plugins",
    }
}
