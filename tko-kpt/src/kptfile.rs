//! Kptfiles: the pipeline of functions of a package.

use crate::annotations;
use crate::native::scalar;
use crate::reference::FunctionReference;
use serde_json::{Map, Value};
use tko_core::{Error, Result};

/// The `apiVersion` of a Kptfile.
pub const API_VERSION: &str = "kpt.dev/v1";
/// The `kind` of the resource that describes a package for kpt, with its pipeline.
pub const KIND: &str = "Kptfile";

/// The parts of a selection.
const KNOWN: [&str; 6] = [
    "apiVersion",
    "kind",
    "name",
    "namespace",
    "labels",
    "annotations",
];

/// Maximum number of functions of one pipeline.
const STEPS: usize = 1_000;

/// The pipeline of a Kptfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// The functions that change resources, in order.
    pub mutators: Vec<PipelineStep>,
    /// The functions that check resources, in order; their changes are dropped.
    pub validators: Vec<PipelineStep>,
}

/// One function of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineStep {
    /// The name for messages: its own name, or the function.
    pub name: String,
    /// The image, module or program that is called.
    pub function: FunctionReference,
    /// The `functionConfig` that the function gets.
    pub config: StepConfig,
    /// The resources that the function gets; all if it is empty.
    pub selectors: Vec<Selection>,
    /// The resources that the function does not get.
    pub exclude: Vec<Selection>,
}

/// The configuration of a function in a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepConfig {
    /// No configuration.
    None,
    /// The data of a `ConfigMap`.
    Map(Map<String, Value>),
    /// The resource in this file, relative to the Kptfile.
    File(String),
}

/// Resources of a package. All parts must match; a part that is empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The exact `apiVersion`, such as `apps/v1`.
    pub api_version: String,
    /// The exact kind, such as `Deployment`.
    pub kind: String,
    /// The exact `metadata.name`.
    pub name: String,
    /// The exact `metadata.namespace`; `default` does not match resources without one.
    pub namespace: String,
    /// Labels, all of which the resource has.
    pub labels: Vec<(String, String)>,
    /// Annotations, all of which the resource has.
    pub annotations: Vec<(String, String)>,
}

impl Pipeline {
    /// Reads the pipeline of a Kptfile; an empty one if it has none.
    ///
    /// # Errors
    /// `BadArgument`: the pipeline is malformed; the message names the place.
    pub fn read(kptfile: &Value) -> Result<Self> {
        let pipeline = match kptfile.get("pipeline") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(pipeline)) => pipeline,
            Some(_) => return Err(bad("pipeline", "it is not a map")),
        };
        let steps = |field: &str| {
            let steps = match pipeline.get(field) {
                None | Some(Value::Null) => return Ok(Vec::new()),
                Some(Value::Array(steps)) if steps.len() <= STEPS => steps,
                Some(Value::Array(_)) => {
                    return Err(bad(
                        &format!("pipeline.{field}"),
                        format!("it has more than {STEPS} functions"),
                    ));
                }
                Some(_) => return Err(bad(&format!("pipeline.{field}"), "it is not a list")),
            };
            let steps = steps.iter().enumerate();
            steps
                .map(|(at, step)| PipelineStep::read(step, &format!("pipeline.{field}[{at}]")))
                .collect()
        };
        Ok(Self {
            mutators: steps("mutators")?,
            validators: steps("validators")?,
        })
    }

    /// Whether there is no function to run.
    pub fn is_empty(&self) -> bool {
        self.mutators.is_empty() && self.validators.is_empty()
    }
}

impl PipelineStep {
    fn read(step: &Value, at: &str) -> Result<Self> {
        let text = |field: &str| {
            let text = step.get(field).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        let function = match (text("image"), text("exec")) {
            (Some(_), Some(_)) => return Err(bad(at, "it has both image and exec")),
            (Some(image), None) => image.parse()?,
            (None, Some(exec)) => FunctionReference::Exec(exec.to_owned()),
            (None, None) => return Err(bad(at, "it has neither image nor exec")),
        };
        let config = match (
            step.get("configMap").filter(|map| !map.is_null()),
            text("configPath"),
        ) {
            (Some(_), Some(_)) => return Err(bad(at, "it has both configMap and configPath")),
            (None, None) => StepConfig::None,
            (None, Some(path)) => StepConfig::File(path.trim_start_matches("./").to_owned()),
            (Some(Value::Object(map)), None) => {
                let texts = map.iter().map(|(key, value)| match scalar(value) {
                    Some(text) => Ok((key.clone(), Value::String(text))),
                    None => Err(bad(&format!("{at}.configMap.{key}"), "it is not text")),
                });
                StepConfig::Map(texts.collect::<Result<_>>()?)
            }
            (Some(_), None) => return Err(bad(&format!("{at}.configMap"), "it is not a map")),
        };
        Ok(Self {
            name: text("name").map_or_else(|| function.to_string(), str::to_owned),
            function,
            config,
            selectors: selections(step.get("selectors"), &format!("{at}.selectors"))?,
            exclude: selections(step.get("exclude"), &format!("{at}.exclude"))?,
        })
    }

    /// Whether the function gets this resource.
    pub fn selects(&self, resource: &Value) -> bool {
        let is_one = |selections: &[Selection]| selections.iter().any(|one| one.matches(resource));
        (self.selectors.is_empty() || is_one(&self.selectors)) && !is_one(&self.exclude)
    }
}

fn selections(value: Option<&Value>, at: &str) -> Result<Vec<Selection>> {
    let values = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => return Err(bad(at, "it is not a list")),
    };
    values
        .iter()
        .map(|value| Selection::read(value, at))
        .collect()
}

