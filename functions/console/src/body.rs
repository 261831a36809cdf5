//! Bodies of requests as JSON, whose errors name the field.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::problem::Problem;

/// A body that was read into its type.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            Problem::new(status, "The request cannot be read", rejection.body_text())
        })?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            let detail = format!("The body is not JSON: {error}.");
            Problem::new(StatusCode::BAD_REQUEST, "The request cannot be read", detail)
        })?;
        Ok(Self(from_value(value)?))
    }
}

/// Reads a value into its type; an error names the path of the field.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
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

/// Merges a patch into a value as RFC 7396 says: `null` removes, an object is merged, anything else replaces.
pub fn merge(target: &mut Value, patch: Value) {
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
    #[allow(dead_code)]
    struct Outer {
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
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

    #[test]
    fn patches_merge_as_the_rfc_says() {
        let mut target = json!({ "a": { "b": 1, "c": 2 }, "d": 3 });
        merge(&mut target, json!({ "a": { "b": null, "e": 4 }, "d": [1] }));
        assert_eq!(target, json!({ "a": { "c": 2, "e": 4 }, "d": [1] }));
    }
}
