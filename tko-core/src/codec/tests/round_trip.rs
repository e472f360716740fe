//! Stored values are read back equal.

use super::super::{Stored, decode, encode};
use crate::change::ChangeRecord;
use crate::commit::{WorkItem, WorkLease};
use crate::deployment_resource::DeploymentResource;
use crate::encoding::Limits;
use crate::entity::{Condition, Deployment, Entity, Facts, Plugin, Record};
use crate::hash::ContentHash;
use crate::id::{DeploymentId, Key, Kind, SiteId, TemplateId};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::{Gvk, Resource};
use crate::revision::{Generation, Revision, Timestamp, Version};
use crate::work::{Lane, Stage, Work};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Map, Number, Value, json};
use std::sync::Arc;

fn text() -> impl Strategy<Value = String> {
    ".{0,8}"
}

fn id<T: std::str::FromStr<Err = crate::Error> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    "[a-zA-Z0-9]{1,12}".prop_map(|id| {
        let id = id.parse();
        id.unwrap_or_else(|error| panic!("{error}"))
    })
}

fn key() -> impl Strategy<Value = Key> {
    let kinds = prop_oneof![
        Just(Kind::Template),
        Just(Kind::Site),
        Just(Kind::Deployment),
        Just(Kind::Plugin)
    ];
    (kinds, "[a-z0-9]{1,9}").prop_map(|(kind, id)| {
        let id = match kind {
            Kind::Plugin => format!("validate|{id}"),
            _ => id,
        };
        Key::new(kind, &id).expect("an id of its kind")
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    btree_map(text(), text(), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |n| Number::from_f64(n).map(Value::Number)),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            btree_map(text(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().rev().collect::<Map<_, _>>())),
        ]
    })
}

