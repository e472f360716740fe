//! The number of index entries that pages and counts read. Unlike times, these figures hold on every
//! machine.

use super::{MAX_VISITED, page};
use crate::count::tests::count;
use crate::sample::{
    commit, deployment, deployment_id, key, placed, plugin, puts, site, site_id, state, template,
    template_id,
};
use crate::state::MemoryState;
use tko_core::{ChangeSet, Cursor, Gvk, Kind, List, Pattern, Plugin, PluginType, Put, Select};

/// All ids in order, read in pages, and the largest number of index entries read for one page.
fn walk(state: &MemoryState, select: &Select, limit: usize) -> (Vec<String>, usize) {
    let (mut ids, mut most, mut after) = (Vec::new(), 0, None);
    loop {
        let list = List::new(select.clone()).after(after).limit(limit);
        let (page, visited) = page(state, &list);
        most = most.max(visited);
        ids.extend(page.items.iter().map(|r| r.entity.key.id().to_owned()));
        after = page.next;
        if after.is_none() {
            return (ids, most);
        }
    }
}

fn id(pattern: &str) -> Vec<Pattern> {
    vec![Pattern::id(pattern).expect("a pattern")]
}

fn value(name: &str, pattern: &str) -> tko_core::select::MetadataPatterns {
    let pattern = Pattern::value(pattern).expect("a pattern");
    [(name.to_owned(), pattern)].into()
}

fn sites(n: usize) -> impl Iterator<Item = Put> {
    (0..n).map(|n| {
        let region = format!("r{}", n % 100);
        site(
            &format!("{}/s{n:05}", if n < 7 { "x" } else { "y" }),
            &[("region", &region), ("all", "same")],
        )
    })
}

fn all(kind: Kind) -> Select {
    Select::all(kind)
}

#[test]
fn a_page_of_all_rows_reads_one_page() {
    let state = state(sites(3_000));
    let (ids, most) = walk(&state, &all(Kind::Site), 100);
    assert_eq!(ids.len(), 3_000);
    assert!(ids.is_sorted());
    assert!(most <= 101, "{most}");
}

#[test]
fn a_literal_id_is_read_directly() {
    let state = state(sites(3_000));
    let mut select = all(Kind::Site);
    select.ids = id("x/s00003");
    assert_eq!(walk(&state, &select, 0), (vec!["x/s00003".to_owned()], 2));
    select.ids.extend(id("x/s00004"));
    assert_eq!(walk(&state, &select, 0).0, Vec::<String>::new());
    select.ids = vec![Pattern::literal("no id at all")];
    assert_eq!(walk(&state, &select, 0).0, Vec::<String>::new());
}

#[test]
fn a_literal_prefix_of_ids_bounds_the_walk() {
    let state = state(sites(3_000));
    let mut select = all(Kind::Site);
    select.ids = id("x/**");
    let (ids, most) = walk(&state, &select, 0);
    assert_eq!((ids.len(), most), (7, 8));
    // The page also ends early in a posting that goes far beyond the prefix.
    select.metadata = value("all", "same");
    let (ids, most) = walk(&state, &select, 0);
    assert_eq!((ids.len(), most), (7, 8));
}

#[test]
fn a_metadata_value_leads_to_its_rows() {
    let state = state(sites(3_000));
    let mut select = all(Kind::Site);
    select.metadata = value("region", "r42");
    let (ids, most) = walk(&state, &select, 0);
    assert_eq!((ids.len(), most), (30, 31));
    select.metadata = value("region", "nowhere");
    assert_eq!(walk(&state, &select, 0), (Vec::new(), 0));
    select.metadata = value("unknown", "*");
    assert_eq!(walk(&state, &select, 0), (Vec::new(), 0));
}

#[test]
fn a_prefix_of_metadata_values_merges_their_rows_in_key_order() {
    let state = state(sites(3_000));
    let mut select = all(Kind::Site);
    select.metadata = value("region", "r4*");
    let (ids, most) = walk(&state, &select, 10);
    assert_eq!(ids.len(), 330, "r4, and r40 to r49");
    assert!(ids.is_sorted());
    assert!(most <= 11 + 10, "{most}: eleven lists opened for ten rows");
}

#[test]
fn the_shortest_of_several_postings_is_read() {
    let state = state(sites(3_000));
    let mut select = all(Kind::Site);
    select.metadata = value("all", "same");
    select.metadata.extend(value("region", "r7"));
    let (ids, most) = walk(&state, &select, 0);
    assert_eq!((ids.len(), most), (30, 31));
}

#[test]
fn more_values_than_can_be_merged_end_in_short_pages_that_lose_nothing() {
    let state = state((0..12_000).map(|n| {
        let half = if n % 2 == 0 { "even" } else { "odd" };
        site(&format!("s{n:05}"), &[("name", &format!("{half}{n}"))])
    }));
    let mut select = all(Kind::Site);
    select.metadata = value("name", "even*");
    let (ids, most) = walk(&state, &select, 0);
    assert_eq!(ids.len(), 6_000);
    assert!(ids.is_sorted());
    assert!(most <= MAX_VISITED, "{most}");
    select.metadata = value("name", "*1999");
    let (ids, most) = walk(&state, &select, 0);
    assert_eq!(ids, ["s01999", "s11999"]);
    assert!(most <= MAX_VISITED, "{most}");
}