impl Selection {
    fn read(value: &Value, at: &str) -> Result<Self> {
        let Value::Object(map) = value else {
            return Err(bad(at, "an entry is not a map"));
        };
        if let Some(unknown) = map.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            let known = KNOWN.join(", ");
            return Err(bad(
                at,
                format!("unknown field {unknown:?}; expected {known}"),
            ));
        }
        let text = |field: &str| {
            let text = map.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let texts = |field: &str| {
            let map = map.get(field).and_then(Value::as_object);
            let texts = map.into_iter().flatten();
            let texts = texts.map(|(key, value)| (key.clone(), scalar(value).unwrap_or_default()));
            texts.collect()
        };
        Ok(Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            namespace: text("namespace"),
            labels: texts("labels"),
            annotations: texts("annotations"),
        })
    }

    /// Whether a resource matches.
    pub fn matches(&self, resource: &Value) -> bool {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let is = |wanted: &str, found: String| wanted.is_empty() || wanted == found;
        let metadata = resource.get("metadata");
        let of_metadata = |field: &str| text(metadata.and_then(|metadata| metadata.get(field)));
        let labels = metadata.and_then(|metadata| metadata.get("labels"));
        let labels = labels.and_then(Value::as_object);
        let has = |map: Option<&Map<String, Value>>, (key, wanted): &(String, String)| {
            map.and_then(|map| map.get(key)).and_then(Value::as_str) == Some(wanted)
        };
        is(&self.api_version, text(resource.get("apiVersion")))
            && is(&self.kind, text(resource.get("kind")))
            && is(&self.name, of_metadata("name"))
            && is(&self.namespace, of_metadata("namespace"))
            && self.labels.iter().all(|pair| has(labels, pair))
            && self
                .annotations
                .iter()
                .all(|pair| has(annotations::of(resource), pair))
    }
}

fn bad(at: &str, problem: impl Into<String>) -> Error {
    Error::bad(format!("Kptfile {at}"), problem)
}

#[cfg(test)]
mod tests {
    use super::{Pipeline, StepConfig};
    use serde_json::json;

    #[test]
    fn pipelines_are_read_with_configuration_and_selections() {
        let pipeline = Pipeline::read(&json!({
            "pipeline": {
                "mutators": [
                    {"image": "set-namespace:v0.4.1", "configMap": {"namespace": "a", "n": 3}},
                    {
                        "image": "docker.io/x/y:z",
                        "name": "mine",
                        "configPath": "./config.yaml",
                        "selectors": [{"kind": "Deployment", "labels": {"tier": "web"}}],
                        "exclude": [{"name": "not-me"}],
                    },
                ],
                "validators": [{"exec": "/bin/check --strict"}],
            },
        }));
        let pipeline = pipeline.expect("valid");
        assert_eq!(
            pipeline.mutators[0].config,
            StepConfig::Map(
                json!({"namespace": "a", "n": "3"})
                    .as_object()
                    .expect("a map")
                    .clone()
            )
        );
        let mine = &pipeline.mutators[1];
        assert_eq!(
            (&*mine.name, &mine.config),
            ("mine", &StepConfig::File("config.yaml".to_owned()))
        );
        let web = |name: &str| json!({"kind": "Deployment", "metadata": {"name": name, "labels": {"tier": "web"}}});
        assert!(mine.selects(&web("a")));
        assert!(!mine.selects(&web("not-me")));
        assert!(!mine.selects(&json!({"kind": "Deployment", "metadata": {"name": "a"}})));
        assert_eq!(pipeline.validators.len(), 1);
        assert!(Pipeline::read(&json!({})).expect("none").is_empty());
    }

    #[test]
    fn malformed_pipelines_name_the_place() {
        for (pipeline, words) in [
            (json!([]), "Kptfile pipeline: it is not a map"),
            (
                json!({"mutators": {}}),
                "pipeline.mutators: it is not a list",
            ),
            (
                json!({"mutators": [{}]}),
                "pipeline.mutators[0]: it has neither image nor exec",
            ),
            (
                json!({"mutators": [{"image": "a", "exec": "b"}]}),
                "both image and exec",
            ),
            (
                json!({"validators": [{"image": "a", "configMap": {"x": []}}]}),
                "validators[0].configMap.x",
            ),
            (
                json!({"mutators": [{"image": "a", "selectors": [{"labelz": {}}]}]}),
                "unknown field \"labelz\"",
            ),
        ] {
            let error = Pipeline::read(&json!({"pipeline": pipeline})).expect_err("malformed");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
