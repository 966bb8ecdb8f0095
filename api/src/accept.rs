//! Content negotiation.
//!
//! Source: RFC 9110, section 12.5.1.

use std::str::FromStr;

use axum::http::{HeaderMap, header};
use headers_accept::Accept;
use mediatype::MediaType;
use queries::Format;

use crate::error::RequestError;

/// Returns the format that a client prefers, or the default without an `Accept` header.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, RequestError> {
    let values = headers.get_all(header::ACCEPT).iter();
    let accept: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    if accept.is_empty() {
        return Ok(Format::default());
    }
    let unacceptable = || {
        let mut names = Format::ALL.map(essence).to_vec();
        names.dedup();
        RequestError::NotAcceptable(names.join(", "))
    };
    let accept = Accept::from_str(&ranges(&accept.join(","))).map_err(|_| unacceptable())?;
    let available =
        Format::ALL.map(|format| MediaType::parse(essence(format)).expect("a constant"));
    let chosen = accept.negotiate(&available).ok_or_else(unacceptable)?;
    let chosen =
        Format::ALL.into_iter().zip(&available).find(|(_, available)| *available == chosen);
    Ok(chosen.map_or_else(Format::default, |(format, _)| format))
}

/// Returns the media ranges with their quality: without other parameters, and without invalid ones.
fn ranges(accept: &str) -> String {
    let ranges = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().filter(|it| MediaType::parse(it).is_ok())?;
        let quality = parts.find(|part| part.starts_with("q=")).unwrap_or("q=1");
        Some(format!("{media_type};{quality}"))
    });
    let ranges: Vec<_> = ranges.collect();
    if ranges.is_empty() { "*/*".to_owned() } else { ranges.join(", ") }
}

/// Returns the media type without parameters.
fn essence(format: Format) -> &'static str {
    format.media_type().split(';').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepted(value: &'static str) -> Option<Format> {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]);
        format(&headers).ok()
    }

    #[test]
    fn the_quality_decides() {
        assert_eq!(format(&HeaderMap::new()).ok(), Some(Format::Json));
        for (value, expected) in [
            ("*/*", Some(Format::Json)),
            ("text/csv", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            ("application/json;q=0.1, text/csv;q=0.9", Some(Format::Csv)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Format::Json)),
            ("application/json;q=0, */*;q=0.5", Some(Format::JsonLines)),
            ("application/vnd.apache.parquet", Some(Format::Parquet)),
            ("image/png", None),
            ("application/json;q=0", None),
            ("text/csv; charset=utf-8", Some(Format::Csv)),
            ("text/html, image/gif, *; q=.2, */*; q=0.2", Some(Format::Json)),
            ("", Some(Format::Json)),
        ] {
            assert_eq!(accepted(value), expected, "{value}");
        }
    }
}
