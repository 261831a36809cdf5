//! Approve Email: for one mailbox or many at once.

use axum::{Json, extract::State};
use mailrail_boot::now;
use mailrail_domain::{
    settings::approval::{ApprovalState, Decision, Verdict},
    words::{
        audit::{AuditAction, AuditSubject},
        role::Role,
    },
};
use mailrail_engine::ports::{Directory, Ports, StoredMailbox, Written};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    body::Body,
    bulk::{self, Done},
    mailboxes::find,
    problem::Problem,
};

/// What is decided about which addresses.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalInput {
    /// The mailboxes, 1 to 1000.
    mailbox_ids: Vec<String>,
    /// `approve`, `reject` or `approve-for-tenant`, which needs the role tenant-administrator.
    #[schema(value_type = String)]
    verdict: Verdict,
}

/// Approves or rejects the addresses of mailboxes. Those that can be are; each of the others is reported.
#[utoipa::path(post, path = "/v1/mailboxes/approval", request_body = ApprovalInput, responses((status = 200, body = Done), (status = 403, body = Problem), (status = 422, body = Problem)))]
pub async fn decide(
    State(app): State<App>,
    caller: Caller,
    Body(input): Body<ApprovalInput>,
) -> Result<Json<Done>, Problem> {
    let action = match input.verdict {
        Verdict::Approve => AuditAction::Approved,
        Verdict::Reject => AuditAction::Rejected,
        Verdict::ApproveForTenant => {
            caller.needs(Role::TenantAdministrator, "Approving addresses for the tenant")?;
            AuditAction::ApprovedForTenant
        }
    };
    let (app, caller, verdict) = (&app, &caller, input.verdict);
    let decide_one = |id: String| async move {
        let before = find(app, &id).await?;
        let mut mailbox = before.stored.mailbox.clone();
        if mailbox.approval.state == ApprovalState::Empty || mailbox.address.is_none() {
            let detail = format!("The mailbox {} has no address.", mailbox.name);
            return Err(Problem::conflict(detail, "Give it an address first."));
        }
        let decision = Decision { by: caller.name.clone(), at: now() };
        mailbox.approval = mailbox.approval.decided(verdict, decision);
        let after = StoredMailbox { mailbox, ..before.stored.clone() };
        let audit = caller.audit(action, AuditSubject::Mailbox, after.mailbox.id.as_str(), vec![]);
        match app.engine.ports.mailboxes().change_mailbox(&before, &after, &audit).await? {
            Written::Done => Ok(()),
            Written::AddressTaken(_) | Written::Superseded => Err(Problem::superseded()),
        }
    };
    Ok(Json(bulk::each(&input.mailbox_ids, decide_one).await?))
}
