//! The table of operations.

use serde_json::{Value, json};

/// One operation, or one for each kind of entity.
pub(super) struct OperationRow {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// The collections for which `{collection}` stands; all if empty.
    pub(super) kinds: &'static [&'static str],
    pub(super) parameters: &'static [Parameter],
    pub(super) has_filters: bool,
    pub(super) body: Body,
    /// Status, description, media type and schema.
    pub(super) answers: &'static [(&'static str, &'static str, &'static str, &'static str)],
    /// Statuses of problems in addition to those that every operation has.
    pub(super) problems: &'static [&'static str],
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(super) enum Body {
    None,
    Package,
    /// Media type and schema.
    Json(&'static str, &'static str),
}

/// Where a parameter is passed.
#[derive(Clone, Copy)]
pub(super) enum ParameterPlace {
    Path,
    Query,
    Header,
}

/// A parameter of an operation.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: ParameterPlace,
    pub(super) text: &'static str,
    pub(super) is_required: bool,
    pub(super) schema: fn() -> Value,
}

const fn query(name: &'static str, text: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter {
        name,
        place: ParameterPlace::Query,
        text,
        is_required: false,
        schema,
    }
}

const fn header(name: &'static str, text: &'static str) -> Parameter {
    Parameter {
        name,
        place: ParameterPlace::Header,
        text,
        is_required: false,
        schema: text_schema,
    }
}

const fn path(name: &'static str, text: &'static str) -> Parameter {
    Parameter {
        name,
        place: ParameterPlace::Path,
        text,
        is_required: true,
        schema: id_schema,
    }
}

fn text_schema() -> Value {
    json!({"type": "string"})
}
fn id_schema() -> Value {
    json!({"type": "string", "minLength": 1})
}
fn boolean() -> Value {
    json!({"type": "boolean"})
}
fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}
fn limit() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
}
fn seconds() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 3600, "default": 300})
}
fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}
fn order() -> Value {
    json!({"type": "string", "enum": ["id"], "default": "id"})
}
fn state() -> Value {
    json!({"type": "string", "enum": [
        "scheduled", "approved", "waiting", "unprepared", "failing", "deleting",
    ]})
}
fn other_state() -> Value {
    json!({"type": "string", "enum": ["failing", "deleting"]})
}
fn kind() -> Value {
    json!({"type": "string", "enum": ["template", "site", "deployment", "plugin"]})
}
fn plugin_type() -> Value {
    json!({"type": "string", "enum": ["validate", "prepare", "schedule", "catalog", "inventory"]})
}

const ID: Parameter = path("id", "The id, percent-encoded as one segment");
const TOKEN: Parameter = path("token", "The token of the modification, percent-encoded");
const DRY_RUN: Parameter = query(
    "dryRun",
    "Only count the matching entities; change nothing",
    boolean,
);
const ALL: Parameter = query("all", "Required for all, without a filter", boolean);
const METADATA_VALUES: Parameter =
    query("metadata", "Metadata, KEY=VALUE; repeat for several", texts);
const IF_MATCH: Parameter = header("If-Match", "Require one of these entity tags, or *");
const IF_NONE_MATCH: Parameter = header("If-None-Match", "*: require that it does not exist");
const IF_CHANGED: Parameter = header(
    "If-None-Match",
    "Answer 304 if the version is still this one",
);

const TTL: Parameter = query(
    "ttl",
    "Its duration in seconds; 300 if absent, at most 3600",
    seconds,
);

const BY_ID: Parameter = query(
    "id",
    "Filter by id: * matches within a segment, ** also across / and :",
    texts,
);
const BY_METADATA: Parameter = query("metadata", "Filter by metadata, KEY=PATTERN", texts);
const BY_TEMPLATE: Parameter = query("template-id", "Filter by the template's id", texts);

const TEMPLATE_FILTERS: &[Parameter] = &[BY_ID, BY_METADATA];
const SITE_FILTERS: &[Parameter] = &[BY_ID, BY_METADATA, BY_TEMPLATE];
const DEPLOYMENT_FILTERS: &[Parameter] = &[
    BY_ID,
    BY_METADATA,
    BY_TEMPLATE,
    query(
        "template-metadata",
        "Filter by the template's metadata, KEY=PATTERN",
        texts,
    ),
    query("site-id", "Filter by the site's id", texts),
    query(
        "site-metadata",
        "Filter by the site's metadata, KEY=PATTERN",
        texts,
    ),
    query("parent", "Filter by parent deployment", text_schema),
    query("prepared", "Filter by whether it is prepared", boolean),
    query("approved", "Filter by whether it is approved", boolean),
];
const PLUGIN_FILTERS: &[Parameter] = &[
    query("type", "Filter by type", plugin_type),
    query("name", "Filter by name", texts),
    query("executor", "Filter by executor", text_schema),
    query(
        "trigger",
        "Filter by trigger: GROUP,VERSION,KIND",
        text_schema,
    ),
];

