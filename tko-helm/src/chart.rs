//! The resource `HelmChart` of `workload.nephio.org/v1alpha1`, read and checked.

use crate::condition::ChartCondition;
use crate::expression::{PackageExpressions, has_expression};
use serde_json::{Map, Value};
use tko_core::{Error, Gvk, Package, Resource, Result};

/// The `apiVersion` of charts.
pub const API_VERSION: &str = "workload.nephio.org/v1alpha1";
/// The `kind` of the resource that describes a chart and its values.
pub const KIND: &str = "HelmChart";

/// Maximum length of the name of a release, as in Helm.
const MAX_RELEASE: usize = 53;
/// Maximum bytes of one text of the specification.
const MAX_TEXT: usize = 2 << 10;
/// Maximum bytes of one parameter: the operating system limits one argument to 128 KiB.
const MAX_PARAMETER: usize = 120 << 10;
/// Maximum bytes of all parameters.
const MAX_PARAMETERS: usize = 1 << 20;
/// Maximum number of API versions.
const MAX_API_VERSIONS: usize = 1_000;

/// A chart and its values. Expressions are replaced by their values.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HelmChart {
    /// The name of the release: the name of the resource.
    pub release: String,
    /// The chart in the form that `helm` accepts: a name, a path, or a URL such as `oci://…`.
    pub chart: String,
    /// The URL of the repository in which `chart` is a name; `None` if `chart` says everything.
    pub repository: Option<String>,
    /// The version of the chart, or a range of versions; the newest by default.
    pub version: Option<String>,
    /// The namespace of the release; `default` if the resource names none.
    pub namespace: String,
    /// Values by dotted paths, as in `--set-json`.
    pub parameters: Map<String, Value>,
    /// Whether the chart is rendered during preparation.
    pub render: bool,
    /// Whether the definitions of custom resources in the folder `crds` of the chart are rendered.
    pub crds: bool,
    /// Whether hooks of installations and upgrades are rendered.
    pub hooks: bool,
    /// The version of Kubernetes that the chart sees; the default is that of the site, or of `helm`.
    pub kube_version: Option<String>,
    /// API versions that the chart sees, in addition to those of the site and those known to
    /// `helm`.
    pub api_versions: Vec<String>,
}

/// The type of charts.
pub fn gvk() -> Gvk {
    Gvk::of(API_VERSION, KIND)
}

impl HelmChart {
    /// Reads a chart. Its expressions see the package.
    ///
    /// Returns `None` if the condition `spec.when` does not hold; its expressions are then not
    /// evaluated.
    ///
    /// This can take a second of processor time if expressions are costly.
    ///
    /// # Errors
    /// `BadArgument`: the condition or an expression failed, or a field is wrong. The message names
    /// the chart, the key and the reason.
    pub fn read(resource: &Resource, package: &Package) -> Result<Option<Self>> {
        let release = &*resource.identifier().name;
        let bad = |reason: String| Error::bad(format!("{KIND} {release}"), reason);
        let Some(Value::Object(spec)) = resource.get(&["spec"]) else {
            return Err(bad("spec: must be a map".to_owned()));
        };
        if !condition_holds(spec, package).map_err(bad)? {
            return Ok(None);
        }
        let mut fields = Map::new();
        let expressions = PackageExpressions::new(package);
        for (key, value) in spec.iter().filter(|(key, _)| *key != "when") {
            let value = expressions.evaluate(&format!("spec.{key}"), value);
            fields.insert(key.clone(), value.map_err(bad)?);
        }
        Self::of_fields(release, &fields).map(Some).map_err(bad)
    }

