//! Tests of the view.

use super::{date, deployments_of, detail, package, rfc3339, summary, without_empty};
use crate::deployment_resource::{DeploymentResource, asked};
use crate::entity::{Condition, Deployment, Entity, Facts, Plugin, Record};
use crate::hash::ContentHash;
use crate::id::{Key, Kind, PluginId, PluginType};
use crate::metadata::Metadata;
use crate::package::Package;
use crate::resource::Gvk;
use crate::revision::{Generation, Revision, Timestamp, Version};
use crate::work::{Lane, Stage, Work};
use serde_json::json;
use std::sync::Arc;

/// 2026-11-28T16:25:11.000042Z.
const TIME: Timestamp = Timestamp(1_795_883_111_000_042);

fn record(key: Key, facts: Facts) -> Record {
    let mut metadata = Metadata::default();
    metadata.insert("type", "edge");
    let entity = Entity {
        key,
        version: Version(7),
        generation: Generation(2),
        created: Timestamp(0),
        updated: TIME,
        deleting: false,
        inherited: Metadata::default(),
        given: Metadata::default(),
        metadata,
        conditions: Vec::new(),
        facts,
        body: ContentHash::of(&json!(null)),
    };
    Record {
        entity: Arc::new(entity),
        package: None,
        revision: None,
        work: Vec::new(),
    }
}

fn deployment() -> Record {
    let key = Key::new(Kind::Deployment, "d1").expect("an id");
    record(
        key,
        Facts::Deployment(Box::new(Deployment {
            parent: None,
            template: Some("nf/upf".parse().expect("an id")),
            origin: None,
            site: Some("a/1".parse().expect("an id")),
            prepared: true,
            approved: false,
            placed: Some(("a/1".parse().expect("an id"), Generation(2))),
            idempotency_key: None,
            resource: DeploymentResource {
                skeleton: Arc::new(asked(None, None, false, false)),
                at: 0,
                template: None,
                site: None,
            },
        })),
    )
}

#[test]
fn a_summary_has_the_keys_of_its_kind_in_order() {
    let record = deployment();
    assert_eq!(
        summary(&record, None).to_string(),
        json!({
            "deploymentId": "d1",
            "parentDeploymentId": "",
            "templateId": "nf/upf",
            "siteId": "a/1",
            "metadata": {"type": "edge"},
            "created": "1970-01-01T00:00:00.000000Z",
            "updated": "2026-11-28T16:25:11.000042Z",
            "prepared": true,
            "approved": false,
        })
        .to_string()
    );
}

#[test]
fn templates_and_sites_list_their_deployments_only_if_they_were_read() {
    let template = record(
        Key::new(Kind::Template, "t").expect("an id"),
        Facts::Template,
    );
    let ids = ["d1".to_owned()];
    assert_eq!(
        summary(&template, Some(&ids))["deploymentIds"],
        json!(["d1"])
    );
    assert!(summary(&template, None).get("deploymentIds").is_none());
    let site = Facts::Site {
        template: None,
        origin: None,
    };
    let site = record(Key::new(Kind::Site, "s").expect("an id"), site);
    assert_eq!(summary(&site, None)["templateId"], "");
}

#[test]
fn a_plugin_has_its_own_keys_only() {
    let id = PluginId::new(PluginType::Prepare, "p").expect("an id");
    let plugin = Plugin {
        executor: "command".to_owned(),
        arguments: vec!["run".to_owned()],
        properties: [("k".to_owned(), "v".to_owned())].into(),
        triggers: vec![Gvk::new("g", "v1", "K")],
    };
    let record = record(id.into(), Facts::Plugin(Arc::new(plugin)));
    assert_eq!(
        summary(&record, None).to_string(),
        json!({
            "type": "prepare",
            "name": "p",
            "executor": "command",
            "arguments": ["run"],
            "properties": {"k": "v"},
            "triggers": [{"group": "g", "version": "v1", "kind": "K"}],
        })
        .to_string()
    );
}

