//! The OpenAPI document: what the routes declare, what all of them have in common, and what they ask of clients.

use std::collections::BTreeMap;

use axum::http::Method;
use serde::Serialize;
use utoipa::IntoResponses;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::auth::{API_KEY, Access, COOKIE, access};
use crate::links::Links;
use crate::version::{VERSIONS, Version};

const PROBLEM: &str = "#/components/schemas/Problem";
const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";
/// The names of the kinds of credentials.
const TOKEN: &str = "token";
const KEY: &str = "key";
const SESSION: &str = "session";

/// Declares the media type of problems, and that any request may have one.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (Method::GET, &mut item.get),
            (Method::PUT, &mut item.put),
            (Method::POST, &mut item.post),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            complete_operation(operation);
            secure(operation, access(&method, path));
        }
    }
    add_schemes(&mut document);
    document
}

fn complete_operation(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            name_problem(response);
        }
    }
    let problem = Content::new(Some(Ref::new(PROBLEM)));
    let other = ResponseBuilder::new()
        .description(
            "Any other problem, such as a page of a foreign origin (403) or an unknown host (421).",
        )
        .content(PROBLEM_JSON, problem);
    operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(other.build()));
}

/// Declares what a route asks of clients.
fn secure(operation: &mut Operation, access: Option<Access>) {
    let Some(scopes) = access.and_then(Access::scopes) else {
        operation.security = Some(Vec::new());
        return;
    };
    let scopes = scopes.iter().map(|scope| scope.as_str());
    let requirement = |scheme| SecurityRequirement::new(scheme, scopes.clone());
    operation.security = Some([TOKEN, KEY, SESSION].map(requirement).into());
    let problems = [
        ("401", "The credential is missing or refused."),
        ("403", "The credential does not allow this."),
        ("429", "The client has no requests left."),
    ];
    for (status, description) in problems {
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| problem(description));
    }
}

/// Adds the kinds of credentials to a document.
fn add_schemes(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
    let token = token.description(Some(
        "An access token of `POST /api/v1/auth/token` or of the trusted issuer, or an API key.",
    ));
    let key = ApiKeyValue::with_description(API_KEY.as_str(), "An API key of `fresnel keys add`.");
    let session = ApiKeyValue::with_description(
        COOKIE,
        "The cookie of `POST /api/v1/auth/session`, for pages of this server.",
    );
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token.build()));
    components.add_security_scheme(KEY, SecurityScheme::ApiKey(ApiKey::Header(key)));
    components.add_security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(session)));
}

fn name_problem(response: &mut Response) {
    let is_problem = |content: &RefOr<Content>| {
        let RefOr::T(content) = content else { return false };
        matches!(&content.schema, Some(RefOr::Ref(schema)) if schema.ref_location == PROBLEM)
    };
    if response.content.get(JSON).is_some_and(is_problem)
        && let Some(problem) = response.content.shift_remove(JSON)
    {
        response.content.insert(PROBLEM_JSON.to_owned(), problem);
    }
}

/// The list of resources.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Index {
    versions: [Version; 2],
    resources: Vec<Resource>,
    #[serde(rename = "_links")]
    links: Links,
}

/// A resource with its methods.
#[derive(Clone, Debug, Serialize)]
struct Resource {
    path: String,
    /// What each method does.
    methods: BTreeMap<&'static str, String>,
}

impl Index {
    /// Lists the paths of a document.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let resources = document.paths.paths.iter().map(|(path, item)| {
            let operations = [
                ("GET", &item.get),
                ("POST", &item.post),
                ("PUT", &item.put),
                ("DELETE", &item.delete),
            ];
            let methods = operations.into_iter().filter_map(|(method, operation)| {
                Some((method, operation.as_ref()?.summary.clone().unwrap_or_default()))
            });
            Resource { path: path.clone(), methods: methods.collect() }
        });
        let links = Links::default()
            .and("self", &["/api/v1"], "")
            .and("describedby", &["/api/v1/openapi.json"], "")
            .and("help", &["/docs/reference/api.md"], "");
        Self { versions: VERSIONS, resources: resources.collect(), links }
    }
}

/// The problems of any request that queries the history.
pub(crate) struct QueryProblems;

impl IntoResponses for QueryProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let problems = [
            (400, "The request makes no sense."),
            (404, "The pipeline keeps no history, or the requested item was not found."),
            (408, "The answer took too long."),
            (413, "The answer is too long."),
            (422, "The query needs too much memory."),
            (429, "Too many queries run or wait."),
            (503, "No process can answer the query."),
            (507, "There is no room for the answer."),
        ];
        let problems =
            problems.map(|(status, description)| (status.to_string(), problem(description)));
        problems.into_iter().collect()
    }
}

fn problem(description: &str) -> RefOr<Response> {
    let problem = Content::new(Some(Ref::new(PROBLEM)));
    RefOr::T(ResponseBuilder::new().description(description).content(PROBLEM_JSON, problem).build())
}
