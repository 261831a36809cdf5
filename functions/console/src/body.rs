//! Bodies and queries of requests, whose errors name the field.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use mailrail_domain::rules::support::{REFUSED_VALUES, refused_value};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::problem::Problem;

/// A query that was read into its type.
pub(crate) struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|rejection| {
            let problem =
                std::error::Error::source(&rejection).map_or_else(|| rejection.body_text(), ToString::to_string);
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
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            let detail = format!("The body is not JSON: {error}.");
            Problem::new(StatusCode::BAD_REQUEST, "The request cannot be read", detail)
        })?;
        Ok(Self(from_value(value)?))
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
        let problem = error.into_inner().to_string();
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

/// The revision that a change is conditional on, if it is conditional on any (RFC 9110 section 13.1.1).
pub(crate) fn expected_revision(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(wanted) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let wanted = wanted.to_str().unwrap_or_default().trim().trim_matches('"');
    if wanted == "*" {
        return Ok(None);
    }
    wanted.parse().map(Some).map_err(|_| {
        let detail = "If-Match names no revision.";
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "Conflict", detail);
        problem.with_remedy("Give the revision that you read, a number, or leave the header out.")
    })
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
        assert_eq!(expected_revision(&HeaderMap::new()), Ok(None));
        assert_eq!(expected_revision(&headers("*")), Ok(None));
        for value in ["\"7\"", "7", " \"7\" "] {
            assert_eq!(expected_revision(&headers(value)), Ok(Some(7)), "{value}");
        }
        for value in ["\"x\"", "\"1\", \"2\"", ""] {
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
