//! The schemas of requests and answers.

use serde_json::{Value, json};

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn count(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

fn time(description: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn texts(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": description})
}

fn map(description: &str) -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}, "description": description})
}

fn list_of(schema: &str) -> Value {
    json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{schema}")}})
}

fn object(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn entity(own: &[(&str, Value)], required: &[&str]) -> Value {
    let mut properties = own.to_vec();
    properties.extend([
        (
            "version",
            count("Differs after every change; the entity tag"),
        ),
        ("generation", count("The number of changes of the package")),
        (
            "revision",
            count("The revision of the last change; absent in lists"),
        ),
        ("conditions", list_of("Condition")),
        ("work", list_of("Work")),
    ]);
    object(
        &properties,
        &[required, &["version", "generation", "conditions"]].concat(),
    )
}

fn page(schema: &str) -> Value {
    let next = json!({"type": ["string", "null"], "description": "The cursor of the next page"});
    let revision = count("The page has every change up to this revision; watch from there");
    object(
        &[
            ("items", list_of(schema)),
            ("next", next),
            ("revision", revision),
        ],
        &["items", "next", "revision"],
    )
}

fn difference() -> Value {
    let state = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    object(
        &[
            ("deploymentId", text("The id")),
            (
                "siteId",
                text(
                    "The site that keeps the earlier package, or that of the deployment; empty if \
                     there is none",
                ),
            ),
            ("before", state("EarlierState")),
            ("after", state("LaterState")),
            ("items", list_of("ResourceDifference")),
            (
                "reordered",
                flag("Whether resources that both packages have are in another order"),
            ),
        ],
        &[
            "deploymentId",
            "siteId",
            "before",
            "after",
            "items",
            "reordered",
        ],
    )
}

fn earlier_state() -> Value {
    object(
        &[
            (
                "state",
                text(
                    "kept (by the site, until the edit is approved), beforeChange, atRevision, \
                     neverChanged, or forgotten (no longer in the history); without items for the \
                     last two",
                ),
            ),
            (
                "generation",
                json!({"type": ["integer", "null"], "description": "Its generation"}),
            ),
            (
                "revision",
                json!({"type": ["integer", "null"], "description": "The revision of the change"}),
            ),
        ],
        &["state", "generation", "revision"],
    )
}

fn later_state() -> Value {
    object(
        &[
            ("generation", count("The current generation")),
            (
                "revision",
                json!({"type": ["integer", "null"], "description": "The revision of the last change"}),
            ),
            ("approved", flag("Whether it is approved")),
        ],
        &["generation", "revision", "approved"],
    )
}

fn resource_difference() -> Value {
    object(
        &[
            (
                "resource",
                json!({"type": "object", "description": "apiVersion, kind, name and, if it has one, namespace"}),
            ),
            (
                "change",
                json!({"type": "string", "enum": ["added", "removed", "changed"]}),
            ),
            ("diff", text("A unified diff of the resource as YAML")),
        ],
        &["resource", "change", "diff"],
    )
}

/// All schemas, by name.
pub(super) fn all() -> Vec<(&'static str, Value)> {
    let template = text("The id of the template; empty if there is none");
    let metadata = map("The metadata that filters see");
    let updated = time("The time of the last change");
    let states = || {
        let names = [
            "scheduled",
            "approved",
            "waiting",
            "unprepared",
            "failing",
            "deleting",
            "total",
        ];
        object(&names.map(|name| (name, count(""))), &names)
    };
    let trigger = object(
        &[
            ("group", text("")),
            ("version", text("")),
            ("kind", text("")),
        ],
        &["version", "kind"],
    );
    let plugin = [
        ("executor", text("The executor that runs it")),
        ("arguments", texts("Arguments for the executor")),
        ("properties", map("Properties")),
        ("triggers", json!({"type": "array", "items": trigger})),
    ];
    let own_plugin = [&[("type", text("")), ("name", text(""))][..], &plugin].concat();
    let mut new_plugin = object(&plugin, &["executor"]);
    new_plugin["additionalProperties"] = false.into();
    vec![
        (
            "Template",
            entity(
                &[
                    ("templateId", text("The id")),
                    ("metadata", metadata.clone()),
                    ("updated", updated.clone()),
                ],
                &["templateId", "metadata", "updated"],
            ),
        ),
        (
            "Site",
            entity(
                &[
                    ("siteId", text("The id")),
                    ("templateId", template.clone()),
                    ("metadata", metadata.clone()),
                    ("updated", updated.clone()),
                ],
                &["siteId", "templateId", "metadata", "updated"],
            ),
        ),
        (
            "Deployment",
            entity(
                &[
                    ("deploymentId", text("The id")),
                    (
                        "parentDeploymentId",
                        text("The id of the parent; empty if there is none"),
                    ),
                    ("templateId", template),
                    ("siteId", text("The id of the site; empty if there is none")),
                    ("metadata", metadata.clone()),
                    ("created", time("The time of the creation")),
                    ("updated", updated),
                    ("prepared", flag("Whether it is prepared")),
                    ("approved", flag("Whether it is approved")),
                    (
                        "placedOn",
                        text("The site that runs it; absent if none does"),
                    ),
                    (
                        "state",
                        text("scheduled, approved, waiting, unprepared, failing or deleting"),
                    ),
                ],
                &[
                    "deploymentId",
                    "templateId",
                    "siteId",
                    "metadata",
                    "prepared",
                    "approved",
                    "state",
                ],
            ),
        ),
        ("Plugin", entity(&own_plugin, &["type", "name", "executor"])),
        ("TemplatePage", page("Template")),
        ("SitePage", page("Site")),
        ("DeploymentPage", page("Deployment")),
        ("PluginPage", page("Plugin")),
        ("NewPlugin", new_plugin),
        (
            "Condition",
            object(
                &[
                    ("type", text("The kind, such as Prepared")),
                    (
                        "status",
                        json!({"type": "string", "enum": ["True", "False", "Unknown"]}),
                    ),
                    ("reason", text("One word, for programs")),
                    ("message", text("For people")),
                    (
                        "observedGeneration",
                        count("The generation that it describes"),
                    ),
                    ("lastTransitionTime", time("When the status last changed")),
                ],
                &["type", "status", "reason", "message"],
            ),
        ),
        (
            "Work",
            object(
                &[
                    (
                        "stage",
                        json!({"type": "string", "enum": ["prepare", "schedule", "delete"]}),
                    ),
                    ("attempts", count("Attempts so far")),
                    ("due", time("When it is tried next")),
                    (
                        "workedOnUntil",
                        time("The end of the lease; absent if the work is not leased"),
                    ),
                    ("lastError", text("Why the last attempt failed")),
                ],
                &["stage", "attempts", "due"],
            ),
        ),
        (
            "About",
            object(
                &[
                    ("instanceName", text("")),
                    ("instanceDescription", text("")),
                    ("tkoVersion", text("")),
                    ("backend", text("")),
                    ("addressPorts", texts("")),
                    (
                        "insecure",
                        flag(
                            "Whether an interface of the process is open to the network without \
                             TLS or authentication",
                        ),
                    ),
                    ("revision", count("The last revision of the feed")),
                    ("caller", json!({"type": "object"})),
                ],
                &["instanceName", "tkoVersion", "backend"],
            ),
        ),
        (
            "Summary",
            object(
                &[
                    (
                        "revision",
                        json!({"type": ["integer", "null"], "description": "The revision to which the counts apply"}),
                    ),
                    ("complete", flag("Whether everything was counted")),
                    ("templates", count("")),
                    ("sites", count("")),
                    ("plugins", count("")),
                    ("deployments", states()),
                    (
                        "reasons",
                        json!({"type": "array", "items": {"type": "object"}}),
                    ),
                    (
                        "by",
                        json!({
                            "type": "object",
                            "additionalProperties": states(),
                            "description": "The counts of each group, with the parameter by",
                        }),
                    ),
                    (
                        "more",
                        flag("With the parameter by: whether there are more groups"),
                    ),
                ],
                &["complete", "templates", "sites", "plugins", "deployments"],
            ),
        ),
        (
            "Package",
            json!({"type": "array", "items": {"type": "object"}, "description": "Resources"}),
        ),
        (
            "EncodedPackage",
            json!({
                "type": ["object", "string", "null"],
                "description": "The resources: a YAML document for each, or a CBOR array",
            }),
        ),
        (
            "Written",
            object(&[("version", count("The new version"))], &["version"]),
        ),
        (
            "CreatedDeployment",
            object(&[("deploymentId", text("The id"))], &["deploymentId"]),
        ),
        (
            "Retried",
            object(
                &[(
                    "count",
                    count("The number of pieces of work that are now due"),
                )],
                &["count"],
            ),
        ),
        ("BatchAnswer", text("One JSON value on each line")),
        ("EventStream", text("Server-sent events")),
        (
            "Bulk",
            object(
                &[
                    ("done", count("The number of changed entities")),
                    (
                        "skipped",
                        json!({"type": "array", "items": {"type": "object"}, "description": "The skipped entities, with the reasons"}),
                    ),
                    ("dryRun", flag("Whether nothing was changed")),
                    (
                        "count",
                        count("With dryRun: the number of matching entities"),
                    ),
                    (
                        "more",
                        flag("With dryRun: whether there are more than could be counted"),
                    ),
                    ("first", texts("With dryRun: the first ids")),
                ],
                &[],
            ),
        ),
        (
            "Modification",
            object(
                &[
                    ("token", text("The token")),
                    ("until", time("When it expires")),
                    (
                        "package",
                        json!({"type": "array", "items": {"type": "object"}}),
                    ),
                ],
                &["token", "until", "package"],
            ),
        ),
        (
            "History",
            object(
                &[
                    (
                        "items",
                        json!({"type": "array", "items": {"type": "object"}}),
                    ),
                    ("next", json!({"type": ["integer", "null"]})),
                ],
                &["items", "next"],
            ),
        ),
        ("Difference", difference()),
        ("EarlierState", earlier_state()),
        ("LaterState", later_state()),
        ("ResourceDifference", resource_difference()),
        (
            "Problem",
            object(
                &[
                    ("type", text("The kind of the error: urn:tko:problem:KIND")),
                    ("title", text("")),
                    ("status", count("")),
                    ("detail", text("What happened, and what to do")),
                    ("argument", text("The argument that is wrong")),
                    (
                        "violations",
                        json!({"type": "array", "items": {"type": "object"}}),
                    ),
                    (
                        "conflicts",
                        json!({"type": "array", "items": {"type": "object"}}),
                    ),
                    (
                        "oldest",
                        count("The oldest revision from which the feed can be read"),
                    ),
                ],
                &["type", "title", "status", "detail"],
            ),
        ),
    ]
}
