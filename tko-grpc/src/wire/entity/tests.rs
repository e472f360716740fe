use super::{pack_record, unpack_record};
use crate::proto::v1alpha2 as wire;
use crate::wire::table::{Packer, Unpacker};
use bytes::Bytes;
use prost::Message;
use serde_json::json;
use std::sync::Arc;
use tko_core::{
    Condition, ContentHash, Deployment, DeploymentId, Entity, Facts, Generation, Gvk, Key, Kind,
    Limits, Metadata, Package, Plugin, Record, TemplateId, Timestamp, Version, deployment_resource,
};

/// A Deployment resource.
fn head() -> deployment_resource::DeploymentResource {
    let deployment = json!({
        "apiVersion": "deployment.nephio.org/v1alpha1", "kind": "Deployment",
        "metadata": {"name": "deployment"},
        "spec": {"templateId": "t", "siteId": "s"},
    });
    let package = Package::from_values([deployment]).expect("a package");
    deployment_resource::split(&package)
        .expect("it has one")
        .resource
}

fn of(kind: Kind, id: &str, facts: Facts) -> Entity {
    let long = "ü".repeat(200);
    Entity::new(Key::new(kind, id).expect("an id"), facts)
        .version(Version(u64::MAX))
        .generation(Generation(3))
        .created(Timestamp(-1))
        .updated(Timestamp(1_700_000_000_123_456))
        .deleting(true)
        .inherited([("a", "1"), ("long", &long)])
        .given([("", ""), ("b", "2")])
        .metadata([("", ""), ("a", "1"), ("b", "2"), ("long", &long)])
        .conditions(vec![
            Condition::new("Ready", true, "R", "m", Generation(2)),
            Condition::new("Prepared", None, "", "", Generation(0)),
        ])
        .body(ContentHash([7; 32]))
}

fn deployment() -> Deployment {
    let id = |id: &str| Some(id.parse().expect("an id"));
    Deployment::new(head().at(300))
        .parent(DeploymentId::new("p").expect("an id"))
        .template(TemplateId::new("t").expect("an id"))
        .origin(Version(0))
        .site(id("other"))
        .prepared(true)
        .approved(true)
        .placed(id("s").map(|site| (site, Generation(2))))
        .idempotency_key(Arc::<str>::from("once"))
}

/// For each kind, an entity with all fields and one with as few as possible.
fn entities() -> Vec<Entity> {
    let plugin = Plugin::new("e")
        .arguments(vec!["a".to_owned(), String::new()])
        .properties([("k".to_owned(), "v".to_owned())].into())
        .triggers(vec![Gvk::new("", "v1", "A"), Gvk::new("g", "v1", "B")]);
    let site = |template: Option<&str>| Facts::Site {
        template: template.map(|id| id.parse().expect("an id")),
        origin: template.map(|_| Version(9)),
    };
    let plain = Deployment::new(head().template(None).site(None).at(0));
    let full = [
        of(Kind::Template, "t", Facts::Template),
        of(Kind::Site, "s/1", site(Some("t"))),
        of(
            Kind::Deployment,
            "d1",
            Facts::Deployment(Box::new(deployment())),
        ),
        of(
            Kind::Plugin,
            "prepare|x",
            Facts::Plugin(Arc::new(plugin.clone())),
        ),
    ];
    let least = [
        of(Kind::Site, "s", site(None)),
        of(Kind::Deployment, "d", Facts::Deployment(Box::new(plain))),
        of(
            Kind::Plugin,
            "schedule|x",
            Facts::Plugin(Arc::new(Plugin::new(String::new()).properties([].into()))),
        ),
    ];
    let least = least.map(|entity| {
        entity
            .version(Version(0))
            .generation(Generation(0))
            .deleting(false)
            .inherited(Metadata::default())
            .given(Metadata::default())
            .metadata(Metadata::default())
            .conditions(Vec::new())
    });
    full.into_iter().chain(least).collect()
}

/// An entity as text, with all hashes computed.
fn text(entity: &Entity) -> String {
    let skeleton = entity.deployment().map(|d| d.resource.skeleton.hash());
    format!("{entity:?} {skeleton:?}")
}

