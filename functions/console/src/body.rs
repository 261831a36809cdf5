//! Bodies and queries of requests, whose errors name the field.

use std::marker::PhantomData;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use mailrail_domain::{
    rules::support::{REFUSED_VALUES, refused_value},
    words::invalid::Invalid,
};
use mailrail_engine::administration::Expected;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;

use crate::problem::Problem;

/// Largest request (Lambda: 6 MB for an invocation's payload).
pub(crate) const REQUEST_BYTES_MAX: usize = 6 * 1024 * 1024;

/// A query that was read into its type.
pub(crate) struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|rejection| {
            let problem =
                std::error::Error::source(&rejection).map_or_else(|| rejection.body_text(), ToString::to_string);
            let problem = plain(&problem);
            // "name: what is wrong", or an unknown name in backticks.
            let named = problem.split_once(": ").map(|(name, _)| name).or_else(|| problem.split('`').nth(1));
            Problem {
                field: named.map(ToOwned::to_owned),
                remedy: Some("See the parameters of the request in /openapi.json".to_owned()),
                ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", problem)
            }
        })
    }
}

/// A body as it came.
pub(crate) struct Content(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Content {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            let status = rejection.status();
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                let detail = format!("The body has more than {REQUEST_BYTES_MAX} bytes.");
                return Problem::new(status, "Too large", detail).with_remedy("Send it in several requests.");
            }
            Problem::new(status, "The request cannot be read", rejection.body_text())
        })
    }
}

/// A body that was read into its type.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Content(bytes) = Content::from_request(request, state).await?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let detail = format!("The body is not JSON: {error}.");
            Problem::new(StatusCode::BAD_REQUEST, "The request cannot be read", detail)
        })?;
        if !value.is_object() {
            let problem = "the body is no JSON object";
            return Err(Invalid::new("body", problem, "Give an object, such as {\"name\": \"Ann\"}").into());
        }
        Ok(Self(from_value(value)?))
    }
}

/// An object within a body. The readers of structures would take a list of their fields as well.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_option(Object(PhantomData))
}

/// The same, where the object has to be there.
pub(crate) fn required_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    object(deserializer)?.ok_or_else(|| serde::de::Error::custom("invalid type: null, expected an object"))
}

/// A problem of a value in words of the API rather than of its reader.
fn plain(problem: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number, not negative"),
        ("expected u64", "expected a whole number, not negative"),
        ("expected usize", "expected a whole number, not negative"),
        ("expected a string", "expected text"),
        ("expected a sequence", "expected a list"),
        ("invalid type: map", "invalid type: an object"),
        ("invalid type: sequence", "invalid type: a list"),
        ("invalid type: unit value", "invalid type: nothing"),
    ];
    let mut words = problem.to_owned();
    for (theirs, ours) in WORDS {
        words = words.replace(theirs, ours);
    }
    match words.find("expected struct ") {
        Some(at) => format!("{}expected an object", words.get(..at).unwrap_or_default()),
        None => words,
    }
}

/// Reads a value into its type; an error names the path of the field. A value that is known and not supported is refused
/// with its reason rather than as unknown.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    for (field, ..) in REFUSED_VALUES {
        let place = format!("/{}", field.replace('.', "/"));
        let given = value.pointer(&place).and_then(Value::as_str);
        if let Some(refusal) = given.and_then(|given| refused_value(field, given)) {
            return Err(refusal.into());
        }
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let problem = plain(&error.into_inner().to_string());
        // An unknown or missing field stands in the message, not in the path.
        let named = problem.split('`').nth(1).filter(|_| problem.contains("field `"));
        let field = match (path.as_str(), named) {
            (".", Some(name)) => name.to_owned(),
            (_, Some(name)) if !path.ends_with(name) => format!("{path}.{name}"),
            _ => path,
        };
        Problem {
            field: Some(field),
            remedy: Some("See the schema of the request in /openapi.json".to_owned()),
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", problem)
        }
    })
}

/// Names of the fields that a patch is about, for the audit.
pub(crate) fn names(patch: &Value) -> Vec<String> {
    patch.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

/// The revisions that a change is conditional on, if it is conditional on any (RFC 9110 section 13.1.1).
pub(crate) fn expected_revision(headers: &HeaderMap) -> Result<Expected, Problem> {
    let given: Vec<&str> = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok()).collect();
    let tags: Vec<&str> = given.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    if given.is_empty() || tags == ["*"] {
        return Ok(Expected::Any);
    }
    let revisions = tags.iter().map(|tag| tag.trim_matches('"').parse()).collect::<Result<_, _>>();
    revisions.map(Expected::OneOf).map_err(|_| {
        let detail = "If-Match names no revision.";
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "Conflict", detail);
        problem.with_remedy("Give the ETag that you read, or leave the header out.")
    })
}

