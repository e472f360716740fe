//! `set-image`: sets the name, tag or digest of container images.

use super::fields::{Config, FieldSpec, config, texts};
use super::growth::WriteBudget;
use crate::reference::FunctionVersion;
use crate::resource_list::ResourceList;
use crate::results::{FunctionResult, Severity};
use serde_json::Value;

/// The change of an image.
#[derive(Default)]
struct ImageChange {
    name: String,
    new_name: String,
    new_tag: String,
    digest: String,
}

pub(super) fn run(
    list: &mut ResourceList,
    _: FunctionVersion,
    budget: &mut WriteBudget,
) -> Result<(), String> {
    let (given, own) = match config(list, "SetImage")? {
        Config::Data(_, data) => (texts(Some(&Value::Object(data)), "data")?, Value::Null),
        Config::Own(own) => (texts(own.get("image"), "image")?, own.clone()),
    };
    let change = ImageChange::read(given)?;
    let more = FieldSpec::read(&own, "additionalImageFields")?;
    let mut changes = Vec::new();
    for item in &mut list.items {
        let mut changed = Vec::new();
        let mut edit = |place: &mut Value| {
            if budget.is_left()
                && let Some((old, new)) = change.apply(place)
            {
                budget.take(old.len() + new.len());
                changed.push(format!("image changed from {old} to {new}"));
            }
        };
        if let Some(spec) = item.value.get_mut("spec") {
            containers(spec, &mut edit);
        }
        for place in &more {
            if place.selects(&item.value) {
                place.edit(&mut item.value, &mut edit);
            }
        }
        let results = changed
            .into_iter()
            .map(|message| FunctionResult::new(Severity::Info, message).with_resource(&item.value));
        changes.extend(results);
    }
    budget.check()?;
    let message = format!("{} images changed", changes.len());
    list.results.extend(changes);
    list.results
        .push(FunctionResult::new(Severity::Info, message));
    Ok(())
}

/// Calls `edit` with the image of every container in lists of containers, at any depth.
fn containers(value: &mut Value, edit: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::Array(items) if key == "containers" || key == "initContainers" => {
                        let images = items.iter_mut().filter_map(|item| item.get_mut("image"));
                        images.for_each(&mut *edit);
                    }
                    value => containers(value, edit),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| containers(item, edit)),
        _ => {}
    }
}

impl ImageChange {
    fn read(given: Vec<(String, String)>) -> Result<Self, String> {
        let mut change = Self::default();
        for (key, text) in given {
            let place = match key.as_str() {
                "name" => &mut change.name,
                "newName" => &mut change.new_name,
                "newTag" => &mut change.new_tag,
                "digest" => &mut change.digest,
                other => {
                    return Err(format!(
                        "it has an unknown field {other:?}; expected name, newName, newTag or digest"
                    ));
                }
            };
            *place = text;
        }
        if change.name.is_empty() {
            return Err("its field name, of the image to change, is missing".to_owned());
        }
        if [&change.new_name, &change.new_tag, &change.digest]
            .iter()
            .all(|text| text.is_empty())
        {
            return Err("newName, newTag and digest are missing; expected at least one".to_owned());
        }
        if !change.new_tag.is_empty() && !change.digest.is_empty() {
            return Err("it has both newTag and digest; expected one of them".to_owned());
        }
        Ok(change)
    }

    /// Changes an image with this name; returns the old and the new one if they differ.
    fn apply(&self, place: &mut Value) -> Option<(String, String)> {
        let old = place.as_str()?.to_owned();
        if !self.matches(&old) {
            return None;
        }
        let (name, rest) = split(&old);
        let name = if self.new_name.is_empty() {
            name
        } else {
            &self.new_name
        };
        let new = if !self.new_tag.is_empty() {
            format!("{name}:{}", self.new_tag)
        } else if !self.digest.is_empty() {
            format!("{name}@{}", self.digest)
        } else {
            format!("{name}{rest}")
        };
        if new == old {
            return None;
        }
        *place = Value::String(new.clone());
        Some((old, new))
    }

    /// Whether an image has this name, with any tag or digest.
    fn matches(&self, image: &str) -> bool {
        let Some(rest) = image.strip_prefix(&self.name) else {
            return false;
        };
        let rest = rest.strip_prefix("@sha256").unwrap_or(rest);
        rest.is_empty()
            || rest.strip_prefix(':').is_some_and(|tag| {
                tag.chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_.{}-".contains(c))
            })
    }
}

/// The name of an image, and the rest with its separator.
fn split(image: &str) -> (&str, &str) {
    let path = image.find('/').unwrap_or(0);
    let at = image
        .find('@')
        .or_else(|| image[path..].rfind(':').map(|colon| path + colon));
    image.split_at(at.unwrap_or(image.len()))
}

#[cfg(test)]
mod tests {
    use super::ImageChange;
    use serde_json::json;

    fn changed(config: &[(&str, &str)], image: &str) -> String {
        let given = config
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        let change = ImageChange::read(given.collect()).expect("valid");
        let mut place = json!(image);
        change.apply(&mut place);
        place.as_str().expect("text").to_owned()
    }

    #[test]
    fn tags_digests_and_ports_are_told_apart() {
        let tag: &[_] = &[("name", "nginx"), ("newTag", "2")];
        assert_eq!(changed(tag, "nginx"), "nginx:2");
        assert_eq!(changed(tag, "nginx:1.0"), "nginx:2");
        assert_eq!(changed(tag, "nginx@sha256:abc"), "nginx:2");
        assert_eq!(changed(tag, "nginx-other:1"), "nginx-other:1");
        let port: &[_] = &[("name", "host:5000/app"), ("newName", "app")];
        assert_eq!(changed(port, "host:5000/app"), "app");
        assert_eq!(changed(port, "host:5000/app:v1"), "app:v1");
        let digest: &[_] = &[("name", "a"), ("digest", "sha256:1")];
        assert_eq!(changed(digest, "a:v1"), "a@sha256:1");
    }
}
