//! The `OpenAPI` 3.1 document of `/api/v1`: one table of operations, from which the reference in
//! `docs/` is generated, too.

mod operations;
mod schemas;

use crate::problem::PROBLEM;
use operations::{Body, OPERATIONS, OperationRow, Parameter, ParameterPlace};
use serde_json::{Value, json};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ComponentsBuilder, InfoBuilder, License, OpenApiBuilder, PathItem, PathsBuilder,
    Ref, RefOr, Required, ResponseBuilder, Schema,
};

/// The kinds that a row of the table stands for, with the name of their schema.
const KINDS: [(&str, &str, &str); 4] = [
    ("templates", "template", "Template"),
    ("sites", "site", "Site"),
    ("deployments", "deployment", "Deployment"),
    ("plugins", "plugin", "Plugin"),
];

/// The `OpenAPI` 3.1 document of `/api/v1`.
pub fn document() -> Value {
    let mut paths = PathsBuilder::new();
    for row in OPERATIONS {
        if row.path.contains("{collection}") {
            for (plural, kind, schema) in KINDS {
                if row.kinds.is_empty() || row.kinds.contains(&plural) {
                    let path = row.path.replace("{collection}", plural);
                    paths = paths.path(path, item(row, Some((plural, kind, schema))));
                }
            }
        } else {
            paths = paths.path(row.path, item(row, None));
        }
    }
    let description = "Everything that TKO can do. Ids contain `/` and `:`; in paths they are one \
                       segment, percent-encoded: `nf%2Fupf%3Av1`. Errors are problem details by RFC \
                       9457. Lists continue at the cursor `next`. Times are by RFC 3339, in UTC.";
    let info = InfoBuilder::new()
        .title("TKO")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description))
        .license(Some(License::new("Apache-2.0")))
        .build();
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components()))
        .security(Some([
            SecurityRequirement::new("bearer", Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .build();
    serde_json::to_value(document).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot write the OpenAPI document");
        json!({})
    })
}

fn components() -> Components {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let mut components =
        ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer));
    for (name, value) in schemas::all() {
        components = components.schema(name, schema(value));
    }
    components.build()
}

/// A schema from JSON.
fn schema(value: Value) -> RefOr<Schema> {
    serde_json::from_value(value).expect("the schemas of this crate, which a test reads")
}

