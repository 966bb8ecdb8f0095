//! The OpenAPI document: what the routes declare, and what all of them have in common.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::IntoResponses;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder};

use crate::links::Links;

const PROBLEM: &str = "#/components/schemas/Problem";
const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// Declares the media type of problems, and that any request may have one.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(complete_operation);
    }
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
        Self { resources: resources.collect(), links }
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
