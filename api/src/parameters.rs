//! Query parameters and JSON bodies whose errors are problem details in plain words.

use std::fmt;
use std::marker::PhantomData;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use engine::plain_words;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::RequestError;

/// The query parameters of a request.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let parameters = Query::from_request_parts(parts, state).await;
        let Query(parameters) = parameters.map_err(|rejection| {
            let problem = plain_words(&rejection.body_text()).replace(" field `", " parameter `");
            RequestError::BadRequest(problem)
        })?;
        Ok(Self(parameters))
    }
}

/// A share, such as a confidence: from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "f32")]
pub(crate) struct Share(pub(crate) f32);

impl TryFrom<f32> for Share {
    type Error = &'static str;

    fn try_from(share: f32) -> Result<Self, &'static str> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err("expected a number from 0 to 1")
        }
    }
}

/// The variable segment of a path.
#[derive(Debug)]
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = RequestError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, RequestError> {
        let Path(segment) = Path::from_request_parts(parts, state)
            .await
            .map_err(|rejection| RequestError::BadRequest(rejection.body_text()))?;
        Ok(Self(segment))
    }
}

/// The JSON body of a request.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = RequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RequestError> {
        match Json::from_request(request, state).await {
            Ok(Json(Object(body))) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(RequestError::BadRequest(
                "send the header `Content-Type: application/json`; with curl, `--json` does"
                    .to_owned(),
            )),
            Err(rejection) => {
                let problem = plain_words(&rejection.body_text());
                let problem = problem.replace("expected a table of settings", "expected an object");
                Err(RequestError::BadRequest(problem))
            }
        }
    }
}

/// A value that is written as an object. Otherwise a list of the fields would do, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// A request without a body: its parameters are in the query.
#[derive(Debug)]
pub(crate) struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = RequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RequestError> {
        match Bytes::from_request(request, state).await {
            Ok(body) if body.is_empty() => Ok(Self),
            _ => Err(RequestError::BadRequest(
                "the request has no body: its parameters are in the query".to_owned(),
            )),
        }
    }
}
