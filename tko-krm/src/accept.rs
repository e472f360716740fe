//! Content negotiation: the representation that the `Accept` header requests.

use crate::failure::{KrmAnswer, KrmFailure};

/// Maximum number of clauses of an `Accept` header that are read.
const MAX_CLAUSES: usize = 64;

/// A representation of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Representation {
    /// The objects themselves, as JSON.
    Object,
    /// A `Table` of this version of `meta.k8s.io`.
    Table(MetaVersion),
    /// Only metadata, as `PartialObjectMetadata`.
    Metadata(MetaVersion),
    /// An `APIGroupDiscoveryList`, version `v2`.
    Discovery,
}

/// A version of the group `meta.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    /// The `apiVersion`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        }
    }
}

/// The representations that an endpoint can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// JSON only.
    Json,
    /// JSON, or aggregated discovery.
    Discovery,
    /// Objects, tables, and metadata of single objects (`PartialObjectMetadata`).
    Single,
    /// Objects, tables, and metadata of lists (`PartialObjectMetadataList`).
    List,
}

/// One clause of an `Accept` header.
struct Clause<'a> {
    media: &'a str,
    quality: f32,
    kind: Option<&'a str>,
    group: Option<&'a str>,
    version: Option<&'a str>,
}

/// Chooses the representation for an `Accept` header: the best clause that can be served.
pub(crate) fn negotiate(header: Option<&str>, serves: Serves) -> KrmAnswer<Representation> {
    let header = header.map(str::trim).filter(|header| !header.is_empty());
    let Some(header) = header else {
        return Ok(Representation::Object);
    };
    let mut clauses: Vec<Clause<'_>> = header
        .split(',')
        .take(MAX_CLAUSES)
        .filter_map(parse)
        .collect();
    // Stable: clauses of equal quality keep their order.
    clauses.sort_by(|one, two| two.quality.total_cmp(&one.quality));
    clauses
        .iter()
        .find_map(|clause| served(clause, serves))
        .ok_or_else(|| KrmFailure::not_acceptable("application/json"))
}

fn parse(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let mut clause = Clause {
        media: parts.next()?,
        quality: 1.0,
        kind: None,
        group: None,
        version: None,
    };
    for part in parts {
        let Some((name, value)) = part.split_once('=') else {
            continue;
        };
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => {
                clause.quality = value
                    .parse()
                    .ok()
                    .filter(|quality| (0.0..=1.0).contains(quality))?;
            }
            "as" => clause.kind = Some(value),
            "g" => clause.group = Some(value),
            "v" => clause.version = Some(value),
            // Other parameters do not change the answer.
            _ => {}
        }
    }
    (clause.quality > 0.0).then_some(clause)
}

fn served(clause: &Clause<'_>, serves: Serves) -> Option<Representation> {
    let is_json = ["application/json", "application/*", "*/*"]
        .iter()
        .any(|media| clause.media.eq_ignore_ascii_case(media));
    if !is_json {
        return None;
    }
    let Some(kind) = clause.kind else {
        return Some(Representation::Object);
    };
    if kind == "APIGroupDiscoveryList" {
        let fits = serves == Serves::Discovery
            && clause.group == Some("apidiscovery.k8s.io")
            && clause.version == Some("v2");
        return fits.then_some(Representation::Discovery);
    }
    if clause.group != Some("meta.k8s.io") {
        return None;
    }
    let version = MetaVersion::parse(clause.version?)?;
    match (kind, serves) {
        ("Table", Serves::Single | Serves::List) => Some(Representation::Table(version)),
        ("PartialObjectMetadata", Serves::Single) | ("PartialObjectMetadataList", Serves::List) => {
            Some(Representation::Metadata(version))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{MetaVersion, Representation, Serves, negotiate};
    use proptest::prelude::*;

    fn chosen(header: &str, serves: Serves) -> Option<Representation> {
        negotiate(Some(header), serves).ok()
    }

    #[test]
    fn kubectl_gets_a_table_and_others_json() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                       application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let table = Some(Representation::Table(MetaVersion::V1));
        assert_eq!(chosen(kubectl, Serves::List), table);
        assert_eq!(
            chosen(kubectl, Serves::Json),
            Some(Representation::Object),
            "clauses that do not fit are skipped"
        );
        assert_eq!(chosen("*/*", Serves::List), Some(Representation::Object));
        let protobuf = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(chosen(protobuf, Serves::List), Some(Representation::Object));
        assert_eq!(
            chosen("application/vnd.kubernetes.protobuf", Serves::List),
            None
        );
    }

    #[test]
    fn aggregated_discovery_is_chosen_by_quality_in_any_order_of_parameters() {
        let aggregator = "application/json;q=0.8, \
            application/json;v=v2;profile=nopeer;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;q=0.9";
        assert_eq!(
            chosen(aggregator, Serves::Discovery),
            Some(Representation::Discovery)
        );
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,\
                    application/json";
        assert_eq!(
            chosen(beta, Serves::Discovery),
            Some(Representation::Object)
        );
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(header in "\\PC{0,200}") {
            let _ = negotiate(Some(&header), Serves::List);
        }
    }
}