#[test]
fn a_detail_adds_conditions_and_work() {
    let mut record = deployment();
    let entity = Arc::make_mut(&mut record.entity);
    entity.conditions = [(Some(true), "A"), (Some(false), "B"), (None, "C")]
        .map(|(status, kind)| Condition::new(kind, status, "Why", "because", Generation(2)))
        .into();
    record.revision = Some(Revision(9));
    record.work = vec![Work {
        stage: Stage::Prepare,
        key: record.entity.key.clone(),
        lane: Lane::new(0),
        due: TIME,
        attempts: 3,
        error: Some("it failed".to_owned()),
        progress: None,
        leased: Some(TIME),
    }];
    let shown = detail(&record, None);
    assert_eq!(shown["version"], 7);
    assert_eq!(shown["generation"], 2);
    assert_eq!(shown["revision"], 9);
    assert_eq!(shown["placedOn"], "a/1");
    assert_eq!(
        shown["conditions"][0],
        json!({
            "type": "A",
            "status": "True",
            "reason": "Why",
            "message": "because",
            "observedGeneration": 2,
            "lastTransitionTime": "1970-01-01T00:00:00.000000Z",
        })
    );
    assert_eq!(shown["conditions"][1]["status"], "False");
    assert_eq!(shown["conditions"][2]["status"], "Unknown");
    let time = "2026-11-28T16:25:11.000042Z";
    assert_eq!(
        shown["work"],
        json!([{
            "stage": "prepare",
            "attempts": 3,
            "due": time,
            "workedOnUntil": time,
            "lastError": "it failed",
        }])
    );
    record.work.clear();
    assert!(detail(&record, None).get("work").is_none());
}

#[test]
fn a_package_is_the_list_of_its_resources() {
    let resource = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let one = Package::from_values([resource.clone()]).expect("a resource");
    assert_eq!(package(&one), json!([resource]));
    assert_eq!(package(&Package::default()), json!([]));
}

#[test]
fn deployments_are_selected_for_templates_and_sites_alone() {
    let key = |kind, id| Key::new(kind, id).expect("an id");
    let of_template = deployments_of(&key(Kind::Template, "t")).expect("a selection");
    assert_eq!(of_template.template_ids.len(), 1);
    assert!(of_template.site_ids.is_empty());
    let of_site = deployments_of(&key(Kind::Site, "s")).expect("a selection");
    assert_eq!(of_site.site_ids.len(), 1);
    assert!(of_site.template_ids.is_empty());
    assert!(deployments_of(&key(Kind::Deployment, "d")).is_none());
}

#[test]
fn times_are_written_by_rfc_3339() {
    for (micros, expected) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
        (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        (TIME.0, "2026-11-28T16:25:11.000042Z"),
        (-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
        (i64::MIN, "0000-01-01T00:00:00.000000Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (i64::MAX, "9999-12-31T23:59:59.999999Z"),
    ] {
        assert_eq!(rfc3339(Timestamp(micros)), expected, "{micros}");
    }
}

#[test]
fn every_day_follows_the_one_before() {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut expected = (1600, 1, 1);
    for days in -135_140..146_097 {
        assert_eq!(date(days), expected, "{days}");
        let (year, month, day) = expected;
        let length = match month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        expected = match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            (_, day) if day == length => (year, month + 1, 1),
            _ => (year, month, day + 1),
        };
    }
}

#[test]
fn internal_metadata_are_not_shown() {
    let mut record = deployment();
    let mut metadata = Metadata::default();
    metadata.insert("nephio.org/waits-for/site/a", "");
    metadata.insert("type", "edge");
    let mut entity = (*record.entity).clone();
    entity.metadata = metadata;
    record.entity = Arc::new(entity);
    assert_eq!(summary(&record, None)["metadata"], json!({"type": "edge"}));
}

#[test]
fn empty_keys_can_be_left_out() {
    let row = json!({"a": "", "b": [], "c": {}, "d": false, "e": 0, "f": "x"});
    assert_eq!(without_empty(row), json!({"d": false, "e": 0, "f": "x"}));
}
