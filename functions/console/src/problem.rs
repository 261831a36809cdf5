//! Errors as RFC 9457 problem details that name the field, the value's place and the remedy.

use axum::{
    Json,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use mailrail_domain::words::invalid::Invalid;
use mailrail_engine::outage::Outage;
use serde::Serialize;
use utoipa::ToSchema;

/// Problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// What kind of problem it is, the same for every occurrence.
    pub title: &'static str,
    /// What is wrong here.
    pub detail: String,
    /// The field that it is about, as a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem with no field.
    pub fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), title, detail: detail.into(), field: None, remedy: None }
    }

    /// Something that is not there.
    pub fn not_found(what: &str, id: &str) -> Self {
        let id = mailrail_domain::words::invalid::excerpt(id);
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("There is no {what} {id}."))
    }

    /// Something that its state does not allow.
    pub fn conflict(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { remedy, ..Self::new(StatusCode::CONFLICT, "Conflict", detail) }
    }
}

impl Problem {
    /// Somebody else's change came first.
    pub fn superseded() -> Self {
        let detail = "Somebody else changed or deleted it since it was read. Nothing was overwritten.";
        Self::conflict(detail, "Read it again, and repeat your change if it is still wanted.")
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid value", invalid.problem);
        Self { field: Some(invalid.field), remedy: Some(invalid.remedy), ..problem }
    }
}

impl From<Outage> for Problem {
    /// Our own failure: said plainly, its details in the log alone.
    fn from(outage: Outage) -> Self {
        tracing::error!(error = outage.chain(), "outage");
        let detail = "A part of Mailrail is not available. Nothing was changed, or all of it; try again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not available", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(self)).into_response()
    }
}

/// The answer to a path that nothing is at.
pub async fn no_such_path(uri: Uri) -> Problem {
    Problem { remedy: Some("See /openapi.json".into()), ..Problem::not_found("resource at", uri.path()) }
}

/// The answer to a method that a path does not have.
pub async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible at {}.", mailrail_domain::words::invalid::excerpt(uri.path()));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
}
