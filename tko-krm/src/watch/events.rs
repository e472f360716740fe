//! Events of a watch as lines of JSON.

use crate::accept::Representation;
use crate::failure::KrmFailure;
use crate::feed::FeedChange;
use crate::object;
use crate::resource::{API_VERSION, ResourceType};
use crate::table::{self, IncludeObject};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};
use std::sync::Arc;
use tko_core::{Clock, Record, Revision};

/// The annotation of the bookmark after the current objects.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Writes the events of one watch.
pub(super) struct EventWriter {
    pub(super) resource: &'static ResourceType,
    pub(super) representation: Representation,
    pub(super) include: IncludeObject,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether the definitions of columns were sent: only the first table has them.
    pub(super) has_definitions: bool,
}

impl EventWriter {
    /// The event of a change that keeps the object.
    pub(super) fn change(&mut self, kind: &str, change: &FeedChange) -> Bytes {
        match self.representation {
            Representation::Object | Representation::Discovery => line(kind, &change.json()),
            _ => self.record(kind, &change.record, change.revision),
        }
    }

    /// The event of an object, with the resource version of this revision.
    pub(super) fn record(&mut self, kind: &str, record: &Record, revision: Revision) -> Bytes {
        let record = record.clone().revision(revision);
        let value = match self.representation {
            Representation::Object | Representation::Discovery => object::object(&record),
            Representation::Metadata(version) => table::partial(&record, version),
            Representation::Table(version) => {
                let definitions = !std::mem::replace(&mut self.has_definitions, true);
                let at = object::resource_version(revision);
                let metadata = Value::Object(table::list_metadata(at, None));
                let kind = self.resource.entity;
                let mut table = table::table(version, kind, metadata, definitions);
                let now = self.clock.now();
                table["rows"] = vec![table::row(&record, version, self.include, now)].into();
                table
            }
        };
        line(kind, &serde_json::to_vec(&value).unwrap_or_default())
    }

    /// The event that every change up to this revision was sent.
    pub(super) fn bookmark(&mut self, revision: Revision, is_end_of_objects: bool) -> Bytes {
        let version = object::resource_version(revision).to_string();
        let mut metadata = json!({"resourceVersion": version, "creationTimestamp": null});
        if is_end_of_objects {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let (kind, api_version) = match self.representation {
            Representation::Metadata(version) => ("PartialObjectMetadata", version.api_version()),
            _ => (self.resource.name, API_VERSION),
        };
        let mut object = json!({
            "kind": kind,
            "apiVersion": api_version,
            "metadata": metadata,
        });
        if let Representation::Table(version) = self.representation {
            let row = json!({"cells": [], "object": object});
            let definitions = !std::mem::replace(&mut self.has_definitions, true);
            let metadata = json!({"resourceVersion": version_text(revision)});
            object = table::table(version, self.resource.entity, metadata, definitions);
            object["rows"] = vec![row].into();
        }
        line("BOOKMARK", &serde_json::to_vec(&object).unwrap_or_default())
    }

    /// The event of a failure, after which the stream ends.
    pub(super) fn error(failure: &KrmFailure) -> Bytes {
        let status = serde_json::to_vec(&failure.to_status()).unwrap_or_default();
        line("ERROR", &status)
    }
}

fn version_text(revision: Revision) -> String {
    object::resource_version(revision).to_string()
}

/// An event in one line.
fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + 40);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(kind.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(object);
    line.put_slice(b"}\n");
    line.freeze()
}
