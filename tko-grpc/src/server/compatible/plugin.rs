//! Messages about plugins.

use super::shared::text;
use crate::proto;
use crate::wire::select::id_patterns;
use tko_core::{Gvk, Key, Kind, NewPlugin, PluginId, Record, Result, Select};

pub(super) fn new(plugin: proto::Plugin) -> Result<NewPlugin> {
    Ok(NewPlugin::new(
        PluginId::new(plugin.r#type.parse()?, &plugin.name)?,
        plugin.executor,
    )
    .arguments(plugin.arguments)
    .properties(plugin.properties)
    .triggers(plugin.triggers.iter().map(gvk).collect()))
}

pub(super) fn key(id: &proto::PluginId) -> Result<Key> {
    Ok(PluginId::new(id.r#type.parse()?, &id.name)?.into())
}

pub(super) fn whole(record: &Record) -> proto::Plugin {
    let mut whole = proto::Plugin::default();
    if let Key::Plugin(id) = &record.entity.key {
        whole.r#type = id.plugin_type().to_string();
        id.name().clone_into(&mut whole.name);
    }
    if let Some(plugin) = record.entity.plugin() {
        whole.executor.clone_from(&plugin.executor);
        whole.arguments.clone_from(&plugin.arguments);
        whole.properties.clone_from(&plugin.properties);
        whole.triggers = plugin
            .triggers
            .iter()
            .map(|gvk| proto::Gvk {
                group: gvk.group.to_string(),
                version: gvk.version.to_string(),
                kind: gvk.kind.to_string(),
            })
            .collect();
    }
    whole
}

fn gvk(gvk: &proto::Gvk) -> Gvk {
    Gvk::new(&gvk.group, &gvk.version, &gvk.kind)
}

pub(super) fn select(select: &proto::SelectPlugins) -> Result<Select> {
    let plugin_type = select.r#type.as_deref().and_then(text);
    let trigger = select.trigger.as_ref();
    Ok(Select::all(Kind::Plugin)
        .plugin_type(plugin_type.map(str::parse).transpose()?)
        .ids(id_patterns("namePatterns", &select.name_patterns)?)
        .executor(select.executor.as_deref().and_then(text).map(str::to_owned))
        .trigger(
            trigger
                .filter(|trigger| **trigger != proto::Gvk::default())
                .map(gvk),
        ))
}
