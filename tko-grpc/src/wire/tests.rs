use super::entity::{pack_want, unpack_want};
use super::scalar::{
    MAX_DURATION, duration, timestamp, unpack_duration, unpack_key, unpack_timestamp,
};
use super::select::{pack_select, unpack_select};
use super::step::{pack_placed, pack_prepared, unpack_placed, unpack_prepared};
use super::table::{Packer, Unpacker};
use super::work::{pack_claim, pack_mark, pack_outcome, unpack_claim, unpack_mark, unpack_outcome};
use crate::proto::v1alpha2 as wire;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tko_core::{
    Claim, Condition, DeploymentId, Effect, Enqueue, Expect, Generation, Gvk, Identifier, Key,
    Kind, Lane, Limits, NewDeployment, NewSite, Outcome, Package, Pattern, PluginType, PrepareStep,
    ScheduleStep, Select, SiteId, SiteScheduler, Stage, Subscription, TemplateId, Timestamp, Token,
    Version, Want, Work,
};

fn package(name: &str) -> Package {
    Package::from_values([json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"z": 1.0, "a": u64::MAX, "m": i64::MIN}
    })])
    .expect("a package")
}

fn token() -> Token {
    Token::new(Key::new(Kind::Deployment, "a1").expect("an id"), "s.3-x")
}

#[test]
fn times_keep_their_microseconds_before_and_after_1970() {
    for micros in [0, 1, -1, 1_700_000_000_123_456, i64::MIN, i64::MAX] {
        let packed = timestamp(Timestamp(micros));
        assert!((0..1_000_000_000).contains(&packed.nanos));
        let back = unpack_timestamp(Some(&packed)).ok();
        // The earliest second is out of range by a fraction.
        if micros != i64::MIN {
            assert_eq!(back, Some(Timestamp(micros)));
        }
    }
    let absurd = prost_types::Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    };
    assert!(unpack_timestamp(Some(&absurd)).is_err());
    assert!(unpack_timestamp(None).is_err());
}

#[test]
fn durations_of_up_to_ten_years_survive_a_round_trip() {
    for time in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::new(86_400, 999_999_999),
        MAX_DURATION,
    ] {
        let packed = duration(time);
        assert_eq!(unpack_duration("time", Some(&packed)).ok(), Some(time));
    }
    assert_eq!(
        unpack_duration("time", Some(&duration(Duration::MAX))).ok(),
        Some(MAX_DURATION)
    );
    for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0)] {
        let absurd = prost_types::Duration { seconds, nanos };
        assert!(unpack_duration("time", Some(&absurd)).is_err());
    }
}

#[test]
fn a_selection_survives_a_round_trip() {
    let value = |text: &str| Pattern::value(text).expect("a pattern");
    let select = Select::all(Kind::Deployment)
        .id(Pattern::id("a/*/\\*").expect("a pattern"))
        .metadata_patterns([("k".to_owned(), value("v*"))].into())
        .parent(DeploymentId::new("p").expect("an id"))
        .template_id(Pattern::id("**").expect("a pattern"))
        .template_metadata_patterns([("t".to_owned(), value("*"))].into())
        .site_id(Pattern::id("s").expect("a pattern"))
        .site_metadata_patterns([("s".to_owned(), value(""))].into())
        .prepared(true)
        .approved(false)
        .concerning(SiteId::new("c").expect("an id"))
        .plugin_type(PluginType::Schedule)
        .executor(String::new())
        .trigger(Gvk::new("", "v1", "A"))
        .deleting(true);
    assert_eq!(unpack_select(&pack_select(&select)).ok(), Some(select));
    let all = Select::all(Kind::Template);
    assert_eq!(unpack_select(&pack_select(&all)).ok(), Some(all));
    // A literal becomes an ordinary pattern on the wire and matches the same.
    let mut literal = Select::all(Kind::Site);
    literal.ids = vec![Pattern::literal("a*")];
    let back = unpack_select(&pack_select(&literal)).expect("sound");
    assert_eq!(back.ids[0].as_literal(), Some("a*"));
    let many = wire::Select {
        kind: wire::Kind::Site.into(),
        ids: vec!["a".to_owned(); 1_001],
        ..Default::default()
    };
    assert!(unpack_select(&many).is_err());
}

/// `Purge` and `Approve` would otherwise change everything if a client leaves a variable unset.
#[test]
fn an_empty_text_of_a_selection_does_not_select_everything() {
    let empty = Some(String::new());
    let executor = wire::Select {
        kind: wire::Kind::Plugin.into(),
        executor: empty.clone(),
        ..Default::default()
    };
    assert!(unpack_select(&executor).expect("sound").has_filter());
    let deployments = wire::Select {
        kind: wire::Kind::Deployment.into(),
        ..Default::default()
    };
    let parent = wire::Select {
        parent: empty.clone(),
        ..deployments.clone()
    };
    assert!(unpack_select(&parent).is_err());
    let concerning = wire::Select {
        concerning: empty,
        ..deployments
    };
    assert!(unpack_select(&concerning).is_err());
}

