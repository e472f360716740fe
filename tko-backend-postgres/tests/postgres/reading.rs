//! Reads return the same as the memory backend for any selection.

use crate::harness::Harness;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tko_backend_memory::{Memory, MemorySettings};
use tko_conformance::{BackendHarness, ManualClock};
use tko_core::select::MetadataPatterns;
use tko_core::{
    Ack, Backend, Change, ChangeSet, Count, Cursor, Deployment, Enqueue, Facts, Generation, Gvk,
    Key, Kind, Lane, List, Metadata, Package, Pattern, Plugin, PluginId, PluginType, Put, Record,
    Resource, Select, SiteId, Stage, TemplateId, Want, deployment_resource,
};

const WANT: Want = Want::ROW.with_package().with_work();

/// Pseudo-random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn is(&mut self, one_in: u64) -> bool {
        self.roll(one_in) == 0
    }

    fn text<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.roll(of.len() as u64)).expect("it fits")]
    }
}

fn site_id(n: u64) -> SiteId {
    SiteId::new(&format!(
        "{}/site-{n:03}",
        ["edge", "lab"][usize::from(n.is_multiple_of(3))]
    ))
    .expect("an id")
}

fn template_id(n: u64) -> TemplateId {
    TemplateId::new(&format!(
        "nf/{}:v{n}",
        ["amf", "upf"][usize::from(n.is_multiple_of(2))]
    ))
    .expect("an id")
}

fn package(name: &str) -> Package {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    Package::new(vec![Arc::new(Resource::new(value).expect("a resource"))]).expect("a package")
}

fn put(dice: &mut Dice, key: impl Into<Key>, n: u64, facts: Facts) -> Put {
    let mut metadata = Metadata::default();
    metadata.insert("tenth", format!("v{}", n % 10));
    metadata.insert(
        "own",
        format!(
            "value-{n}-{}",
            "x".repeat(usize::from(n.is_multiple_of(50)) * 600)
        ),
    );
    if dice.is(3) {
        metadata.insert(
            "odd_%",
            dice.text(&["", "a\0b", "\u{1}", "50%_", "é\u{10ffff}", "a\\"]),
        );
    }
    Put::new(key)
        .metadata(metadata)
        .facts(facts)
        .deleting(dice.is(20))
        .body(dice.is(2).then(|| package(&format!("p{n}"))))
}

/// One entity of each kind, in a random state.
fn puts(dice: &mut Dice, n: u64) -> Vec<Put> {
    let mut puts = Vec::new();
    if n < 20 {
        puts.push(put(dice, template_id(n), n, Facts::Template));
        let name = format!("p{n}");
        let plugin = Plugin::default()
            .executor(dice.text(&["command", "script"]).to_owned())
            .triggers(vec![Gvk::new("example.org", "v1", &format!("K{}", n % 3))]);
        let kind = PluginType::ALL[usize::try_from(n % 3).expect("it fits")];
        let id = PluginId::new(kind, &name).expect("a name");
        puts.push(put(dice, id, n, Facts::Plugin(Arc::new(plugin))));
    }
    if n < 60 {
        let facts = Facts::Site {
            template: dice.is(2).then(|| template_id(n % 7)),
            origin: None,
        };
        puts.push(put(dice, site_id(n), n, facts));
    }
    let prepared = !dice.is(3);
    let asked = Package::new(vec![Arc::new(deployment_resource::asked(
        None, None, false, false,
    ))]);
    let facts = Deployment::new(
        deployment_resource::split(&asked.expect("one resource"))
            .expect("it is there")
            .resource,
    )
    .parent(
        dice.is(5)
            .then(|| format!("d{:04}", n / 40).parse().expect("an id")),
    )
    .template((!dice.is(10)).then(|| template_id(dice.roll(20))))
    .site((!dice.is(6)).then(|| site_id(dice.roll(60))))
    .prepared(prepared)
    .approved(prepared && dice.is(2))
    .placed(dice.is(3).then(|| (site_id(dice.roll(60)), Generation(1))));
    let id: tko_core::DeploymentId = format!("d{n:04}").parse().expect("an id");
    puts.push(put(dice, id, n, Facts::Deployment(Box::new(facts))));
    puts
}

