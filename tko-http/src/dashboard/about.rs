//! The page about the instance, the keys and the states.

use super::page::{PageResult, rendered};
use super::shell::Shell;
use crate::context::{ApiCaller, SharedContext};
use crate::query::ApiQuery;
use askama::Template;
use axum::extract::State;
use tko_core::view::DeploymentState;

#[derive(Template)]
#[template(path = "about.html")]
struct AboutPage {
    shell: Shell,
    description: String,
    facts: Vec<(&'static str, String)>,
    states: [(&'static str, &'static str); 6],
}

pub(super) async fn page(
    State(context): State<SharedContext>,
    caller: ApiCaller,
    query: ApiQuery,
) -> PageResult {
    query.end()?;
    let shell = Shell::new(&context, &caller, "About", "/about", "none").await?;
    let about = caller.api.about().await?;
    let position = caller.api.feed_position().await?;
    let addresses: Vec<String> = context.addresses.iter().map(ToString::to_string).collect();
    let roles: Vec<&str> = caller.caller.roles().collect();
    let facts = vec![
        ("Name", context.settings.name.clone()),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Backend", about.backend),
        ("HTTP", addresses.join(" and ")),
        ("TLS", if context.tls { "yes" } else { "no" }.to_owned()),
        (
            "Feed",
            format!(
                "revisions {} to {}",
                position.oldest.0 + 1,
                position.revision
            ),
        ),
        ("You", caller.caller.name().to_owned()),
        (
            "Your roles",
            if roles.is_empty() {
                "none".to_owned()
            } else {
                roles.join(", ")
            },
        ),
    ];
    rendered(&AboutPage {
        description: context.settings.description.clone(),
        shell,
        facts,
        states: DeploymentState::ALL.map(|state| (state.as_str(), state.description())),
    })
}