/// An answer with its revision as its tag (RFC 9110 section 8.8.3), for a change on condition of it.
pub(crate) struct Tagged<T>(pub T);

/// What has a revision.
pub(crate) trait Revised {
    /// How often it has been written.
    fn revision(&self) -> u64;
}

impl<T: Serialize + Revised> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = format!("\"{}\"", self.0.revision());
        ([(header::ETAG, tag)], Json(self.0)).into_response()
    }
}

/// Settings with a merge patch, read into their type again.
pub(crate) fn merged<T: Serialize + DeserializeOwned>(settings: &T, patch: Value) -> Result<T, Problem> {
    let mut merged = serde_json::to_value(settings).unwrap_or_default();
    merge(&mut merged, patch);
    from_value(merged)
}

/// Whether a patch removes a field that is never shown, and so is not there to be merged into.
pub(crate) fn removes(patch: &Value, field: &str) -> bool {
    patch.get(field).is_some_and(Value::is_null)
}

/// Whether a secret is left out of an answer. It always is, while `skip_serializing` would leave it out of the description
/// of the request as well.
#[expect(clippy::ref_option, reason = "the shape that serde calls")]
pub(crate) const fn never_shown(_: &Option<String>) -> bool {
    true
}

/// Merges a patch into a value as RFC 7396 says: `null` removes, an object is merged, anything else replaces.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(changes) => {
            if !target.is_object() {
                *target = Value::Object(serde_json::Map::new());
            }
            for (name, change) in changes {
                if let Some(fields) = target.as_object_mut() {
                    if change.is_null() {
                        fields.remove(&name);
                    } else {
                        merge(fields.entry(name).or_insert(Value::Null), change);
                    }
                }
            }
        }
        other => *target = other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its fields' names and types are read")]
    struct Outer {
        #[serde(deserialize_with = "required_object")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its fields' names and types are read")]
    struct Inner {
        port: u16,
    }

    #[test]
    fn errors_name_the_path_of_the_field() {
        for (value, field) in [
            (json!({ "inner": { "port": 70_000 } }), "inner.port"),
            (json!({ "inner": { "port": "x" } }), "inner.port"),
            (json!({ "inner": {} }), "inner.port"),
            (json!({ "inner": { "port": 1 }, "outer": 2 }), "outer"),
            (json!({}), "inner"),
            (json!({ "inner": [1] }), "inner"),
        ] {
            let problem = from_value::<Outer>(value.clone()).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{value} {problem:?}");
        }
    }

    #[tokio::test]
    async fn errors_name_the_parameter() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its fields' names and types are read")]
        struct Wanted {
            limit: Option<u16>,
        }
        for (query, field) in [("limit=x", "limit"), ("limit=70000", "limit"), ("most=1", "most")] {
            let (mut parts, ()) = axum::http::Request::get(format!("/?{query}")).body(()).unwrap().into_parts();
            let read = Parameters::<Wanted>::from_request_parts(&mut parts, &()).await;
            let problem = read.map(|Parameters(wanted)| wanted).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
        }
    }

    #[test]
    fn a_revision_is_asked_for_by_number_or_not_at_all() {
        let headers = |value: &'static str| HeaderMap::from_iter([(header::IF_MATCH, value.parse().unwrap())]);
        assert_eq!(expected_revision(&HeaderMap::new()), Ok(Expected::Any));
        assert_eq!(expected_revision(&headers("*")), Ok(Expected::Any));
        for value in ["\"7\"", "7", " \"7\" "] {
            assert_eq!(expected_revision(&headers(value)), Ok(Expected::OneOf(vec![7])), "{value}");
        }
        assert_eq!(expected_revision(&headers("\"1\", \"3\"")), Ok(Expected::OneOf(vec![1, 3])));
        for value in ["\"x\"", "\"1\", W/\"2\"", ""] {
            assert_eq!(expected_revision(&headers(value)).unwrap_err().status, 412, "{value}");
        }
    }

    #[test]
    fn patches_merge_as_the_rfc_says() {
        let mut target = json!({ "a": { "b": 1, "c": 2 }, "d": 3 });
        merge(&mut target, json!({ "a": { "b": null, "e": 4 }, "d": [1] }));
        assert_eq!(target, json!({ "a": { "c": 2, "e": 4 }, "d": [1] }));
    }
}