fn packed(entity: &Entity) -> (wire::Record, Unpacker) {
    let record = Record::new(entity.clone());
    let mut table = Packer::default();
    let packed = pack_record(&record, &mut table);
    let table = Unpacker::new(&table.finish(), &Limits::default()).expect("sound");
    (packed, table)
}

fn read(entity: Bytes, table: &Unpacker) -> tko_core::Result<Arc<Entity>> {
    let record = wire::Record {
        entity,
        ..Default::default()
    };
    unpack_record(record, table).map(|record| record.entity)
}

#[test]
fn entities_survive_a_round_trip() {
    for entity in entities() {
        let (packed, table) = packed(&entity);
        let back = unpack_record(packed, &table).expect("sound");
        assert_eq!(text(&back.entity), text(&entity));
    }
}

#[test]
fn the_encoding_equals_that_of_the_generated_message() {
    for entity in entities() {
        let (packed, table) = packed(&entity);
        let message = wire::Entity::decode(packed.entity).expect("a message");
        let map = |metadata: &Metadata| -> std::collections::BTreeMap<String, String> {
            let owned = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
            metadata.iter().map(owned).collect()
        };
        assert_eq!(
            message.key.as_ref().map(|key| &*key.id),
            Some(entity.key.id())
        );
        assert_eq!(message.version, entity.version.0);
        assert_eq!(message.generation, entity.generation.0);
        assert_eq!(message.deleting, entity.deleting);
        assert_eq!(message.inherited, map(&entity.inherited));
        assert_eq!(message.given, map(&entity.given));
        assert_eq!(message.metadata, map(&entity.metadata));
        assert_eq!(message.conditions.len(), entity.conditions.len());
        assert_eq!(message.body, entity.body.0[..]);
        if let Some(wire::entity::Facts::Deployment(facts)) = &message.facts {
            let deployment = entity.deployment().expect("it is one");
            assert_eq!(facts.once.as_deref(), deployment.idempotency_key.as_deref());
            assert_eq!(facts.prepared, deployment.prepared);
            assert_eq!(facts.approved, deployment.approved);
            let head = facts.head.as_ref().expect("it has one");
            assert_eq!(u64::from(head.at), deployment.resource.at as u64);
        }
        // Encoded by the generated code, as other programs do.
        let back = read(message.encode_to_vec().into(), &table).expect("sound");
        assert_eq!(text(&back), text(&entity));
    }
}

#[test]
fn equal_texts_share_memory() {
    let mut entity = of(
        Kind::Deployment,
        "d",
        Facts::Deployment(Box::new(deployment())),
    );
    entity.metadata = entity.given.clone();
    let (packed, table) = packed(&entity);
    let back = unpack_record(packed, &table).expect("sound").entity;
    assert!(back.metadata.ptr_eq(&back.given));
}

#[test]
fn mutated_entities_are_read_or_refused() {
    for entity in entities() {
        let (packed, table) = packed(&entity);
        let whole = packed.entity;
        for end in 0..whole.len() {
            // A truncated entity lacks at least its body.
            let cut = read(whole.slice(..end), &table);
            let message = wire::Entity::decode(whole.slice(..end));
            assert!(message.is_ok() || cut.is_err(), "{end}: {cut:?}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bent = whole.to_vec();
                bent[at] = byte;
                // Bytes that the generated decoder refuses are refused here.
                let message = wire::Entity::decode(&*bent);
                let read = read(bent.into(), &table);
                assert!(message.is_ok() || read.is_err(), "{at}: {read:?}");
            }
        }
    }
    let (_, table) = packed(&entities()[2]);
    for (bytes, why) in [
        (&b""[..], "key"),
        (&[0x0a, 4, 0x08, 9, 0x12, 0], "kind"),
        (&[0x0a, 5, 0x08, 3, 0x12, 1, b' '], "deployment id"),
        (&[0x12, 0], "unexpected type"),
        (&[0x0a, 200], "invalid encoding"),
    ] {
        let error = read(Bytes::from_static(bytes), &table).expect_err("refused");
        assert!(error.chain().contains(why), "{}", error.chain());
    }
}