fn resource() -> impl Strategy<Value = Arc<Resource>> {
    ("[a-z]{1,8}", value()).prop_map(|(name, value)| {
        let content =
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": name}, "spec": value});
        Arc::new(Resource::new(content).expect("it is identified"))
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let texts = (text(), text(), text());
    (texts, option::of(any::<bool>()), any::<u64>(), time()).prop_map(
        |((kind, reason, message), status, observed, since)| Condition {
            since,
            ..Condition::new(kind, status, reason, message, Generation(observed))
        },
    )
}

fn deployment() -> impl Strategy<Value = Deployment> {
    let relations = (
        option::of(id::<DeploymentId>()),
        option::of(id::<TemplateId>()),
        option::of(any::<u64>().prop_map(Version)),
        option::of(id::<SiteId>()),
        option::of((id::<SiteId>(), any::<u64>().prop_map(Generation))),
    );
    let resource = (
        resource(),
        any::<u16>(),
        option::of(id::<TemplateId>()),
        option::of(id::<SiteId>()),
    );
    let flags = (any::<bool>(), any::<bool>(), option::of(text()));
    (relations, resource, flags).prop_map(|(relations, resource, flags)| {
        let (parent, template, origin, site, placed) = relations;
        let (prepared, approved, idempotency_key) = flags;
        Deployment {
            parent,
            template,
            origin,
            site,
            prepared,
            approved,
            placed,
            idempotency_key: idempotency_key.map(Into::into),
            resource: DeploymentResource {
                skeleton: resource.0,
                at: resource.1.into(),
                template: resource.2,
                site: resource.3,
            },
        }
    })
}

fn plugin() -> impl Strategy<Value = Plugin> {
    let trigger = (text(), text(), text()).prop_map(|(g, v, k)| Gvk::new(&g, &v, &k));
    let properties = btree_map(text(), text(), 0..3);
    (text(), vec(text(), 0..3), properties, vec(trigger, 0..3)).prop_map(
        |(executor, arguments, properties, triggers)| Plugin {
            executor,
            arguments,
            properties,
            triggers,
        },
    )
}

fn facts() -> impl Strategy<Value = Facts> {
    prop_oneof![
        Just(Facts::Template),
        (option::of(id()), option::of(any::<u64>())).prop_map(|(template, origin)| Facts::Site {
            template,
            origin: origin.map(Version),
        }),
        deployment().prop_map(|deployment| Facts::Deployment(Box::new(deployment))),
        plugin().prop_map(|plugin| Facts::Plugin(Arc::new(plugin))),
    ]
}

fn entity() -> impl Strategy<Value = Entity> {
    let numbers = (any::<u64>(), any::<u64>(), time(), time(), any::<bool>());
    let metadata = (metadata(), metadata(), metadata());
    let rest = (vec(condition(), 0..3), facts(), any::<[u8; 32]>());
    (key(), numbers, metadata, rest).prop_map(|(key, numbers, metadata, rest)| Entity {
        key,
        version: Version(numbers.0),
        generation: Generation(numbers.1),
        created: numbers.2,
        updated: numbers.3,
        deleting: numbers.4,
        inherited: metadata.0,
        given: metadata.1,
        metadata: metadata.2,
        conditions: rest.0,
        facts: rest.1,
        body: ContentHash(rest.2),
    })
}

fn lane() -> impl Strategy<Value = Lane> {
    (0..Lane::COUNT).prop_map(Lane::new)
}

fn stage() -> impl Strategy<Value = Stage> {
    (0..Stage::ALL.len()).prop_map(|at| Stage::ALL[at])
}

fn work() -> impl Strategy<Value = Work> {
    let progress = option::of(value());
    let queue = (stage(), lane(), time(), any::<u32>(), option::of(time()));
    (key(), queue, option::of(text()), progress).prop_map(|(key, queue, error, progress)| Work {
        stage: queue.0,
        key,
        lane: queue.1,
        due: queue.2,
        attempts: queue.3,
        error,
        progress,
        leased: queue.4,
    })
}

fn work_item() -> impl Strategy<Value = WorkItem> {
    let lease = option::of((text(), time()));
    (work(), option::of(lane()), lease).prop_map(|(work, requeued, lease)| WorkItem {
        lane: work.lane,
        due: work.due,
        attempts: work.attempts,
        error: work.error.map(Into::into),
        progress: work.progress.map(Box::new),
        requeued,
        lease: lease.map(|(secret, until)| {
            Box::new(WorkLease {
                secret: secret.into(),
                until,
            })
        }),
    })
}

fn record() -> impl Strategy<Value = Record> {
    let revision = option::of(any::<u64>().prop_map(Revision));
    (entity(), revision).prop_map(|(entity, revision)| Record::new(entity).revision(revision))
}

fn change() -> impl Strategy<Value = ChangeRecord> {
    let numbers = (any::<u64>(), any::<u64>(), time(), key());
    let states = (option::of(record()), option::of(record()));
    (numbers, option::of(text()), states).prop_map(|(numbers, cause, states)| ChangeRecord {
        revision: Revision(numbers.0),
        set: Revision(numbers.1),
        at: numbers.2,
        key: numbers.3,
        before: states.0,
        after: states.1,
        cause: cause.map(Into::into),
    })
}

/// The value as it is read back, after checking that it is written as the same bytes again.
fn stored<T: Stored>(value: &T) -> T {
    let bytes = encode(value);
    let read: T = decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(encode(&read), bytes);
    read
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn entities_come_back(entity in entity()) {
        let read = stored(&entity);
        // `Debug` also shows what equality leaves out, such as the time of a condition.
        prop_assert_eq!(format!("{read:?}"), format!("{entity:?}"));
    }

    #[test]
    fn packages_come_back_with_their_hash(resources in vec(resource(), 0..4)) {
        if let Ok(package) = Package::new(resources) {
            let read = stored(&package);
            prop_assert_eq!(read.hash(), package.hash());
            prop_assert_eq!(read, package);
        }
    }

    #[test]
    fn work_comes_back(work in work(), item in work_item()) {
        prop_assert_eq!(stored(&work), work);
        prop_assert_eq!(stored(&item), item);
    }

    #[test]
    fn changes_and_records_come_back(change in change(), record in record()) {
        prop_assert_eq!(format!("{:?}", stored(&record)), format!("{record:?}"));
        prop_assert_eq!(format!("{:?}", stored(&change)), format!("{change:?}"));
    }
}

#[test]
fn packages_of_a_change_are_left_to_the_backend() {
    let record = Record {
        entity: Arc::new(super::site()),
        package: Some(Package::default()),
        revision: Some(Revision(2)),
        work: Vec::new(),
    };
    let change = ChangeRecord {
        revision: Revision(2),
        set: Revision(2),
        at: Timestamp(1),
        key: record.entity.key.clone(),
        before: None,
        after: Some(record),
        cause: None,
    };
    let after = stored(&change).after.expect("it is there");
    assert!(after.package.is_none());
    assert_eq!(after.revision, Some(Revision(2)));
}
