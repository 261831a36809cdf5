//! The audit: who did what, and when.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use mailrail_domain::words::{audit, invalid::Invalid};
use mailrail_engine::ports::Ports;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::words::api_enum;
use crate::{
    app::App,
    body::Parameters,
    page::{Listing, PageQuery},
    problem::Problem,
};

api_enum! {
    /// What was done.
    AuditAction of audit::AuditAction {
        Created,
        Changed,
        Deleted,
        Approved,
        ApprovedForTenant,
        Rejected,
        Tested,
        Replayed,
        Enabled,
        Disabled,
        Other,
    }
}

api_enum! {
    /// What it was done to.
    AuditSubject of audit::AuditSubject { Mailbox, Profile, Organization, ApiToken, Other }
}

/// Who did what to what, and when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntryView {
    /// Its identifier, in the order of time.
    id: String,
    /// When.
    at: DateTime<Utc>,
    /// Name of the API token with which it was done; `mailrail` for what nobody asked for.
    by: String,
    /// What was done.
    action: AuditAction,
    /// What it was done to.
    subject: AuditSubject,
    /// The identifier of that; of the organization, its name.
    subject_id: String,
    /// Names of the fields that were changed, or the delivery that was concerned; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<String>,
}

impl From<audit::AuditEntry> for AuditEntryView {
    fn from(entry: audit::AuditEntry) -> Self {
        let audit::AuditEntry { id, at, by, action, subject, subject_id, fields } = entry;
        Self { id, at, by, action: action.into(), subject: subject.into(), subject_id, fields }
    }
}

/// Which part of the audit is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// `mailbox`, `profile`, `organization` or `api-token`; with `subject_id`.
    #[param(inline)]
    subject: Option<AuditSubject>,
    /// The subject's id.
    subject_id: Option<String>,
    /// Most entries of the page, 1 to 100.
    limit: Option<usize>,
    /// Where the page begins.
    cursor: Option<String>,
}

/// Lists who did what and when, the newest first: of everything, or of one subject.
#[utoipa::path(get, path = "/v1/audit", params(AuditQuery), responses((status = 200, body = Listing<AuditEntryView>), (status = 422, body = Problem)))]
pub(crate) async fn list<P: Ports>(
    State(app): State<App<P>>,
    Parameters(query): Parameters<AuditQuery>,
) -> Result<Json<Listing<AuditEntryView>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor }.request()?;
    let subject = match (query.subject, query.subject_id.as_deref()) {
        (Some(subject), Some(id)) => Some((subject.into(), id)),
        (None, None) => None,
        (Some(_), None) => return Err(together("subject_id").into()),
        (None, Some(_)) => return Err(together("subject").into()),
    };
    Ok(Json(Listing::of(app.engine.list_audit(subject, &page).await?, AuditEntryView::from)))
}

fn together(missing: &str) -> Invalid {
    Invalid::new(missing, "it is missing", "Give subject and subject_id together, or neither")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        AuditAction::check_values();
        AuditSubject::check_values();
    }
}
