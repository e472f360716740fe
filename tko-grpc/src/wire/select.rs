//! Conversions of selections.

use super::scalar::{gvk, id, kind, plugin_type, unpack_gvk, unpack_kind, unpack_plugin_type};
use crate::proto::v1alpha2 as wire;
use std::collections::BTreeMap;
use tko_core::pattern::PatternError;
use tko_core::select::MetadataPatterns;
use tko_core::{Error, Pattern, Result, Select};

/// Maximum number of patterns of one selection.
const MAX_PATTERNS: usize = 1_000;

pub(crate) fn pack_select(select: &Select) -> wire::Select {
    wire::Select {
        kind: kind(select.kind).into(),
        ids: texts(&select.ids),
        metadata: text_map(&select.metadata),
        parent: select.parent.as_ref().map(ToString::to_string),
        template_ids: texts(&select.template_ids),
        template_metadata: text_map(&select.template_metadata),
        site_ids: texts(&select.site_ids),
        site_metadata: text_map(&select.site_metadata),
        prepared: select.prepared,
        approved: select.approved,
        concerning: select.concerning.as_ref().map(ToString::to_string),
        plugin_type: select
            .plugin_type
            .map_or(wire::PluginType::Unspecified, plugin_type)
            .into(),
        executor: select.executor.clone(),
        trigger: select.trigger.as_ref().map(gvk),
        deleting: select.deleting,
    }
}

pub(crate) fn unpack_select(select: &wire::Select) -> Result<Select> {
    Ok(Select::all(unpack_kind(select.kind)?)
        .ids(id_patterns("id pattern", &select.ids)?)
        .metadata_patterns(value_patterns("metadata pattern", &select.metadata)?)
        .parent(id(select.parent.as_deref())?)
        .template_ids(id_patterns("template id pattern", &select.template_ids)?)
        .template_metadata_patterns(value_patterns(
            "template metadata pattern",
            &select.template_metadata,
        )?)
        .site_ids(id_patterns("site id pattern", &select.site_ids)?)
        .site_metadata_patterns(value_patterns(
            "site metadata pattern",
            &select.site_metadata,
        )?)
        .prepared(select.prepared)
        .approved(select.approved)
        .concerning(id(select.concerning.as_deref())?)
        .plugin_type(unpack_plugin_type(select.plugin_type)?)
        .executor(select.executor.clone())
        .trigger(select.trigger.as_ref().map(unpack_gvk))
        .deleting(select.deleting))
}

/// Parses patterns for ids.
pub(crate) fn id_patterns(argument: &'static str, texts: &[String]) -> Result<Vec<Pattern>> {
    bounded(argument, texts.len())?;
    texts
        .iter()
        .map(|text| Pattern::id(text).map_err(|error| refused(argument, &error)))
        .collect()
}

/// Parses patterns for metadata values.
pub(crate) fn value_patterns(
    argument: &'static str,
    texts: &BTreeMap<String, String>,
) -> Result<MetadataPatterns> {
    bounded(argument, texts.len())?;
    texts
        .iter()
        .map(|(key, text)| match Pattern::value(text) {
            Ok(pattern) => Ok((key.clone(), pattern)),
            Err(error) => Err(refused(argument, &error)),
        })
        .collect()
}

fn bounded(argument: &'static str, count: usize) -> Result<()> {
    if count > MAX_PATTERNS {
        return Err(Error::bad(
            argument,
            format!("there are {count} patterns; at most {MAX_PATTERNS} are allowed"),
        ));
    }
    Ok(())
}

fn refused(argument: &'static str, error: &PatternError) -> Error {
    Error::bad(argument, error.to_string())
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(|p| p.as_str().to_owned()).collect()
}

fn text_map(patterns: &MetadataPatterns) -> BTreeMap<String, String> {
    patterns
        .iter()
        .map(|(key, pattern)| (key.clone(), pattern.as_str().to_owned()))
        .collect()
}
