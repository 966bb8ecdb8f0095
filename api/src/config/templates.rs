//! Templates of pipeline files: stored, validated, and rendered with parameters.

use std::collections::BTreeMap;
use std::path::Path;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::{PipelineError, Plan, Template, TemplateError, TemplateStore};
use identity::check_name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Problem, RequestError};
use crate::paging::List;
use crate::parameters::{JsonBody, Segment};

/// The most templates of a store.
const MAX_TEMPLATES: usize = 1000;

/// A pipeline file with parameters in its strings, such as `"${port}"`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoredTemplate {
    /// The name.
    name: String,
    /// The pipeline file with its parameters.
    text: String,
    /// The names of the parameters.
    parameters: Vec<String>,
}

/// The text of a template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateText {
    /// The pipeline file with its parameters.
    text: String,
}

/// Values of parameters.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateValues {
    /// The value of each parameter, by name. A string that is only a parameter becomes the value with its type.
    #[schema(value_type = BTreeMap<String, Object>)]
    parameters: BTreeMap<String, serde_json::Value>,
}

/// A pipeline file that was made of a template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rendered {
    /// The pipeline file.
    text: String,
    /// True if it can run.
    is_valid: bool,
    /// The mistakes in the pipeline file.
    problems: Vec<String>,
}

/// Returns the templates, by name.
#[utoipa::path(
    get,
    path = "/api/v1/config/templates",
    responses((status = 200, description = "The templates.", body = [StoredTemplate])),
)]
pub(crate) async fn templates(
    State(app): State<App>,
) -> Result<List<StoredTemplate>, RequestError> {
    let templates = store(&app).all().await?.into_iter();
    Ok(List::all(templates.map(|(name, text)| StoredTemplate::new(name, text))))
}

/// Returns a template.
#[utoipa::path(
    get,
    path = "/api/v1/config/templates/{name}",
    params(("name" = String, Path, description = "The template.")),
    responses(
        (status = 200, description = "The template.", body = StoredTemplate),
        (status = 404, description = "There is no such template.", body = Problem),
    ),
)]
pub(crate) async fn template(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<Json<StoredTemplate>, RequestError> {
    let text = text(&app, &name).await?;
    Ok(Json(StoredTemplate::new(name, text)))
}

/// Adds or replaces a template. All pipelines with the same store have it.
#[utoipa::path(
    put,
    path = "/api/v1/config/templates/{name}",
    params(("name" = String, Path, description = "The template.")),
    request_body = TemplateText,
    responses(
        (status = 200, description = "It is kept.", body = StoredTemplate),
        (status = 400, description = "The name is none, or the text is no template.", body = Problem),
        (status = 409, description = "There are too many templates.", body = Problem),
    ),
)]
pub(crate) async fn set_template(
    State(app): State<App>,
    Segment(name): Segment,
    JsonBody(TemplateText { text }): JsonBody<TemplateText>,
) -> Result<Json<StoredTemplate>, RequestError> {
    check_name(&name).map_err(|error| RequestError::BadRequest(error.to_string()))?;
    Template::parse(&text)?;
    let known = store(&app).all().await?;
    if known.len() >= MAX_TEMPLATES && !known.contains_key(&name) {
        return Err(RequestError::TooManyItems(MAX_TEMPLATES));
    }
    store(&app).set(&name, &text).await?;
    Ok(Json(StoredTemplate::new(name, text)))
}

/// Removes a template.
#[utoipa::path(
    delete,
    path = "/api/v1/config/templates/{name}",
    params(("name" = String, Path, description = "The template.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such template.", body = Problem),
    ),
)]
pub(crate) async fn remove_template(
    State(app): State<App>,
    Segment(name): Segment,
) -> Result<StatusCode, RequestError> {
    let is_known = store(&app).remove(&name).await?;
    if is_known { Ok(StatusCode::NO_CONTENT) } else { Err(no_template(&name)) }
}

/// Makes a pipeline file of a template, and checks it as `fresnel validate` does. Nothing is stored.
#[utoipa::path(
    post,
    path = "/api/v1/config/templates/{name}/render",
    params(("name" = String, Path, description = "The template.")),
    request_body = TemplateValues,
    responses(
        (status = 200, description = "The pipeline file, with its mistakes.", body = Rendered),
        (status = 400, description = "Values are missing, or are too many.", body = Problem),
        (status = 404, description = "There is no such template.", body = Problem),
    ),
)]
pub(crate) async fn render_template(
    State(app): State<App>,
    Segment(name): Segment,
    JsonBody(TemplateValues { parameters }): JsonBody<TemplateValues>,
) -> Result<Json<Rendered>, RequestError> {
    let text = Template::parse(&text(&app, &name).await?)?.render(&parameters)?;
    let problems = problems(&name, &text);
    Ok(Json(Rendered { text, is_valid: problems.is_empty(), problems }))
}

impl StoredTemplate {
    fn new(name: String, text: String) -> Self {
        let parameters =
            Template::parse(&text).map(|template| template.parameters().iter().cloned().collect());
        Self { name, text, parameters: parameters.unwrap_or_default() }
    }
}

impl From<TemplateError> for RequestError {
    fn from(error: TemplateError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

fn problems(name: &str, text: &str) -> Vec<String> {
    match Plan::parse(Path::new(name), text) {
        Ok(_) => Vec::new(),
        Err(PipelineError::Invalid { diagnostics, .. }) => {
            diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

fn store(app: &App) -> &TemplateStore {
    &app.shared.templates
}

async fn text(app: &App, name: &str) -> Result<String, RequestError> {
    store(app).all().await?.remove(name).ok_or_else(|| no_template(name))
}

fn no_template(name: &str) -> RequestError {
    RequestError::NotFound(format!(
        "no template {name:?}: /api/v1/config/templates lists all of them"
    ))
}