fn id(text: &str) -> Pattern {
    Pattern::id(text).expect("a pattern")
}

fn metadata(dice: &mut Dice) -> MetadataPatterns {
    let mut all = MetadataPatterns::new();
    let long = format!("value-{}-{}", dice.roll(8) * 50, "x".repeat(600));
    for _ in 0..=dice.roll(2) {
        let (key, pattern) = match dice.roll(9) {
            0 => ("own", Pattern::literal(&long)),
            1 => (
                "own",
                Pattern::value(dice.text(&["value-1*", "value-12*-", "*xx", "*7*"]))
                    .expect("a pattern"),
            ),
            2 => (
                "odd_%",
                Pattern::literal(dice.text(&["", "a\0b", "\u{1}", "50%_"])),
            ),
            3 => (
                "odd_%",
                Pattern::value(dice.text(&["*", "a\0*", "50%*", "\u{1}*", "é*", "*_", "a\\\\*"]))
                    .expect("a pattern"),
            ),
            4 => (
                "none",
                Pattern::value(dice.text(&["*", "x", "a\0"])).expect("a pattern"),
            ),
            5 => (
                "tenth",
                Pattern::value(dice.text(&["v*", "*1", "v1*"])).expect("a pattern"),
            ),
            _ => ("tenth", Pattern::literal(dice.text(&["v1", "v2", "v3"]))),
        };
        all.insert(key.to_owned(), pattern);
    }
    all
}

fn select(dice: &mut Dice) -> Select {
    let kind = match dice.roll(10) {
        0 => Kind::Template,
        1 => Kind::Site,
        2 => Kind::Plugin,
        _ => Kind::Deployment,
    };
    let mut select = Select::all(kind);
    if dice.is(4) {
        let patterns = [
            "d00*",
            "d*5",
            "d0123",
            "**",
            "edge/*",
            "*/site-0*5",
            "nf/**",
            "p1*",
            "p1",
            "no id\0",
            "d01*7",
        ];
        select.ids.push(id(dice.text(&patterns)));
        if dice.is(3) {
            select.ids.push(id(dice.text(&patterns)));
        }
    }
    if dice.is(2) {
        select.metadata = metadata(dice);
    }
    if dice.is(4) {
        select.template_ids.push(id(dice.text(&[
            "nf/amf:v1",
            "nf/*",
            "nf/upf:*",
            "*:v1",
            "**",
            "x/**",
            "nf/amf:v1*",
        ])));
    }
    if dice.is(4) {
        select.site_ids.push(id(dice.text(&[
            "edge/site-001",
            "lab/**",
            "edge/*1",
            "**",
            "\0",
        ])));
    }
    if kind == Kind::Deployment || dice.is(20) {
        select.parent = dice.is(10).then(|| "d0001".parse().expect("an id"));
        select.concerning = dice.is(8).then(|| site_id(dice.roll(60)));
        select.prepared = dice.is(4).then(|| dice.is(2));
        select.approved = dice.is(4).then(|| dice.is(2));
        if dice.is(6) {
            select.template_metadata = metadata(dice);
        }
        if dice.is(6) {
            select.site_metadata = metadata(dice);
        }
    }
    if kind == Kind::Plugin || dice.is(30) {
        select.plugin_type = dice.is(3).then_some(PluginType::Schedule);
        select.executor = dice.is(3).then(|| "script".to_owned());
        select.trigger = dice.is(3).then(|| Gvk::new("example.org", "v1", "K1"));
    }
    select.deleting = dice.is(3);
    select
}

async fn walk(backend: &dyn Backend, list: &List) -> Vec<Record> {
    let mut list = list.clone();
    let mut found = Vec::new();
    loop {
        let page = backend.list(&list).await.expect("a page");
        assert!(
            list.limit == 0 || page.items.len() <= list.limit,
            "{list:?}"
        );
        found.extend(page.items);
        match page.next {
            Some(next) => {
                assert!(
                    list.after.is_none_or(|after| after.0 < next.0),
                    "it goes on"
                );
                list.after = Some(next);
            }
            None => return found,
        }
    }
}