/// The filters of a collection, by the names that the command line has.
pub(super) fn filters(collection: &str) -> &'static [Parameter] {
    match collection {
        "templates" => TEMPLATE_FILTERS,
        "sites" => SITE_FILTERS,
        "deployments" => DEPLOYMENT_FILTERS,
        _ => PLUGIN_FILTERS,
    }
}

const BY_STATE: &str =
    "Filter by state. States are not indexed: a page can be short and have a next one";
const LIST: &[Parameter] = &[
    query("limit", "Maximum number of entities on the page", limit),
    query("cursor", "The `next` of the page before", text_schema),
    query("order", "The order: by id", order),
    query("allow-stale", "Allow a stale read from a replica", boolean),
    query("state", BY_STATE, other_state),
];
const LIST_DEPLOYMENTS: &[Parameter] = &[
    query("limit", "Maximum number of deployments on the page", limit),
    query("cursor", "The `next` of the page before", text_schema),
    query("order", "The order: by id", order),
    query("allow-stale", "Allow a stale read from a replica", boolean),
    query("state", BY_STATE, state),
];
const LIST_TEXT: &str = "With `Accept: application/x-ndjson` all {plural} are streamed, one JSON \
                         value on each line, without pages.";

const NOTHING: OperationRow = OperationRow {
    method: "get",
    path: "",
    id: "",
    tag: "",
    summary: "",
    description: "",
    kinds: &[],
    parameters: &[],
    has_filters: false,
    body: Body::None,
    answers: &[],
    problems: &[],
};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

