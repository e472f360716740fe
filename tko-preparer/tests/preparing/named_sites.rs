//! Placements whose named sites are deleted.

use crate::parts::part;
use crate::tracking::{begin, tracking};
use crate::world::{World, reference, site_id, world};
use serde_json::json;
use std::sync::Arc;
use tko_core::{DataApi, Key, Resource};
use tko_preparer::{PREPARED, TRACKED};

async fn delete_site(w: &World, id: &str) {
    let key = Key::from(site_id(id));
    w.store.delete(&key).await.expect("it is there");
}

#[tokio::test(start_paused = true)]
async fn a_named_site_that_is_not_registered_does_not_block_others() {
    let w = world();
    let _running = w.start();
    let id = begin(&w, None).await;
    delete_site(&w, "hub").await;
    w.until(|| async { w.child_sites(&id).await == ["a"] })
        .await;
    let children = w.children(&id).await;
    let has_no_site = |child: &&tko_core::Record| {
        let deployment = child.entity.deployment();
        deployment.is_some_and(|deployment| deployment.site.is_none())
    };
    let orphan = children.iter().find(has_no_site).expect("it stays");
    let deleted = w.store.delete(&orphan.entity.key).await;
    deleted.expect("it is there");
    w.site("b", &[("role", "edge")]).await;
    w.until(|| async { w.child_sites(&id).await == ["a", "b"] })
        .await;
    let said = w.until_says(&id, TRACKED, "Waiting").await;
    let reason = "waiting for site hub, which is not registered";
    assert!(said.contains(reason), "{said}");
    w.site("hub", &[]).await;
    w.until(|| async { w.child_sites(&id).await == ["a", "b", "hub"] })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_placement_waits_for_a_site_that_was_deleted_after_it_was_found() {
    for track in ["Once", "Continuous"] {
        let w = world();
        let _running = w.start();
        w.template("t", vec![]).await;
        for site in ["a", "hub"] {
            w.site(site, &[("role", "edge")]).await;
        }
        let mut resources = tracking(None);
        resources[3]["spec"]["track"] = json!(track);
        resources[3]["spec"]["templates"][0]["merge"] = json!([reference("Asks", "a")]);
        resources.push(part("Asks", "a"));
        let id = w.deploy(resources).await;
        // The Site has its site, and the Placement waits for another resource.
        let said = w.until_says(&id, PREPARED, "Waiting").await;
        assert!(said.contains("waiting until Asks a"), "{said}");
        delete_site(&w, "hub").await;
        w.until_idle().await;
        w.edit(&id, |package| {
            let answer = Resource::new(part("Answer", "a")).expect("valid");
            package.with(Arc::new(answer))
        })
        .await;
        w.until(|| async {
            let message = w.condition(&id, PREPARED).await.message;
            message.contains("waiting for site hub, which is not registered")
        })
        .await;
        assert!(w.children(&id).await.is_empty(), "{track}");
        w.site("hub", &[]).await;
        w.until_prepared(&id).await;
        assert_eq!(w.child_sites(&id).await, ["a", "hub"], "{track}");
    }
}