    /// Whether a chart is to be rendered, without evaluating anything.
    ///
    /// # Errors
    /// `BadArgument`: `spec.render` is not a boolean.
    pub fn is_rendered(resource: &Resource) -> Result<bool> {
        match resource.get(&["spec", "render"]) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(render)) => Ok(*render),
            Some(_) => Err(Error::bad(
                format!("{KIND} {}", resource.identifier().name),
                "spec.render: must be true or false",
            )),
        }
    }

    /// Whether the result of rendering a chart depends on other resources of the package.
    pub fn is_dependent(resource: &Resource) -> bool {
        resource.get(&["spec", "when"]).is_some()
            || resource.get(&["spec"]).is_some_and(has_expression)
    }

    fn of_fields(release: &str, spec: &Map<String, Value>) -> Result<Self, String> {
        check_release(release)?;
        let chart = text(spec, "chart")?.ok_or("spec.chart: is required and missing")?;
        if chart.starts_with('-') {
            return Err(format!(
                "spec.chart: {chart:?} must not begin with a hyphen"
            ));
        }
        let repository = text(spec, "repository")?;
        if let Some(url) = &repository
            && !["http://", "https://"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
        {
            return Err(format!(
                "spec.repository: {url:?} must be a URL with http or https; for a registry, set \
                 spec.chart to oci://HOST/PATH"
            ));
        }
        let namespace = text(spec, "namespace")?.unwrap_or_else(|| "default".to_owned());
        if !is_label(&namespace) {
            return Err(format!(
                "spec.namespace: {namespace:?} must be a DNS label of at most 63 characters"
            ));
        }
        let flag = |key: &str, default: bool| match spec.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(format!("spec.{key}: must be true or false")),
        };
        Ok(Self {
            release: release.to_owned(),
            chart,
            repository,
            version: text(spec, "version")?,
            namespace,
            parameters: parameters(spec.get("parameters"))?,
            render: flag("render", false)?,
            crds: flag("crds", true)?,
            hooks: flag("hooks", true)?,
            kube_version: text(spec, "kubeVersion")?,
            api_versions: api_versions(spec.get("apiVersions"))?,
        })
    }
}

fn condition_holds(spec: &Map<String, Value>, package: &Package) -> Result<bool, String> {
    match spec.get("when") {
        None | Some(Value::Null) => Ok(true),
        Some(Value::String(source)) => ChartCondition::parse(source)
            .and_then(|condition| condition.holds(package))
            .map_err(|reason| format!("spec.when: {reason}")),
        Some(_) => Err("spec.when: must be the text of a condition".to_owned()),
    }
}

/// The text of a field; `None` if it is absent or empty.
fn text(spec: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match spec.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            check_text(text).map_err(|reason| format!("spec.{key}: {reason}"))?;
            Ok(Some(text.clone()))
        }
        Some(_) => Err(format!("spec.{key}: must be a text")),
    }
}

pub(crate) fn check_text(text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT {
        return Err(format!("is longer than {MAX_TEXT} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not have control characters".to_owned());
    }
    Ok(())
}

fn check_release(name: &str) -> Result<(), String> {
    if name.len() <= MAX_RELEASE && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!(
        "metadata.name: the release is named after the resource, and {name:?} must be a DNS name of \
         at most {MAX_RELEASE} characters"
    ))
}

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn parameters(value: Option<&Value>) -> Result<Map<String, Value>, String> {
    let map = match value {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(map)) => map,
        Some(_) => return Err("spec.parameters: must be a map".to_owned()),
    };
    let mut bytes = 0;
    for (key, value) in map {
        check_path(key).map_err(|reason| format!("spec.parameters: key {key:?} {reason}"))?;
        let size = key.len() + value.to_string().len();
        if size > MAX_PARAMETER {
            return Err(format!(
                "spec.parameters.{key}: is longer than {MAX_PARAMETER} bytes; split it into several \
                 paths"
            ));
        }
        bytes += size;
    }
    if bytes > MAX_PARAMETERS {
        return Err(format!(
            "spec.parameters: are longer than {MAX_PARAMETERS} bytes"
        ));
    }
    Ok(map.clone())
}

