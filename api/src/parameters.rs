//! Query parameters whose errors are problem details.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::RequestError;

/// The query parameters of a request.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let parameters = Query::from_request_parts(parts, state).await;
        let Query(parameters) =
            parameters.map_err(|rejection| RequestError::BadRequest(rejection.body_text()))?;
        Ok(Self(parameters))
    }
}
