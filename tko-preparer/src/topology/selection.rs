//! Selections: `select: {metadata: {KEY: PATTERN}}`.

use super::field;
use tko_core::metadata::{INVENTORY_GONE, leaf_text};
use tko_core::pattern::Pattern;
use tko_core::select::{MAX_PAGE, MetadataPatterns};
use tko_core::{DataApi, Error, Key, Kind, List, Resource, Result, Select, Want};

/// The selection in `spec.select.metadata`, if any. Values that are not strings are read as text.
pub(super) fn selection(resource: &Resource) -> Result<Option<MetadataPatterns>> {
    let Some(select) = field::spec(resource, "select") else {
        return Ok(None);
    };
    let Some(metadata) = field::of(field::map(select, "spec.select")?, "metadata") else {
        return Ok(None);
    };
    let patterns = field::map(metadata, "spec.select.metadata")?
        .iter()
        .map(|(key, value)| {
            let bad =
                |message: String| Error::bad(format!("spec.select.metadata[{key:?}]"), message);
            let text = leaf_text(value)
                .ok_or_else(|| bad(format!("{value} is not a pattern; use text")))?;
            let pattern = Pattern::value(&text).map_err(|error| bad(error.to_string()))?;
            Ok((key.clone(), pattern))
        })
        .collect::<Result<MetadataPatterns>>()?;
    Ok(Some(patterns))
}

/// The first entity by id that matches. Sites that their inventory no longer has are skipped: they
/// get no new deployments.
pub(super) async fn first(
    data: &dyn DataApi,
    kind: Kind,
    metadata: &MetadataPatterns,
) -> Result<Option<Key>> {
    let mut list = List::new(Select::all(kind).metadata_patterns(metadata.clone())).limit(1);
    loop {
        let page = data.list(&list).await?;
        let found = page
            .items
            .iter()
            .find(|record| !record.entity.given.contains_key(INVENTORY_GONE));
        if let Some(record) = found {
            return Ok(Some(record.entity.key.clone()));
        }
        // The first row is nearly always enough. If it is skipped, many others may be skipped too.
        list.limit = MAX_PAGE;
        list.after = page.next;
        if list.after.is_none() {
            return Ok(None);
        }
    }
}

/// Whether the entity exists.
pub(super) async fn exists(data: &dyn DataApi, key: &Key) -> Result<bool> {
    match data.get(key, Want::ROW).await {
        Ok(_) => Ok(true),
        Err(Error::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A selection for people: `Site.region=south, Site.role=edge`.
pub(super) fn in_words(metadata: &MetadataPatterns) -> String {
    if metadata.is_empty() {
        return "anything".to_owned();
    }
    metadata
        .iter()
        .map(|(key, pattern)| format!("{key}={}", pattern.as_str()))
        .collect::<Vec<_>>()
        .join(", ")
}