pub(super) const OPERATIONS: &[OperationRow] = &[
    OperationRow {
        path: "/api/v1/about",
        id: "about",
        tag: "instance",
        summary: "Describe the server and the caller",
        answers: &[("200", "The server", JSON, "About")],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/summary",
        id: "summary",
        tag: "instance",
        summary: "Count all entities by state",
        description: "Exact, kept by following the change feed. While `complete` is false, the \
                      server still counts. At most 10,000 groups are counted apart, the first by \
                      name; if there are more, `more` is true.",
        parameters: &[query(
            "by",
            "Count apart: template, or site.KEY with a key of metadata",
            text_schema,
        )],
        answers: &[("200", "The counts", JSON, "Summary")],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/watch",
        id: "watch",
        tag: "instance",
        summary: "Watch changes as server-sent events",
        description: "Events `added`, `changed` (data: the entity), `removed` (data: its id; also \
                      when it ceases to match, and then also if it never did), `bookmark`, \
                      and `expired` (list again). The `id` of an event is its revision; a client \
                      that reconnects resumes there by `Last-Event-ID`. A filter by the metadata of \
                      templates or sites is refused.",
        parameters: &[
            Parameter {
                is_required: true,
                ..query("kind", "The kind to watch", kind)
            },
            query(
                "after",
                "Only changes after this revision, such as that of a list",
                number,
            ),
            query("id", "For all but plugins: filter by id", texts),
            query(
                "metadata",
                "For all but plugins: filter by metadata, KEY=PATTERN",
                texts,
            ),
            query(
                "template-id",
                "For sites and deployments: filter by the template's id",
                texts,
            ),
            query("site-id", "For deployments: filter by the site's id", texts),
            query("parent", "For deployments: filter by parent", text_schema),
            query(
                "prepared",
                "For deployments: filter by whether it is prepared",
                boolean,
            ),
            query(
                "approved",
                "For deployments: filter by whether it is approved",
                boolean,
            ),
            query("type", "For plugins: filter by type", plugin_type),
            query("name", "For plugins: filter by name", texts),
            query("executor", "For plugins: filter by executor", text_schema),
            query(
                "trigger",
                "For plugins: filter by trigger: GROUP,VERSION,KIND",
                text_schema,
            ),
            header(
                "Last-Event-ID",
                "Resume after this revision; overrides `after`",
            ),
        ],
        answers: &[(
            "200",
            "The events, without end",
            "text/event-stream",
            "EventStream",
        )],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/{collection}",
        id: "list{Kind}s",
        summary: "List {plural}",
        description: LIST_TEXT,
        kinds: &["templates", "sites", "plugins"],
        parameters: LIST,
        has_filters: true,
        answers: &[("200", "A page", JSON, "{Kind}Page")],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/{collection}",
        id: "list{Kind}s",
        summary: "List {plural}",
        description: LIST_TEXT,
        kinds: &["deployments"],
        parameters: LIST_DEPLOYMENTS,
        has_filters: true,
        answers: &[("200", "A page", JSON, "{Kind}Page")],
        ..NOTHING
    },
    OperationRow {
        method: "post",
        path: "/api/v1/{collection}",
        id: "create{Kind}",
        summary: "Create a deployment, or a batch of them",
        description: "The body is merged into the template's package. With `Content-Type: \
                      application/x-ndjson` each line is a deployment to create, and the answer has \
                      a line for each, in order: its id, or a problem.",
        kinds: &["deployments"],
        parameters: &[
            query("template", "The template to start with", text_schema),
            query("site", "The site where it will run", text_schema),
            query("parent", "The parent deployment", text_schema),
            query("id", "The id; chosen by the server if absent", text_schema),
            METADATA_VALUES,
            query("prepared", "Whether it is prepared already", boolean),
            query(
                "approved",
                "Whether it is approved already; requires prepared",
                boolean,
            ),
            header(
                "Idempotency-Key",
                "A second request with the same key creates nothing",
            ),
        ],
        body: Body::Package,
        answers: &[
            ("201", "It was created", JSON, "CreatedDeployment"),
            ("200", "The answers of a batch", NDJSON, "BatchAnswer"),
        ],
        problems: &["409", "415", "422"],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/{collection}/{id}",
        id: "get{Kind}",
        summary: "Get a {kind}, without its package",
        parameters: &[ID, IF_CHANGED],
        answers: &[
            (
                "200",
                "The {kind}; the entity tag is its version",
                JSON,
                "{Kind}",
            ),
            ("304", "It has this version still", "", ""),
        ],
        ..NOTHING
    },
    OperationRow {
        method: "put",
        path: "/api/v1/{collection}/{id}",
        id: "register{Kind}",
        summary: "Register a {kind}: create or replace it",
        kinds: &["templates"],
        parameters: &[ID, METADATA_VALUES, IF_MATCH, IF_NONE_MATCH],
        body: Body::Package,
        answers: &[("200", "It was registered", JSON, "Written")],
        problems: &["409", "412", "415", "422"],
        ..NOTHING
    },
    OperationRow {
        method: "put",
        path: "/api/v1/{collection}/{id}",
        id: "register{Kind}",
        summary: "Register a {kind}: create or replace it",
        description: "The package is merged into that of the template.",
        kinds: &["sites"],
        parameters: &[
            ID,
            query("template", "The template to build on", text_schema),
            METADATA_VALUES,
            IF_MATCH,
            IF_NONE_MATCH,
        ],
        body: Body::Package,
        answers: &[("200", "It was registered", JSON, "Written")],
        problems: &["409", "412", "415", "422"],
        ..NOTHING
    },
    OperationRow {
        method: "put",
        path: "/api/v1/{collection}/{id}",
        id: "register{Kind}",
        summary: "Register a {kind}: create or replace it",
        kinds: &["plugins"],
        parameters: &[ID],
        body: Body::Json(JSON, "NewPlugin"),
        answers: &[("200", "It was registered", JSON, "Written")],
        problems: &["409", "415"],
        ..NOTHING
    },
    OperationRow {
        method: "delete",
        path: "/api/v1/{collection}/{id}",
        id: "delete{Kind}",
        summary: "Delete a {kind}",
        parameters: &[ID, IF_MATCH],
        answers: &[(
            "204",
            "It was deleted, or is hidden until it is removed everywhere",
            "",
            "",
        )],
        problems: &["409", "412"],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/{collection}/{id}/package",
        id: "get{Kind}Package",
        summary: "Get the package of a {kind}",
        kinds: &["templates", "sites", "deployments"],
        parameters: &[ID, IF_CHANGED],
        answers: &[
            (
                "200",
                "The package, in the format that `Accept` prefers; YAML by default",
                "package",
                "",
            ),
            ("304", "It has this version still", "", ""),
        ],
        problems: &["406"],
        ..NOTHING
    },
    OperationRow {
        method: "put",
        path: "/api/v1/{collection}/{id}/package",
        id: "update{Kind}Package",
        summary: "Replace the package of a deployment that has the version in If-Match",
        kinds: &["deployments"],
        parameters: &[ID, IF_MATCH],
        body: Body::Package,
        answers: &[("200", "It was replaced", JSON, "Written")],
        problems: &["409", "412", "415", "422", "428"],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/{collection}/{id}/history",
        id: "get{Kind}History",
        summary: "List the changes of a {kind}, newest first",
        parameters: &[
            ID,
            query(
                "before",
                "Only changes before this revision: the `next` of the page before",
                number,
            ),
            query("limit", "Maximum number of changes, up to 500", number),
            query("package", "Include packages", boolean),
        ],
        answers: &[("200", "The changes", JSON, "History")],
        ..NOTHING
    },
    OperationRow {
        path: "/api/v1/{collection}/{id}/difference",
        id: "get{Kind}Difference",
        summary: "Show what an unapproved edit changes, or the last change of the package",
        description: "Compares the package that the site keeps with the current one, resource by \
                      resource. If no edit waits for approval, compares the package before its \
                      last change with the current one. Values of Secrets are hidden.",
        kinds: &["deployments"],
        parameters: &[
            ID,
            query(
                "revision",
                "Compare with the package at this revision; the history has revisions",
                number,
            ),
        ],
        answers: &[("200", "The difference", JSON, "Difference")],
        problems: &["409"],
        ..NOTHING
    },
    OperationRow {
        method: "post",
        path: "/api/v1/{collection}:purge",
        id: "purge{Kind}s",
        summary: "Delete the {plural} that the filters select",
        parameters: &[DRY_RUN, ALL],
        has_filters: true,
        answers: &[("200", "How many", JSON, "Bulk")],
        ..NOTHING
    },
    OperationRow {
        method: "post",
        path: "/api/v1/{collection}:approve",
        id: "approve{Kind}s",
        summary: "Approve the deployments that the filters select, if they are prepared",
        kinds: &["deployments"],
        parameters: &[DRY_RUN, ALL],
        has_filters: true,
        answers: &[("200", "How many", JSON, "Bulk")],
        ..NOTHING
    },
    OperationRow {
        method: "post",
        path: "/api/v1/{collection}/{id}/approve",
        id: "approve{Kind}",
        summary: "Approve a deployment that is prepared",
        kinds: &["deployments"],
        parameters: &[ID],
        answers: &[("204", "It is approved", "", "")],
        problems: &["409"],
        ..NOTHING
    },
    OperationRow {
        method: "post",
        path: "/api/v1/{collection}/{id}/retry",
        id: "retry{Kind}",
        summary: "Retry waiting work of a {kind} at once",
        description: "Makes work that waits for its next attempt due now. For a deployment, that \
                      includes the work of its site. Earlier attempts still count.",
        parameters: &[ID],
        answers: &[(
            "200",
            "How many pieces of work are due now and were not",
            JSON,
            "Retried",
        )],
        ..NOTHING
    },
    OperationRow {
        method: "post",
        path: "/api/v1/{collection}/{id}/modification",
        id: "startModification",
        summary: "Start a modification: until it ends, nobody else can change the package",
        kinds: &["deployments"],
        parameters: &[ID, TTL],
        answers: &[("201", "The token and the package", JSON, "Modification")],
        problems: &["409"],
        ..NOTHING
    },
    OperationRow {
        method: "put",
        path: "/api/v1/modifications/{token}",
        id: "endModification",
        tag: "deployments",
        summary: "End a modification and store its package",
        parameters: &[TOKEN],
        body: Body::Package,
        answers: &[("200", "It was stored", JSON, "Written")],
        problems: &["409", "415", "422"],
        ..NOTHING
    },
    OperationRow {
        method: "delete",
        path: "/api/v1/modifications/{token}",
        id: "cancelModification",
        tag: "deployments",
        summary: "Cancel a modification",
        parameters: &[TOKEN],
        answers: &[("204", "It is over", "", "")],
        problems: &["409"],
        ..NOTHING
    },
];