fn same(one: &Record, other: &Record, of: &dyn std::fmt::Debug) {
    let (a, b) = (&one.entity, &other.entity);
    assert_eq!(a.key, b.key, "{of:?}");
    assert_eq!(a.facts, b.facts, "{of:?}");
    assert_eq!(
        (&a.metadata, a.deleting, a.body),
        (&b.metadata, b.deleting, b.body)
    );
    assert_eq!(one.package, other.package, "{of:?}");
    let work = |record: &Record| -> Vec<_> {
        let work = record.work.iter();
        work.map(|w| {
            (
                w.stage,
                w.key.clone(),
                w.lane,
                w.attempts,
                w.leased,
                w.error.clone(),
                w.progress.clone(),
            )
        })
        .collect()
    };
    assert_eq!(work(one), work(other), "{of:?}");
}

/// Both backends with the same entities.
async fn both(harness: &Harness, dice: &mut Dice, many: u64) -> (Arc<dyn Backend>, Memory) {
    let postgres = harness.fresh(1_000_000).await;
    let memory = Memory::new(Arc::new(ManualClock::default()), MemorySettings::default());
    let all: Vec<Put> = (0..many).flat_map(|n| puts(dice, n)).collect();
    for part in all.chunks(500) {
        let due = part.iter().filter(|_| dice.is(4)).map(|put| {
            Enqueue::now(Stage::Delete, put.key.clone(), Lane::of(put.key.id()))
                .after(Duration::from_hours(1))
        });
        let set = ChangeSet::new()
            .enqueued(due)
            .changes(part.iter().cloned().map(Change::Put).collect());
        memory
            .commit(set.clone(), Ack::Durable)
            .await
            .expect("it is written");
        postgres
            .commit(set, Ack::Durable)
            .await
            .expect("it is written");
    }
    (postgres, memory)
}

#[tokio::test(flavor = "multi_thread")]
async fn selections_return_the_same_as_memory() {
    let harness = Harness::default();
    let mut dice = Dice(7);
    let (postgres, memory) = both(&harness, &mut dice, 1_000).await;
    let mut some = 0;
    for round in 0..300 {
        let list = List::new(select(&mut dice))
            .after(
                dice.is(4)
                    .then(|| Cursor(Key::from(template_id(dice.roll(20))))),
            )
            .limit([0, 1, 7, 100][usize::try_from(dice.roll(4)).expect("it fits")])
            .want(if dice.is(2) { WANT } else { Want::ROW });
        let (found, expected) = (walk(&*postgres, &list).await, walk(&memory, &list).await);
        let keys = |records: &[Record]| -> Vec<Key> {
            records
                .iter()
                .map(|record| record.entity.key.clone())
                .collect()
        };
        assert_eq!(keys(&found), keys(&expected), "round {round}: {list:?}");
        for (one, other) in found.iter().zip(&expected) {
            same(one, other, &list);
        }
        some += u32::from(!found.is_empty());
        for bound in [0, 5, 10_000] {
            let count = postgres.count(&list.select, bound, Want::ROW).await;
            let count: Count = count.expect("a count");
            let expected = memory.count(&list.select, bound, Want::ROW).await;
            let expected = expected.expect("a count");
            assert_eq!(
                count, expected,
                "round {round}, up to {bound}: {:?}",
                list.select
            );
        }
    }
    assert!(some > 100, "{some} of 300 selections found something");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_by_key_return_the_same_as_memory() {
    let harness = Harness::default();
    let mut dice = Dice(11);
    let (postgres, memory) = both(&harness, &mut dice, 100).await;
    let keys: Vec<Key> = (0..500)
        .map(|n| match dice.roll(3) {
            0 => template_id(dice.roll(30)).into(),
            1 => site_id(dice.roll(90)).into(),
            _ => Key::new(Kind::Deployment, &format!("d{:04}", n % 130)).expect("an id"),
        })
        .collect();
    for want in [Want::ROW, WANT] {
        let found = postgres.get(&keys, want).await.expect("an answer");
        let expected = memory.get(&keys, want).await.expect("an answer");
        for ((key, one), other) in keys.iter().zip(&found).zip(&expected) {
            assert_eq!(one.is_some(), other.is_some(), "{key}");
            if let (Some(one), Some(other)) = (one, other) {
                same(one, other, key);
            }
        }
    }
}
