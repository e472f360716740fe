//! Sharing of equal values, and holders of idempotency keys.

use crate::sample::{commit, deployment, key, puts, state, template, template_id};
use crate::state::MemoryState;
use crate::{commit as commits, sample};
use std::sync::Arc;
use tko_core::{ChangeSet, Entity, Error, Kind, Put, Result, Timestamp};

fn keyed(id: &str, idempotency_key: &str) -> Put {
    deployment(id, |d| d.idempotency_key = Some(idempotency_key.into()))
}

fn try_commit(state: &mut MemoryState, set: ChangeSet) -> Result<()> {
    commits::check(&set)?;
    commits::commit(state, set, Timestamp(1)).map(drop)
}

fn row(state: &MemoryState, id: &str) -> Arc<Entity> {
    let row = state.row(&key(Kind::Deployment, id));
    row.expect("it is there").entity.clone()
}

#[test]
fn taking_an_idempotency_key_of_another_is_a_conflict() {
    let mut state = state([keyed("a", "x"), keyed("b", "y")]);
    let taken = try_commit(&mut state, puts([keyed("b", "x")]));
    assert!(
        matches!(&taken, Err(Error::Conflict(keys)) if *keys == [key(Kind::Deployment, "b")]),
        "{taken:?}"
    );
    assert_eq!(
        row(&state, "b")
            .deployment()
            .expect("one")
            .idempotency_key
            .as_deref(),
        Some("y")
    );
}

#[test]
fn an_idempotency_key_that_was_given_up_is_free() {
    let mut state = state([keyed("a", "x")]);
    commit(&mut state, puts([keyed("a", "z"), keyed("b", "x")]));
    let committed = commit(&mut state, puts([keyed("c", "x"), keyed("d", "z")]));
    let holders: Vec<&str> = committed
        .existing
        .iter()
        .map(|(_, id)| id.as_str())
        .collect();
    assert_eq!(holders, ["b", "a"]);
}

#[test]
fn deployments_share_equal_values() {
    let of = |id: &str| {
        let mut put = deployment(id, |d| d.template = Some(template_id("nf/upf")));
        put.metadata.insert("type", "upf");
        put
    };
    let mut state = state([template("nf/upf", &[("type", "upf")])]);
    commit(&mut state, puts([of("a"), of("b")]));
    let (one, other) = (row(&state, "a"), row(&state, "b"));
    let memory = |entity: &Entity| {
        let deployment = entity.deployment().expect("one");
        let template = deployment.template.as_ref().expect("it has one");
        (
            Arc::as_ptr(&deployment.resource.skeleton),
            template.as_str().as_ptr(),
        )
    };
    assert_eq!(memory(&one), memory(&other));
    assert!(one.metadata.ptr_eq(&other.metadata) && one.given.ptr_eq(&other.given));
    let body = |id: &str| Arc::as_ptr(&state.row(&key(Kind::Deployment, id)).expect("one").body);
    assert_eq!(body("a"), body("b"));
    let template = state.row(&sample::key(Kind::Template, "nf/upf"));
    let template = template.expect("it is there").entity.clone();
    assert!(template.metadata.ptr_eq(&one.metadata));
}