fn reference(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn item(row: &OperationRow, kind: Option<(&str, &str, &str)>) -> PathItem {
    let method = match row.method {
        "get" => HttpMethod::Get,
        "post" => HttpMethod::Post,
        "put" => HttpMethod::Put,
        _ => HttpMethod::Delete,
    };
    let (plural, singular, name) = kind.unwrap_or(("", "", ""));
    let fill = |text: &str| {
        let text = text.replace("{plural}", plural).replace("{kind}", singular);
        text.replace("{Kind}", name)
    };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(fill(row.id)))
        .summary(Some(fill(row.summary)))
        .tag(if plural.is_empty() { row.tag } else { plural });
    if !row.description.is_empty() {
        operation = operation.description(Some(fill(row.description)));
    }
    let filters = if row.has_filters {
        operations::filters(plural)
    } else {
        &[]
    };
    for parameter in row.parameters.iter().chain(filters) {
        operation = operation.parameter(parameter_of(parameter));
    }
    operation = match row.body {
        Body::None => operation,
        Body::Package => {
            let mut body = RequestBodyBuilder::new().description(Some("A package"));
            for media in ["application/yaml", "application/json", "application/cbor"] {
                body = body.content(media, content_of(media));
            }
            operation.request_body(Some(body.build()))
        }
        Body::Json(media, schema) => {
            let content = ContentBuilder::new()
                .schema(Some(reference(schema)))
                .build();
            let body = RequestBodyBuilder::new().content(media, content);
            operation.request_body(Some(body.required(Some(Required::True)).build()))
        }
    };
    for (status, text, media, schema) in row.answers {
        let mut response = ResponseBuilder::new().description(fill(text));
        match *media {
            "" => {}
            "package" => {
                for media in ["application/yaml", "application/json", "application/cbor"] {
                    response = response.content(media, content_of(media));
                }
            }
            media => {
                let content = ContentBuilder::new()
                    .schema(Some(reference(&fill(schema))))
                    .build();
                response = response.content(media, content);
            }
        }
        operation = operation.response(*status, response.build());
    }
    // The HTTP library refuses such a request before it has a target.
    let refused = ResponseBuilder::new().description(meaning("431"));
    operation = operation.response("431", refused.build());
    let problems = [
        "400", "401", "403", "404", "410", "413", "421", "500", "501", "503",
    ];
    for status in problems.iter().chain(row.problems) {
        let content = ContentBuilder::new()
            .schema(Some(reference("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description(meaning(status))
            .content(PROBLEM, content)
            .build();
        operation = operation.response(*status, response);
    }
    PathItem::new(method, operation)
}

fn content_of(media: &str) -> utoipa::openapi::Content {
    let name = if media == "application/json" {
        "Package"
    } else {
        "EncodedPackage"
    };
    ContentBuilder::new().schema(Some(reference(name))).build()
}

fn parameter_of(parameter: &Parameter) -> utoipa::openapi::path::Parameter {
    let place = match parameter.place {
        ParameterPlace::Path => ParameterIn::Path,
        ParameterPlace::Query => ParameterIn::Query,
        ParameterPlace::Header => ParameterIn::Header,
    };
    let is_required = parameter.is_required || matches!(parameter.place, ParameterPlace::Path);
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(if is_required {
            Required::True
        } else {
            Required::False
        })
        .description(Some(parameter.text))
        .schema(Some(schema((parameter.schema)())))
        .build()
}

/// The meaning of a problem's status.
fn meaning(status: &str) -> &'static str {
    match status {
        "400" => "The request is wrong",
        "401" => "Credentials are missing or unknown",
        "403" => "The caller has no permission, or a page of another origin sent the request",
        "404" => "It does not exist",
        "405" => "The method is not possible here",
        "406" => "None of the accepted media types can be sent",
        "409" => "It exists already, is in use, or changed meanwhile",
        "410" => "The modification or the revision is no longer there",
        "412" => "It does not have the version that the request requires",
        "413" => "The body is too large",
        "415" => "The media type of the body is not known",
        "421" => "The server does not answer to this host",
        "422" => "The package is not valid; lists every violation",
        "428" => "If-Match is missing",
        "431" => "The head of the request is too large; the answer has no body",
        "500" => "A fault of the server",
        "501" => "Not supported here",
        _ => "The server cannot work on the request now; retry later",
    }
}

#[cfg(test)]
mod tests {
    use super::document;
    use super::operations::filters;

    #[test]
    fn a_watch_has_the_filters_of_all_lists_that_it_does_not_refuse() {
        let document = document();
        let watch = &document["paths"]["/api/v1/watch"]["get"]["parameters"];
        let has = |name: &str| {
            let mut parameters = watch.as_array().expect("parameters").iter();
            parameters.any(|parameter| parameter["name"] == name)
        };
        for collection in ["templates", "sites", "deployments", "plugins"] {
            for filter in filters(collection) {
                let is_refused = matches!(filter.name, "template-metadata" | "site-metadata");
                assert_eq!(has(filter.name), !is_refused, "{}", filter.name);
            }
        }
    }

    #[test]
    fn the_answer_to_a_head_that_is_too_large_has_no_body() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths").values();
        for item in paths {
            for operation in item.as_object().expect("operations").values() {
                let answer = &operation["responses"]["431"];
                assert!(answer["description"].is_string(), "{operation}");
                assert!(answer["content"].is_null(), "{operation}");
            }
        }
    }

    #[test]
    fn every_reference_has_its_schema_and_ids_are_unique() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let text = document.to_string();
        let schemas = document["components"]["schemas"]
            .as_object()
            .expect("schemas");
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().expect("a name");
            assert!(schemas.contains_key(name), "{name}");
        }
        let mut ids = Vec::new();
        for item in document["paths"].as_object().expect("paths").values() {
            for operation in item.as_object().expect("operations").values() {
                ids.push(operation["operationId"].as_str().expect("an id").to_owned());
            }
        }
        let count = ids.len();
        assert!(count > 30, "{count}");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
