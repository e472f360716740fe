//! A few entities to list, filter and delete.

use super::server::Server;

/// A package of one resource, as `get` prints it.
pub(crate) const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config\ndata:\n  a: b\n";

/// Registers two templates and three sites and creates deployments; returns the ids of the
/// deployments.
pub(crate) async fn filled(server: &Server) -> Vec<String> {
    for (id, metadata) in [
        ("nf/upf:v1", "type=nf,vendor=acme"),
        ("nf/smf:v1", "type=nf"),
        ("site/edge:v1", "type=site"),
    ] {
        let register = format!("template register {id} -m {metadata} --stdin");
        server.tko(&register).stdin(CONFIG).good().await;
    }
    for (id, region) in [
        ("india/north/1", "north"),
        ("india/south/1", "south"),
        ("japan/1", "north"),
    ] {
        let register = format!("site register {id} site/edge:v1 --metadata region={region}");
        server.tko(&register).good().await;
    }
    let mut ids = Vec::new();
    for create in [
        "deployment create nf/upf:v1 -s india/north/1 --prepared",
        "deployment create nf/upf:v1 --site india/south/1 --prepared --approved",
        "deployment create nf/smf:v1 -m stage=lab",
    ] {
        let created = server.tko(create).good().await;
        ids.push(created.line().to_owned());
    }
    let child = format!("deployment create nf/smf:v1 --parent {}", ids[2]);
    ids.push(server.tko(&child).good().await.line().to_owned());
    ids
}

/// The texts in order.
pub(crate) fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}
