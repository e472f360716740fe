//! Selections: `select: {metadata: {KEY: PATTERN}}`.

use super::field;
use tko_core::metadata::leaf_text;
use tko_core::pattern::Pattern;
use tko_core::select::MetadataPatterns;
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

/// The first entity by id that matches.
pub(super) async fn first(
    data: &dyn DataApi,
    kind: Kind,
    metadata: &MetadataPatterns,
) -> Result<Option<Key>> {
    let mut list = List::new(Select::all(kind).metadata_patterns(metadata.clone())).limit(1);
    loop {
        let page = data.list(&list).await?;
        if let Some(record) = page.items.first() {
            return Ok(Some(record.entity.key.clone()));
        }
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