pub(crate) fn deployments() -> MemoryState {
    let templates = (0..10).map(|n| {
        let kind = if n < 2 { "upf" } else { "smf" };
        template(&format!("t/{n}"), &[("kind", kind)])
    });
    let places = (0..10).map(|n| site(&format!("s{n}"), &[("n", &n.to_string())]));
    let parent = deployment("parent", |d| d.prepared = true);
    let children = (0..2_000).map(|n| {
        deployment(&format!("d{n:04}"), |d| {
            d.template = Some(template_id(&format!("t/{}", n % 10)));
            d.site = Some(site_id(&format!("s{}", n / 200)));
            d.parent = (n < 20).then(|| deployment_id("parent"));
            d.prepared = n >= 10;
            d.approved = n >= 15;
            d.placed = (n == 1_000 || n == 1).then(|| placed("s0"));
        })
    });
    state(templates.chain(places).chain([parent]).chain(children))
}

#[test]
fn relations_and_state_lead_to_their_rows() {
    let state = deployments();
    let check = |what: &str, rows: usize, lists: usize, fill: &dyn Fn(&mut Select)| {
        let mut select = all(Kind::Deployment);
        fill(&mut select);
        let (ids, visited) = walk(&state, &select, 0);
        assert_eq!(ids.len(), rows, "{what}");
        assert!(ids.is_sorted(), "{what}");
        assert!(visited <= rows + lists, "{what}: {visited} for {rows}");
        assert_eq!(count(&state, &select, 10_000).0.found, rows as u64);
    };
    check("template", 200, 1, &|s| s.template_ids = id("t/3"));
    check("templates", 2_000, 10, &|s| s.template_ids = id("t/*"));
    check("site", 200, 1, &|s| s.site_ids = id("s4"));
    check("parent", 20, 1, &|s| {
        s.parent = Some(deployment_id("parent"));
    });
    check("not prepared", 10, 1, &|s| s.prepared = Some(false));
    check("not approved", 16, 2, &|s| s.approved = Some(false));
    check("prepared only", 6, 1, &|s| {
        (s.prepared, s.approved) = (Some(true), Some(false));
    });
    // One of the two deployments that are placed there is in both postings.
    check("concerning", 201, 3, &|s| {
        s.concerning = Some(site_id("s0"));
    });
    check("template metadata", 400, 2, &|s| {
        s.template_metadata = value("kind", "upf");
    });
    check("site metadata", 200, 1, &|s| {
        s.site_metadata = value("n", "4");
    });
    check("no such join", 0, 0, &|s| {
        s.site_metadata = value("n", "none");
    });
}

#[test]
fn plugins_are_found_by_type_executor_trigger_and_name() {
    let trigger = Gvk::new("g", "v1", "K");
    let state = state((0..300).map(|n| {
        let facts = Plugin::default()
            .executor(format!("e{}", n % 100))
            .triggers(vec![trigger.clone(); usize::from(n == 5) * 2]);
        let plugin_type = PluginType::ALL[n % 3];
        plugin(&format!("{plugin_type}|p{}", n / 3), facts)
    }));
    let check = |rows: usize, most: usize, fill: &dyn Fn(&mut Select)| {
        let mut select = all(Kind::Plugin);
        fill(&mut select);
        let (ids, visited) = walk(&state, &select, 0);
        assert_eq!(ids.len(), rows, "{select:?}");
        assert!(visited <= most, "{visited} for {select:?}");
    };
    check(100, 101, &|s| s.plugin_type = Some(PluginType::Schedule));
    check(3, 4, &|s| s.executor = Some("e7".to_owned()));
    check(1, 2, &|s| s.trigger = Some(trigger.clone()));
    check(3, 4, &|s| s.ids = id("p7"));
}

#[test]
fn indexes_follow_every_change_of_a_row() {
    let mut state = state([]);
    let is_found = |state: &MemoryState, fill: &dyn Fn(&mut Select)| {
        let mut select = all(Kind::Deployment);
        fill(&mut select);
        let (ids, visited) = walk(state, &select, 0);
        assert!(visited <= 3 * ids.len(), "a list that nothing is in");
        !ids.is_empty()
    };
    let mut one = deployment("d", |d| {
        (d.template, d.site) = (Some(template_id("a")), Some(site_id("a")));
    });
    one.metadata.insert("k", "a");
    commit(&mut state, puts([one]));
    let mut other = deployment("d", |d| {
        d.template = Some(template_id("b"));
        d.placed = Some(placed("c"));
        d.prepared = true;
    });
    other.metadata.insert("k", "b");
    commit(&mut state, puts([other]));
    let by_template = |t: &'static str| move |s: &mut Select| s.template_ids = id(t);
    let by_metadata = |v: &'static str| move |s: &mut Select| s.metadata = value("k", v);
    assert!(!is_found(&state, &by_template("a")));
    assert!(is_found(&state, &by_template("b")));
    assert!(!is_found(&state, &by_metadata("a")));
    assert!(is_found(&state, &by_metadata("b")));
    assert!(!is_found(&state, &|s| s.site_ids = id("a")));
    assert!(is_found(&state, &|s| s.concerning = Some(site_id("c"))));
    assert!(!is_found(&state, &|s| s.prepared = Some(false)));
    let delete = ChangeSet::new().delete(key(Kind::Deployment, "d"));
    commit(&mut state, delete);
    assert!(!is_found(&state, &by_template("b")));
    assert!(!is_found(&state, &by_metadata("b")));
    assert!(!is_found(&state, &|s| s.prepared = Some(true)));
}

#[test]
fn a_cursor_continues_after_deleted_rows() {
    let mut state = state(sites(20));
    let list = |after| List::new(all(Kind::Site)).after(after).limit(10);
    let (first, _) = page(&state, &list(None));
    let last = first.items[9].entity.key.clone();
    assert_eq!(first.next, Some(Cursor(last.clone())));
    let delete = ChangeSet::new().delete(last);
    commit(&mut state, delete);
    let (second, _) = page(&state, &list(first.next));
    assert_eq!((second.items.len(), second.next), (10, None));
}