#[test]
fn a_prepare_step_sends_shared_packages_once() {
    let child = NewDeployment::new()
        .template(TemplateId::new("t").expect("an id"))
        .site(SiteId::new("s").expect("an id"))
        .metadata([("k", "v")])
        .merge(package("shared"))
        .prepared(true)
        .idempotency_key("once");
    let site = NewSite::new(SiteId::new("new").expect("an id"), package("site"))
        .metadata([("k", "v")])
        .expect(Expect::At(Version(9)));
    let mut effects = vec![Effect::Deployment(child); 498];
    effects.push(Effect::Site(site));
    effects.push(Effect::Delete(DeploymentId::new("gone").expect("an id")));
    let step = PrepareStep::new(DeploymentId::new("a1").expect("an id"), Generation(3))
        .package(package("own"))
        .effects(effects)
        .conditions(vec![Condition::new("Ready", None, "R", "m", Generation(3))])
        .subscriptions(vec![
            Subscription::Entity(Key::new(Kind::Site, "s").expect("an id")),
            Subscription::Preparer(Gvk::new("a", "v1", "B")),
            Subscription::Selection {
                kind: Kind::Site,
                metadata: [("k".to_owned(), Pattern::value("v*").expect("a pattern"))].into(),
                persistent: true,
            },
        ])
        .progress(json!({"at": [1, 2.5, null]}))
        .settle(Outcome::Retry {
            after: Duration::from_millis(1_500),
            reason: "no".to_owned(),
        });
    let packed = pack_prepared(&token(), &step);
    assert_eq!(packed.packages.len(), 3);
    let (under, back) = unpack_prepared(packed, &Limits::default()).expect("sound");
    assert_eq!(under, token());
    assert_eq!(format!("{back:?}"), format!("{step:?}"));
    let Effect::Deployment(first) = &back.effects[0] else {
        panic!("{:?}", back.effects[0]);
    };
    let Effect::Deployment(last) = &back.effects[497] else {
        panic!("{:?}", back.effects[497]);
    };
    assert!(first.merge.shares(&last.merge));
    assert_eq!(first.merge, package("shared"));

    let least = step
        .package(None)
        .effects(Vec::new())
        .conditions(Vec::new())
        .subscriptions(None)
        .progress(json!(null))
        .settle(None);
    let packed = pack_prepared(&token(), &least);
    let (_, back) = unpack_prepared(packed, &Limits::default()).expect("sound");
    assert_eq!(format!("{back:?}"), format!("{least:?}"));
}

#[test]
fn a_schedule_step_survives_a_round_trip() {
    let id = |id: &str| DeploymentId::new(id).expect("an id");
    let step = ScheduleStep::new()
        .placed(id("a"), Generation(1))
        .placed(id("b"), Generation(u64::MAX))
        .removed(id("c"))
        .conditions(
            Key::new(Kind::Site, "s").expect("an id"),
            vec![Condition::new("Scheduled", true, "R", "m", Generation(3))],
        )
        .all_called([
            SiteScheduler::new("manifests"),
            SiteScheduler::new("schedule|rack")
                .target(Identifier::new(Gvk::new("a", "v1", "Rack"), "r")),
        ])
        .all_forgotten([SiteScheduler::new("kubernetes")
            .target(Identifier::new(Gvk::of("v1", "B"), "b").namespace(Arc::<str>::from("n")))])
        .expect(Generation(7))
        .settle(Outcome::Done);
    let (under, back) = unpack_placed(pack_placed(&token(), &step)).expect("sound");
    assert_eq!(under, token());
    assert_eq!(format!("{back:?}"), format!("{step:?}"));
}

#[test]
fn work_claims_and_outcomes_survive_a_round_trip() {
    let key = Key::new(Kind::Deployment, "a1").expect("an id");
    let claim = Claim::new(
        token(),
        Work::new(Stage::Prepare, key.clone(), Lane::FAILING, Timestamp(5))
            .attempts(3)
            .error("no".to_owned())
            .progress(json!([1.0, 18_446_744_073_709_551_615_u64]))
            .leased(Timestamp(7)),
        8,
        Timestamp(9),
    );
    let back = unpack_claim(pack_claim(&claim)).expect("sound");
    assert_eq!(format!("{back:?}"), format!("{claim:?}"));
    assert_eq!(back.token, claim.token);
    for stage in Stage::ALL {
        let mark = Enqueue::now(stage, key.clone(), Lane::new(4)).after(Duration::from_secs(3));
        assert_eq!(unpack_mark(&pack_mark(&mark)).ok(), Some(mark));
    }
    let after = Duration::from_secs(1);
    for outcome in [Outcome::Done, Outcome::Yield { after }] {
        assert_eq!(unpack_outcome(pack_outcome(&outcome)).ok(), Some(outcome));
    }
    assert!(unpack_outcome(wire::Outcome::default()).is_err());
}

#[test]
fn the_limits_apply_to_all_packages_of_a_table_together() {
    let mut packer = Packer::default();
    let places = ["a", "b", "a"].map(|name| packer.add(&package(name)));
    assert_eq!(places, [0, 1, 0]);
    let packages = packer.finish();
    // A package has a list, a map, three strings of identity, the data map and three numbers.
    let limits = Limits::new().values(11);
    assert!(Unpacker::new(&packages[..1], &limits).is_ok());
    let both = Unpacker::new(&packages, &limits).err().expect("too many");
    assert!(both.to_string().contains("values"), "{both}");
    let table = Unpacker::new(&packages, &Limits::default()).expect("sound");
    assert_eq!(table.at(1).expect("a place"), package("b"));
    assert!(table.at(2).is_err());
}

#[test]
fn keys_of_an_unknown_kind_are_refused() {
    for kind in [0, 5, -1, i32::MAX] {
        let key = wire::Key {
            kind,
            id: "a".to_owned(),
        };
        assert!(unpack_key(&key).is_err());
    }
}

#[test]
fn every_part_of_want_survives_a_round_trip() {
    let each: [fn(&mut Want) -> &mut bool; 6] = [
        |want| &mut want.package,
        |want| &mut want.revision,
        |want| &mut want.work,
        |want| &mut want.deleting,
        |want| &mut want.allow_stale,
        |want| &mut want.kept,
    ];
    for set in each {
        let mut want = Want::ROW;
        *set(&mut want) = true;
        assert_eq!(unpack_want(Some(pack_want(want))), want);
    }
    assert_eq!(unpack_want(None), Want::ROW);
}