/// Checks a dotted path, in which a backslash escapes the next character.
fn check_path(path: &str) -> Result<(), String> {
    check_text(path)?;
    if path.is_empty() || path.starts_with('{') {
        return Err("must be a dotted path such as image.tag".to_owned());
    }
    let mut chars = path.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                chars.next();
            }
            '=' | ',' => {
                return Err(format!("has {char:?}, which must be written as \\{char}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads `spec.apiVersions`.
pub(crate) fn api_versions(value: Option<&Value>) -> Result<Vec<String>, String> {
    let wrong = || "spec.apiVersions: must be a list of texts such as example.com/v1".to_owned();
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_API_VERSIONS => items,
        Some(_) => return Err(wrong()),
    };
    let is_plain = |text: &&str| {
        !text.is_empty()
            && text.len() <= 320
            && !text.contains([',', '"'])
            && check_text(text).is_ok()
    };
    let texts = items
        .iter()
        .map(|item| item.as_str().filter(is_plain).map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(name: &str, spec: &Value) -> Result<Option<HelmChart>, String> {
        let chart = Resource::new(json!({
            "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec,
        }))
        .expect("a resource");
        let package = Package::from_values([
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}),
            chart.value().clone(),
        ])
        .expect("a package");
        HelmChart::read(&chart, &package).map_err(|error| error.chain())
    }

    #[test]
    fn a_chart_is_read_with_its_expressions() {
        let chart = read(
            "web",
            &json!({
                "chart": "oci://registry.example.com/web", "version": "1.2.3", "render": true,
                "namespace": "{{ get('', 'v1', 'Namespace').metadata.name }}",
                "parameters": {"replicas": "{{ 1 + 2 }}", "a.b[0]": ["{{ true }}", "plain"]},
                "when": "resources.exists(r, r.kind == 'Namespace')",
                "apiVersions": ["example.com/v1"],
            }),
        );
        let chart = chart.expect("is right").expect("holds");
        assert_eq!((&*chart.release, &*chart.namespace), ("web", "edge"));
        assert_eq!(chart.parameters["replicas"], 3);
        assert_eq!(chart.parameters["a.b[0]"], json!([true, "plain"]));
        assert!(chart.render && chart.crds && chart.hooks);
        assert_eq!(chart.api_versions, ["example.com/v1"]);
    }

    #[test]
    fn a_condition_that_does_not_hold_skips_the_chart() {
        let spec = json!({"chart": "{{ gone }}", "when": "size(resources) > 5"});
        assert_eq!(read("web", &spec), Ok(None));
    }

    #[test]
    fn faults_name_the_chart_the_key_and_the_reason() {
        let long = "x".repeat(130 << 10);
        for (name, spec, words) in [
            ("web", json!({}), "HelmChart web: spec.chart: is required"),
            ("web", json!({"chart": 1}), "spec.chart: must be a text"),
            ("web", json!({"chart": "--post-renderer"}), "hyphen"),
            ("web", json!({"chart": "a\nb"}), "control"),
            ("Web", json!({"chart": "a"}), "DNS name"),
            (
                "web",
                json!({"chart": "a", "repository": "file:///etc"}),
                "http or https",
            ),
            (
                "web",
                json!({"chart": "a", "namespace": "-n"}),
                "spec.namespace",
            ),
            ("web", json!({"chart": "a", "render": "yes"}), "spec.render"),
            ("web", json!({"chart": "a", "when": "1 +"}), "spec.when"),
            ("web", json!({"chart": "a", "when": true}), "spec.when"),
            (
                "web",
                json!({"chart": "a", "apiVersions": "v1"}),
                "spec.apiVersions",
            ),
            (
                "web",
                json!({"chart": "a", "apiVersions": ["a,b"]}),
                "spec.apiVersions",
            ),
            (
                "web",
                json!({"chart": "a", "parameters": []}),
                "spec.parameters",
            ),
            (
                "web",
                json!({"chart": "a", "parameters": {"a=b": 1}}),
                "\"a=b\"",
            ),
            (
                "web",
                json!({"chart": "a", "parameters": {"{": 1}}),
                "dotted path",
            ),
            (
                "web",
                json!({"chart": "a", "parameters": {"k": long}}),
                "spec.parameters.k: is longer",
            ),
            (
                "web",
                json!({"chart": "a", "parameters": {"k": {"x": ["{{ gone }}"]}}}),
                "HelmChart web: spec.parameters.k.x[0]: expression",
            ),
        ] {
            let error = read(name, &spec).expect_err(words);
            assert!(error.contains(words), "{spec}: {error}");
        }
        assert!(
            read(
                "web",
                &json!({"chart": "a", "parameters": {"a\\.b\\,c": 1}})
            )
            .is_ok()
        );
    }
}
