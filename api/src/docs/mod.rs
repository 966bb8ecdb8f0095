//! The book at `/docs`, with full-text search.

mod html;
mod pages;
mod search;

use axum::Json;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::docs::html::{layout, to_html};
use crate::docs::pages::PAGES;
use crate::error::RequestError;
use crate::parameters::Parameters;

/// The pictures of the pages, with their media types.
const PICTURES: [(&str, &str, &[u8]); 3] = [
    ("people.png", "image/png", include_bytes!("../../../docs/src/people.png")),
    ("camera.jpg", "image/jpeg", include_bytes!("../../../docs/src/camera.jpg")),
    ("camera-and-csi.png", "image/png", include_bytes!("../../../docs/src/camera-and-csi.png")),
];

/// The words of a search.
#[derive(Debug, Deserialize)]
pub(crate) struct Search {
    #[serde(default)]
    q: String,
}

/// Redirects to the first page.
pub(crate) async fn index() -> Redirect {
    Redirect::permanent("/docs/introduction.md")
}

/// Returns a page of the book, or the results of a search with `q`.
pub(crate) async fn page(
    Path(name): Path<String>,
    Parameters(Search { q }): Parameters<Search>,
) -> Result<Response, RequestError> {
    if name == "search" {
        return Ok(layout("Search", &search::results(&q), &q));
    }
    if let Some((_, media_type, bytes)) = PICTURES.iter().find(|(picture, ..)| *picture == name) {
        return Ok(([(header::CONTENT_TYPE, *media_type)], *bytes).into_response());
    }
    if name == "pipeline.schema.json" {
        return Ok(Json(engine::json_schema()).into_response());
    }
    let stem = name.strip_suffix(".html").or(name.strip_suffix(".md")).unwrap_or(&name);
    let page = PAGES.iter().find(|page| page.name.strip_suffix(".md") == Some(stem));
    let page = page.ok_or_else(|| RequestError::NoSuchPath(format!("/docs/{name}")))?;
    Ok(layout(page.title(), &to_html(page.text, page.folder()), ""))
}
