use super::{FromLabels, Named, check_length, from_labels, generated, labels, named};
use crate::stored::StoredMetadata;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tko_core::{Key, Kind, Metadata};

/// The labels that an object with these labels shows.
fn shown(given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let FromLabels { metadata, literal } =
        from_labels(given).map_err(|causes| format!("{causes:?}"))?;
    let stored = StoredMetadata {
        labels: literal,
        ..StoredMetadata::default()
    };
    Ok(labels(&metadata.into_iter().collect(), &stored))
}

#[test]
fn ordinary_and_encoded_labels_come_back_byte_for_byte() {
    let given: BTreeMap<String, String> = [
        ("app.kubernetes.io/name", "upf"),
        ("app-name", "a-b"),
        ("my-face", "x_y"),
        ("tier", "front-end"),
        ("NetworkFunction.type", "UPF"),
        ("Site-002fregion", "south-0020west"),
        ("empty", ""),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(shown(&given), Ok(given.clone()));
    let metadata = from_labels(&given).expect("all fit").metadata;
    assert_eq!(
        metadata["Site/region"], "south west",
        "encoded labels are decoded"
    );
    assert_eq!(metadata["app.kubernetes.io/name"], "upf");
}

#[test]
fn labels_that_cannot_be_kept_are_refused_by_key() {
    for (key, value) in [
        ("a b", "x"),
        ("a", "x y"),
        ("-a", "x"),
        ("a/b/c", "x"),
        ("nephio.org/x", "y"),
        ("nephio.org-002fx", "y"),
    ] {
        let given = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let message = shown(&given).expect_err("it cannot be kept");
        assert!(message.contains(key), "{message}");
    }
    let twice = BTreeMap::from([
        ("a.b/c".to_owned(), "1".to_owned()),
        ("a.b-002fc".to_owned(), "2".to_owned()),
    ]);
    assert!(
        shown(&twice).is_err(),
        "both are the same piece of metadata"
    );
}

#[test]
fn metadata_that_does_not_fit_into_labels_is_left_out() {
    let metadata = Metadata::from_iter([
        ("fine", "x"),
        ("long", &"y".repeat(64)),
        ("nephio.org/secret", "z"),
        (".dot", "x"),
    ]);
    let shown = labels(&metadata, &StoredMetadata::default());
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["fine"]);
}

#[test]
fn names_that_are_no_encoded_ids_are_refused_with_advice() {
    assert!(matches!(
        named(Kind::Template, "demo-002fhello"),
        Ok(Named::Key(Key::Template(_)))
    ));
    let error = named(Kind::Template, "hello-world").expect_err("not encoded");
    assert!(error.contains("hello-002dworld"), "{error}");
    for name in ["-0041", "a-00", "a-", "x-d800", "a/b"] {
        assert!(named(Kind::Site, name).is_err(), "{name}");
    }
    assert_eq!(named(Kind::Deployment, "my-upf"), Ok(Named::Alias));
    assert!(named(Kind::Deployment, "My-upf").is_err());
    assert!(named(Kind::Plugin, "prepare-007cgateway").is_ok());
}

#[test]
fn a_generated_name_is_as_long_as_a_name_may_be_at_most() {
    assert_eq!(generated("edge-", "06h24sr0abcde"), "edge-abcde");
    assert_eq!(generated("edge-", "abc"), "edge-abc");
    for letters in [247, 248, 249, 253, 300] {
        let name = generated(&"x".repeat(letters), "06h24sr0abcde");
        assert_eq!(name.len(), letters.min(248) + 5);
        assert!(name.ends_with("xabcde"), "{name}");
        assert_eq!(check_length(&name), Ok(()));
    }
    assert!(check_length(&"x".repeat(254)).is_err());
}

proptest! {
    #[test]
    fn valid_labels_come_back(given in prop::collection::btree_map(
        "[a-z]{1,3}(/[a-zA-Z0-9]{1,2}(-00[0-9a-f]{2}|[-_.])?[a-z0-9])?|[a-zA-Z0-9]{1,3}(-00[0-9a-f]{2}|[-_.])[0-9a-z]{1,5}",
        "([a-zA-Z0-9](-00[0-9a-f]{2}|[-_.]){0,2}[a-zA-Z0-9]{1,5})?", 0..5)) {
        if let Ok(shown) = shown(&given) {
            prop_assert_eq!(shown, given);
        }
    }

    #[test]
    fn no_name_breaks_it(name in "\\PC{0,40}") {
        for kind in Kind::ALL {
            let _ = named(kind, &name);
        }
    }
}
