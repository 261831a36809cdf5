//! Approve Email: for one mailbox or many at once.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use mailrail_domain::settings::approval;
use mailrail_engine::ports::Ports;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::api_enum;
use crate::{app::App, auth::Caller, body::Body, bulk::Done, problem::Problem};

api_enum! {
    /// What is decided about an address.
    Verdict of approval::Verdict { Approve, Reject, ApproveForTenant }
}

api_enum! {
    /// Where the address of a mailbox stands.
    ApprovalState of approval::ApprovalState { Empty, PendingApproval, Approved, Rejected }
}

/// Who decided, and when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionView {
    /// Name of the API token that it was decided with.
    by: String,
    /// When.
    at: DateTime<Utc>,
}

impl From<approval::Decision> for DecisionView {
    fn from(decision: approval::Decision) -> Self {
        let approval::Decision { by, at } = decision;
        Self { by, at }
    }
}

/// Whether the address of a mailbox is approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalView {
    /// Where it stands.
    state: ApprovalState,
    /// Who approved or rejected the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<DecisionView>,
    /// The approval of the tenant's administrator, which Exchange Online needs besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<DecisionView>,
}

impl From<approval::Approval> for ApprovalView {
    fn from(approval: approval::Approval) -> Self {
        let approval::Approval { state, decided, tenant } = approval;
        Self { state: state.into(), decided: decided.map(Into::into), tenant: tenant.map(Into::into) }
    }
}

/// What is decided about which addresses.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalInput {
    /// The mailboxes, 1 to 1000.
    mailbox_ids: Vec<String>,
    /// `approve-for-tenant` needs the role tenant-administrator.
    verdict: Verdict,
}

/// Approves or rejects the addresses of mailboxes. Those that can be are; each of the others is reported.
#[utoipa::path(post, path = "/v1/mailboxes/approval", request_body = ApprovalInput, responses((status = 200, body = Done), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn decide<P: Ports>(
    State(app): State<App<P>>,
    Caller(by): Caller,
    Body(input): Body<ApprovalInput>,
) -> Result<Json<Done>, Problem> {
    let ApprovalInput { mailbox_ids, verdict } = input;
    Ok(Json(app.engine.decide_many(&by, &mailbox_ids, verdict.into()).await?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_rules() {
        Verdict::check_values();
        ApprovalState::check_values();
    }
}
