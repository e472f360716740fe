//! Packages that change in random ways: the pending resources are those of a new examination.

use super::PendingResources;
use crate::topology::native;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use tko_core::{Package, Resource, deployment_resource};

/// A linear congruential generator.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end.max(1)
    }
}

fn resource(value: Value) -> Arc<Resource> {
    Arc::new(Resource::new(value).expect("a resource"))
}

/// Every third is of a kind without a preparer.
fn numbered(number: usize, is_prepared: bool) -> Arc<Resource> {
    let (api_version, kind) = match number % 3 {
        0 => ("v1", "ConfigMap"),
        _ => ("topology.nephio.org/v1alpha1", "Site"),
    };
    resource(json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": number.to_string(),
            "annotations": {"nephio.org/prepared": is_prepared.to_string()},
        },
    }))
}

/// One random change. `count` is the number of resources that were ever made.
fn change(resources: &mut Vec<Arc<Resource>>, random: &mut Random, count: &mut usize) {
    let place = random.below(resources.len());
    let number = |resource: &Resource| resource.identifier().name.parse().expect("a number");
    match random.below(7) {
        0 if !resources.is_empty() => {
            resources[place] = numbered(number(&resources[place]), true);
        }
        1 if !resources.is_empty() => {
            resources[place] = numbered(number(&resources[place]), false);
        }
        2 if !resources.is_empty() => {
            let end = resources.len().min(place + 1 + random.below(3));
            resources.drain(place..end);
        }
        3 if !resources.is_empty() => {
            let other = random.below(resources.len());
            resources.swap(place, other);
        }
        4 if !resources.is_empty() => {
            *count += 1;
            resources[place] = numbered(*count, false);
        }
        5 => {
            for _ in 0..=random.below(3) {
                *count += 1;
                resources.insert(place, numbered(*count, random.below(2) == 0));
            }
        }
        _ => {
            *count += 1;
            resources.push(numbered(*count, false));
        }
    }
}

#[test]
fn an_update_finds_what_a_new_examination_finds() {
    let table = native().table();
    for seed in 0..50 {
        let mut random = Random(seed);
        let mut count = 0;
        let mut resources = Vec::new();
        let mut seen = HashSet::new();
        let mut updated = PendingResources::new(&Package::default(), &table);
        for step in 0..100 {
            for _ in 0..=random.below(3) {
                change(&mut resources, &mut random, &mut count);
            }
            let package = Package::new(resources.clone()).expect("distinct resources");
            updated.update(&package, &table);
            let mut new = PendingResources::new(&package, &table);
            let place = format!("seed {seed}, step {step}");
            assert_eq!(updated.flags, new.flags, "{place}");
            assert_eq!(updated.identifiers(), new.identifiers(), "{place}");
            let next = updated.next_unseen(&seen);
            assert_eq!(next, new.next_unseen(&seen), "{place}");
            if let Some(next) = next.filter(|_| random.below(2) == 0) {
                seen.insert(next.identifier().clone());
            }
        }
    }
}

#[test]
fn changes_of_the_row_are_noticed() {
    let table = native().table();
    let own = Arc::new(deployment_resource::asked(None, None, false, false));
    let before = Package::new(vec![own.clone(), numbered(1, false)]).expect("two resources");
    let metadata = resource(json!({
        "apiVersion": "metadata.nephio.org/v1alpha1",
        "kind": "Place",
        "metadata": {"name": "here"},
    }));
    for (after, expected) in [
        (before.with(numbered(1, true)), false),
        (before.with(numbered(3, false)), false),
        (before.with(resource(own.value().clone())), false),
        (before.with(Arc::new(own.annotated("x", "y"))), true),
        (before.without(own.identifier()), true),
        (before.with(metadata), true),
    ] {
        let mut pending = PendingResources::new(&before, &table);
        assert_eq!(pending.update(&after, &table), expected, "{after:?}");
    }
}
