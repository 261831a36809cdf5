//! Errors as RFC 9457 problem details that name the field, the value's place and the remedy.

use axum::{
    Json,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use mailrail_domain::words::invalid::{Invalid, excerpt};
use mailrail_engine::{administration::Refusal, outage::Outage};
use serde::Serialize;
use utoipa::ToSchema;

/// Problem details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Problem {
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
    pub(crate) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), title, detail: detail.into(), field: None, remedy: None }
    }

    /// The same with what to do.
    pub(crate) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        const READ_AGAIN: &str = "Read it again, and repeat your change if it is still wanted.";
        match refusal {
            Refusal::Invalid(invalid) => invalid.into(),
            Refusal::NotFound { field, .. } => {
                let field = field.map(str::to_owned);
                Self { field, ..Self::new(StatusCode::NOT_FOUND, "Not found", refusal.to_string()) }
            }
            Refusal::Conflict { detail, remedy } => {
                Self::new(StatusCode::CONFLICT, "Conflict", detail).with_remedy(remedy)
            }
            Refusal::Outdated { revision } => {
                let detail = format!("It has the revision {revision}, and If-Match asks for another.");
                Self::new(StatusCode::PRECONDITION_FAILED, "Conflict", detail).with_remedy(READ_AGAIN)
            }
            Refusal::Superseded => {
                let detail = "Somebody else changed or deleted it since it was read. Nothing was overwritten.";
                Self::new(StatusCode::CONFLICT, "Conflict", detail).with_remedy(READ_AGAIN)
            }
            Refusal::Forbidden { detail, remedy } => {
                Self::new(StatusCode::FORBIDDEN, "Beyond the role", detail).with_remedy(remedy)
            }
            Refusal::TooMany { detail, remedy } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "Bulk limit", detail).with_remedy(remedy)
            }
            Refusal::Outage(outage) => outage.into(),
        }
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
        let answer = (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(self));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 15.5.2: the answer says how to sign in.
            return ([(header::WWW_AUTHENTICATE, "Bearer realm=\"Mailrail\"")], answer).into_response();
        }
        answer.into_response()
    }
}

/// The answer to a path that nothing is at.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    let detail = format!("There is no resource at {}.", excerpt(uri.path()));
    Problem::new(StatusCode::NOT_FOUND, "Not found", detail).with_remedy("See /openapi.json")
}

/// The answer to a method that a path does not have.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible at {}.", excerpt(uri.path()));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
}

#[cfg(test)]
mod tests {
    use mailrail_domain::words::role::Role;
    use mailrail_engine::administration::By;

    use super::*;

    #[test]
    fn what_is_beyond_a_role_is_refused_and_named() {
        let reader = By { name: "audit desk".into(), role: Role::Reader, new_id: String::new };
        assert!(reader.needs(Role::Reader, "Reading").is_ok());
        let refusal = Problem::from(reader.needs(Role::Administrator, "Deleting a mailbox").unwrap_err());
        assert_eq!(refusal.status, 403);
        assert_eq!(
            refusal.detail,
            "Deleting a mailbox needs the role administrator; the API token \"audit desk\" has the role reader."
        );
        assert_eq!(refusal.remedy.as_deref(), Some("Use an API token with the role administrator."));
    }

    #[test]
    fn every_refusal_has_its_status() {
        let remedy = || "Do something else.".to_owned();
        for (refusal, status) in [
            (Refusal::Invalid(Invalid::new("name", "it is empty", "Give one")), 422),
            (Refusal::not_found("mailbox", "m1"), 404),
            (Refusal::conflict("It is so.", "Change it."), 409),
            (Refusal::Outdated { revision: 2 }, 412),
            (Refusal::Superseded, 409),
            (Refusal::Forbidden { detail: "No.".into(), remedy: remedy() }, 403),
            (Refusal::TooMany { detail: "Too many.".into(), remedy: remedy() }, 429),
            (Refusal::Outage(Outage::new("the table is away")), 503),
        ] {
            let shown = format!("{refusal:?}");
            let problem = Problem::from(refusal);
            assert_eq!(problem.status, status, "{shown}");
            assert!(problem.remedy.is_some() || matches!(status, 404 | 503), "{shown}");
        }
        let problem = Problem::from(Refusal::not_found("mailbox", "a\nb"));
        assert_eq!(problem.detail, "There is no mailbox a\\nb.");
    }
}
