//! Generated user operations on few entities, so that they collide.

use super::item::{ModelHead, ModelResource};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// The number of template ids and of site ids; the entities need not exist.
const IDS: u8 = 3;

#[derive(Clone, Debug)]
pub(super) enum UserOperation {
    Template {
        id: u8,
        items: Vec<ModelResource>,
        given: Option<u8>,
    },
    Site {
        id: u8,
        template: Option<u8>,
        items: Vec<ModelResource>,
        given: Option<u8>,
    },
    Create(Creation),
    Modify {
        which: u8,
        by: By,
        alter: Vec<PackageChange>,
    },
    Approve(MatchChoice),
    Delete(DeletionTarget),
    Purge(MatchChoice),
}

#[derive(Clone, Debug)]
pub(super) struct Creation {
    pub(super) template: Option<u8>,
    pub(super) site: Option<u8>,
    /// The number of a created deployment.
    pub(super) parent: Option<u8>,
    pub(super) items: Vec<ModelResource>,
    pub(super) given: Option<u8>,
    pub(super) prepared: bool,
    pub(super) approved: bool,
    pub(super) once: Option<u8>,
}

/// The way in which a package is replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Modification,
    Update,
    /// With an earlier version.
    Stale,
}

#[derive(Clone, Debug)]
pub(super) enum PackageChange {
    Set(ModelResource),
    Drop(u8),
    Template(Option<u8>),
    Site(Option<u8>),
    Prepared(bool),
    Approved(bool),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum DeletionTarget {
    Template(u8),
    Site(u8),
    /// The number of a created deployment.
    Deployment(u8),
}

#[derive(Clone, Debug)]
pub(super) struct MatchChoice {
    /// 0: templates, 1: sites, 2: deployments.
    pub(super) kind: u8,
    pub(super) word: Option<u8>,
    pub(super) template: Option<u8>,
    pub(super) site: Option<u8>,
    pub(super) parent: Option<u8>,
    pub(super) prepared: Option<bool>,
    pub(super) approved: Option<bool>,
}

pub(super) fn template_name(number: u8) -> String {
    format!("t/{number}")
}

pub(super) fn site_name(number: u8) -> String {
    format!("s/{number}")
}

/// A few initial entities, and up to forty operations.
pub(super) fn sequences() -> impl Strategy<Value = Vec<UserOperation>> {
    let beginning = (items(true), option::of(0..IDS), vec(creation(), 2..4));
    (beginning, vec(verb(), 1..40)).prop_map(|((items, template, creations), verbs)| {
        let mut all = vec![
            UserOperation::Template {
                id: 0,
                items: vec![ModelResource::Facts(1)],
                given: None,
            },
            UserOperation::Template {
                id: 1,
                items,
                given: Some(1),
            },
        ];
        all.extend([0, 1].map(|id| UserOperation::Site {
            id,
            template: template.filter(|template| *template == 0),
            items: vec![ModelResource::Config(id)],
            given: None,
        }));
        all.extend(creations.into_iter().map(UserOperation::Create));
        all.extend(verbs);
        all
    })
}

fn verb() -> impl Strategy<Value = UserOperation> {
    let given = || option::weighted(0.3, 0..3_u8);
    let template = (0..IDS, items(true), given())
        .prop_map(|(id, items, given)| UserOperation::Template { id, items, given });
    let site = (0..IDS, option::of(0..IDS), items(false), given()).prop_map(
        |(id, template, items, given)| UserOperation::Site {
            id,
            template,
            items,
            given,
        },
    );
    let by = prop_oneof![2 => Just(By::Modification), 2 => Just(By::Update), 1 => Just(By::Stale)];
    let modify = (recent(), by, vec(alter(), 1..4))
        .prop_map(|(which, by, alter)| UserOperation::Modify { which, by, alter });
    let which = prop_oneof![
        (0..IDS).prop_map(DeletionTarget::Template),
        (0..IDS).prop_map(DeletionTarget::Site),
        recent().prop_map(DeletionTarget::Deployment),
    ];
    prop_oneof![
        4 => template,
        4 => site,
        8 => creation().prop_map(UserOperation::Create),
        12 => modify,
        2 => choice(Just(2)).prop_map(UserOperation::Approve),
        2 => which.prop_map(UserOperation::Delete),
        1 => choice(0..3_u8).prop_map(UserOperation::Purge),
    ]
}

/// The number of a created deployment; recent ones are more frequent.
fn recent() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 0..2_u8, 2 => 2..4_u8, 1 => 4..8_u8]
}

/// Each kind of resource at most once, in any order.
fn items(heads: bool) -> impl Strategy<Value = Vec<ModelResource>> {
    let head = (option::weighted(0.3, 0..IDS), any::<bool>()).prop_map(|(site, prepared)| {
        ModelResource::Head(ModelHead {
            site: site.map(site_name),
            prepared,
            ..ModelHead::default()
        })
    });
    let item = prop_oneof![
        8 => (0..3_u8).prop_map(ModelResource::Config),
        8 => (0..3_u8).prop_map(ModelResource::Facts),
        5 => option::of(0..2_u8).prop_map(ModelResource::Need),
        1 => Just(ModelResource::Bad),
        4 => head,
    ];
    vec(item, 0..4).prop_map(move |items| {
        let mut unique: Vec<ModelResource> = Vec::new();
        for item in items {
            let known = unique.iter().any(|other| other.slot() == item.slot());
            if !known && (heads || !matches!(item, ModelResource::Head(_))) {
                unique.push(item);
            }
        }
        unique
    })
}

fn creation() -> impl Strategy<Value = Creation> {
    (
        option::weighted(0.7, 0..IDS),
        option::weighted(0.4, 0..IDS),
        option::weighted(0.3, recent()),
        items(true),
        option::weighted(0.3, 0..3_u8),
        (proptest::bool::weighted(0.6), proptest::bool::weighted(0.4)),
        option::weighted(0.15, 0..2_u8),
    )
        .prop_map(
            |(template, site, parent, items, given, (prepared, approved), once)| Creation {
                template,
                site,
                parent,
                items,
                given,
                prepared,
                approved,
                once,
            },
        )
}

fn alter() -> impl Strategy<Value = PackageChange> {
    prop_oneof![
        3 => (0..3_u8).prop_map(|word| PackageChange::Set(ModelResource::Config(word))),
        2 => (0..3_u8).prop_map(|word| PackageChange::Set(ModelResource::Facts(word))),
        1 => option::of(0..2_u8).prop_map(|value| PackageChange::Set(ModelResource::Need(value))),
        1 => Just(PackageChange::Set(ModelResource::Bad)),
        2 => prop_oneof![Just(0), Just(1), Just(2), Just(4)].prop_map(PackageChange::Drop),
        2 => option::of(0..IDS).prop_map(PackageChange::Template),
        3 => option::of(0..IDS).prop_map(PackageChange::Site),
        3 => any::<bool>().prop_map(PackageChange::Prepared),
        3 => any::<bool>().prop_map(PackageChange::Approved),
    ]
}

fn choice(kind: impl Strategy<Value = u8>) -> impl Strategy<Value = MatchChoice> {
    let one = || option::weighted(0.15, 0..IDS);
    let fact = || option::weighted(0.2, any::<bool>());
    (
        kind,
        option::weighted(0.5, 0..3_u8),
        (one(), one(), option::weighted(0.15, 0..6_u8)),
        (fact(), fact()),
    )
        .prop_map(
            |(kind, word, (template, site, parent), (prepared, approved))| MatchChoice {
                kind,
                word,
                template,
                site,
                parent,
                prepared,
                approved,
            },
        )
}
